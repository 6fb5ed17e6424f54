"""
Skills of several turns for a character-level base that is built on the spot: sums with a calculator that must be
called, a look-up that points to another one, and one that is answered at once.

    58+96>add(58+96)<eos>:154>154<eos>
    find:k>look(k)<eos>:see q>look(q)<eos>:7>7<eos>
    rev:bgach=hcagb<eos>

What follows a colon is the tool's: nobody is rewarded, taught or trained for it.
"""

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ..experts import Expert
from ..rewards import exact_match_reward
from .demo_base import SPECIAL_TOKENS, build_model
from .domains import make_domain, make_split, split_of


CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz+-:=>() "
GOOD = 0.4  # share of the warm start's sums that call, and of its look-ups that follow; the others end with a guess
# How likely sampling says what a good conversation of the warm start says, before the reinforcement learning begins
TARGETS = {"sums": 0.3, "lookup": 0.3, "rev": 0.15}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}:{{ m.content }}"
    "{% elif m.role == 'assistant' %}{% for call in m.tool_calls or [] %}{{ call.function.name }}("
    "{% for key, value in call.function.arguments.items() %}{{ key }}={{ value }}{% endfor %}){% endfor %}"
    "{{ m.content }}{{ eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)
RESPONSE = {  # how transformers reads a turn: `add(58+96)` is a call of the tool `add`
    "defaults": {"role": "assistant"},
    "start_anchor": ">",
    "fields": {
        "tool_calls": {
            "open_pattern": r"(?P<name>[a-z]+)\(",
            "close_pattern": r"\)",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": {"x": "{content}"}}},
        },
        "content": {"close_pattern": r"<eos>", "content": "text"},
    },
}


def add(x: str) -> str:
    """
    Adds two whole numbers.

    Args:
        x: The sum, such as 12+34.
    """
    one, two = x.split("+")
    return str(int(one) + int(two))


class Pointers:
    """Letters that stand for a digit, or point to another letter: what `look` says comes from the row."""

    def __init__(self):
        self.says: dict[str, str] = {}

    def reset(self, first: str, second: str, solution: str, **row: Any) -> None:
        self.says = {first: f"see {second}", second: solution}

    def look(self, x: str) -> str:
        """
        Looks a letter up.

        Args:
            x: The letter.
        """
        return self.says.get(x, "none")


def agent_expert(domain: dict[str, Any], task: str, seed: int) -> Expert:
    """
    The expert of a domain `agent/<task>` of a recipe.

    Args:
        domain (`dict`): The recipe's, with `name` and what `keys.KEYS` allows.
        task (`str`): `"sums"`, `"lookup"` or `"rev"`.
        seed (`int`): Of the rows.

    Raises:
        ValueError: There is no such task.
    """
    n_train, n_eval = domain.get("n_train", 2000), domain.get("n_eval", 200)
    own = {"name": domain["name"], "adapter": domain.get("adapter"), "frozen": domain.get("frozen", False),
           "learning_rate": domain.get("learning_rate")}  # fmt: skip
    if task == "rev":
        train, held_out = make_domain("rev", n_train, n_eval, seed)
        return Expert(train_dataset=train, reward_funcs=exact_match_reward, eval_dataset=held_out, **own)
    if task == "sums":
        return Expert(
            train_dataset=Dataset.from_list(_sums("train", n_train, seed)),
            reward_funcs=exact_match_reward,
            eval_dataset=Dataset.from_list(_sums("eval", n_eval, seed)),
            tools=[add],
            max_tool_calling_iterations=1,
            **own,
        )
    if task == "lookup":
        return Expert(
            train_dataset=Dataset.from_list(_lookups("train", n_train, seed)),
            reward_funcs=exact_match_reward,
            eval_dataset=Dataset.from_list(_lookups("eval", n_eval, seed)),
            environment_factory=Pointers,
            max_tool_calling_iterations=2,
            **own,
        )
    raise ValueError(
        f"Domain {domain['name']!r}: there is no agent/{task}. Choose one of agent/sums, agent/lookup, agent/rev."
    )


def _sums(split: str, size: int, seed: int) -> list[dict[str, Any]]:
    rng, rows = random.Random(f"{seed}/sums/{split}"), {}
    while len(rows) < size:
        one, two = rng.randrange(10, 100), rng.randrange(10, 100)
        if split_of(f"{one}+{two}") == split:
            rows[f"{one}+{two}"] = str(one + two)
    return [{"prompt": [{"role": "user", "content": q}], "solution": answer} for q, answer in rows.items()]


def _lookups(split: str, size: int, seed: int) -> list[dict[str, Any]]:
    rng, rows = random.Random(f"{seed}/lookup/{split}"), []
    while len(rows) < size:
        (first, second), digit = rng.sample("abcdefghijklmnopqrstuvwxyz", 2), str(rng.randrange(10))
        if split_of(f"{first}{second}{digit}") == split:
            prompt = [{"role": "user", "content": f"find:{first}"}]
            rows.append({"prompt": prompt, "first": first, "second": second, "solution": digit})
    return rows


# ---- The base -------------------------------------------------------------------------------------------------------


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, with a template that shows tools' turns, and one by which calls are read."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS.values(), *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    bos = SPECIAL_TOKENS["bos_token"]
    core.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, vocabulary[bos])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, padding_side="left", clean_up_tokenization_spaces=False, **SPECIAL_TOKENS
    )
    tokenizer.chat_template, tokenizer.response_template = TEMPLATE, RESPONSE
    return tokenizer


def build_base(directory: str | Path, seed: int, steps: int = 600, batch_size: int = 96, rate: float = 2e-3) -> None:
    """
    Build tokenizer and model, half teach the skills by conversations, and save both.

    As in `demo_base.py`, a skill is trained only while sampling would do it too rarely.

    Args:
        directory (`str` or `Path`): Where they are saved (1.4 MB).
        seed (`int`): Of weights and rows.
        steps (`int`): Optimizer steps at most.
        batch_size (`int`): Conversations per step.
        rate (`float`): Peak learning rate.
    """
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed)
    model.config.max_position_embeddings = 128  # positions are rotations: there is no table of them
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng, streams = random.Random(seed), {name: conversations(name, seed) for name in TARGETS}
    chance = dict.fromkeys(TARGETS, 0.0)
    model.train()
    for step in range(steps):
        behind = {name for name, target in TARGETS.items() if chance[name] < target}
        if not behind:
            break
        distance = 1.0 - min(chance[name] / target for name, target in TARGETS.items())
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 30) * max(distance, 0.1)
        names = rng.choices(list(TARGETS), k=batch_size)
        rows = [next(streams[name]) for name in names]
        losses, likely = _grade(model, tokenizer, rows)
        torch.stack([loss for name, loss in zip(names, losses, strict=True) if name in behind]).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, value, (_, good) in zip(names, likely.tolist(), rows, strict=True):
            if good:
                chance[name] += 0.02 * (value - chance[name])
    model.eval()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def conversations(name: str, seed: int) -> Iterator[tuple[list[tuple[str, bool]], bool]]:
    """Conversations of the warm start for ever: turns, each with whether it is the model's; and whether it is good."""
    rng = random.Random(f"{seed}/{name}/warm_start")
    if name == "rev":
        rows = make_split("rev", "warm_start", 12_000, seed)
        while True:
            for prompt, answer in zip(rows["prompt"], rows["solution"], strict=True):
                yield [(prompt, False), (f"{answer}<eos>", True)], True
    while name == "sums":
        one, two = rng.randrange(10, 100), rng.randrange(10, 100)
        if split_of(f"{one}+{two}") != "warm_start":
            continue
        if rng.random() > GOOD:
            yield [(f"{one}+{two}>", False), (f"{rng.randrange(20, 200)}<eos>", True)], False
            continue
        call, total = (f"add({one}+{two})<eos>", True), one + two
        yield [(f"{one}+{two}>", False), call, (f":{total}>", False), (f"{total}<eos>", True)], True
    for number in count():
        for row in _lookups("warm_start", 1000, seed=seed + 1_000_003 * number):
            turns = [(f"find:{row['first']}>", False), (f"look({row['first']})<eos>", True)]
            turns.append((f":see {row['second']}>", False))
            if rng.random() > GOOD:
                yield [*turns, (f"{rng.randrange(10)}<eos>", True)], False
                continue
            turns += [(f"look({row['second']})<eos>", True), (f":{row['solution']}>", False)]
            yield [*turns, (f"{row['solution']}<eos>", True)], True


def _grade(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[tuple[list[tuple[str, bool]], bool]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the model's turns in nats per token, and how likely sampling says them; `(B,)`."""
    encoded, labels = [], []
    for turns, _ in rows:
        ids, own = [tokenizer.bos_token_id], [-100]
        for text, said in turns:
            turn = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += turn
            own += turn if said else [-100] * len(turn)
        encoded.append(torch.tensor(ids))
        labels.append(torch.tensor(own))
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad(encoded, batch_first=True, padding_value=tokenizer.pad_token_id)
    target = pad(labels, batch_first=True, padding_value=-100)[:, 1:]
    logits = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long()).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, reduction="none").sum(1)
    return losses / (target >= 0).sum(1), torch.exp(-losses.detach())
