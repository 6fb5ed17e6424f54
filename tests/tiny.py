"""A model, tokenizer, data and trainers small enough for tests on a CPU without a network."""

from __future__ import annotations

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


CHARACTERS = "0123456789+-*=abcdefgh?:. "


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.padding_side = "left"
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}={% endif %}"
    )
    return tokenizer


def tiny_model(seed: int = 0, **overrides) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    settings = {
        "vocab_size": 4 + len(CHARACTERS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "initializer_range": 0.3,  # far from uniform, so that log-probabilities differ visibly
    } | overrides
    return LlamaForCausalLM(LlamaConfig(**settings)).float().eval()


def rows(offset: int = 0, count: int = 12) -> Dataset:
    """`a+b=` prompts with the letter that the reward counts as `solution`."""
    letters = "abcdefgh"
    return Dataset.from_list(
        [{"prompt": f"{i + offset}+{i}=", "solution": letters[(i + offset) % len(letters)]} for i in range(count)]
    )


def letter_reward(completions, solution, **kwargs):
    """Share of a completion that differs from `solution`'s neighbourhood: dense enough for a random model."""
    return [
        sum(abs(ord(c) - ord(s)) % 5 for c in text) / (5 * max(1, len(text)))
        for text, s in zip(completions, solution, strict=True)
    ]


def length_reward(completions, **kwargs):
    return [len(text) / 8 for text in completions]


def lora(**overrides) -> LoraConfig:
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | overrides
    return LoraConfig(**settings)


def settings(output_dir, **overrides) -> dict:
    """Arguments that GRPOConfig and CoPDConfig share."""
    return {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 6,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "loss_type": "grpo",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "seed": 7,
    } | overrides


def weights(trainer, adapter: str) -> dict[str, torch.Tensor]:
    """A copy of one adapter's weights, named without the adapter."""
    return {
        name.replace(f".{adapter}.", "."): parameter.detach().clone()
        for name, parameter in trainer.model.named_parameters()
        if f".{adapter}." in name
    }


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest difference between two sets of weights."""
    assert a.keys() == b.keys() and a, "the adapters hold different parameters"
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)


def history(trainer) -> list[dict]:
    """The log without what depends on the clock."""
    timed = ("step_time", "rollout_time", "runtime", "per_second")
    return [
        {k: v for k, v in log.items() if not any(t in k for t in timed)}
        for log in trainer.state.log_history
        if "train_runtime" not in log
    ]


def build_experts(count: int = 3, size: int = 20, **overrides):
    from trl_copd import Expert

    names = ["math", "code", "logic"][:count]
    return [Expert(name, rows(i, size), letter_reward, **overrides) for i, name in enumerate(names)]


def build_trainer(output_dir, experts=None, model=None, peft_config=None, **overrides):
    from trl_copd import CoPDConfig, CoPDTrainer

    args = CoPDConfig(**settings(output_dir, **{"opd_fraction": 0.5} | overrides))
    return CoPDTrainer(
        model if model is not None else tiny_model(),
        experts if experts is not None else build_experts(),
        args,
        processing_class=tiny_tokenizer(),
        peft_config=peft_config if peft_config is not None else lora(),
    )


def fake_completions(
    prompt_ids, group: int, call: int, rank: int = 0, shortest: int = 2, longest: int = 6
) -> list[list[int]]:
    """
    Rollouts that depend on prompt, place in the group and number of the call only: they draw no random number, so runs
    that sample in different orders or in several processes see the same. Every third ends with `<eos>`.
    """
    seen: dict[tuple, int] = {}
    totals = {tuple(ids): sum(tuple(ids) == tuple(other) for other in prompt_ids) for ids in prompt_ids}
    completions = []
    for ids in map(tuple, prompt_ids):
        place = seen[ids] = seen.get(ids, -1) + 1
        if totals[ids] < group:  # the group is split over processes
            place += rank * totals[ids]
        generator = torch.Generator().manual_seed(hash((ids, place, call)) % 2**31)
        length = int(torch.randint(shortest, longest + 1, (), generator=generator))
        tokens = torch.randint(4, 4 + len(CHARACTERS), (length,), generator=generator).tolist()
        completions.append([*tokens[:-1], 2] if place % 3 == 0 else tokens)
    return completions


def replay_copd(trainer, **options) -> None:
    """Let a CoPDTrainer take `fake_completions` for every row, branch by branch."""
    calls = [0]

    def generate(prompt_ids, names, greedy=False):
        calls[0] += 1
        completions, start = [], 0
        for end in range(1, len(names) + 1):
            if end == len(names) or names[end] != names[start]:
                completions += fake_completions(prompt_ids[start:end], trainer.num_generations, calls[0], **options)
                start = end
        return completions, None

    trainer.engine.generate = generate


def replay_grpo(trainer, **options) -> None:
    """Let a GRPOTrainer take the rollouts that `replay_copd` gives to a branch."""
    calls = [0]

    def single_turn(prompt_ids, *args, **kwargs):
        calls[0] += 1
        return fake_completions(prompt_ids, trainer.num_generations, calls[0], **options), None

    trainer._generate_single_turn = single_turn
