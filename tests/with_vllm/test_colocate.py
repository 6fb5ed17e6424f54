"""vLLM in the training process: the same tokens and log-probabilities as `generate`, from the weights of the round."""

import random
import re
from typing import get_args

import pytest
import torch
from tiny import build_experts, build_trainer, distance, lora, rows, weights
from transformers import AutoModelForCausalLM


pytest.importorskip("vllm")
pytestmark = pytest.mark.usefixtures("one_engine")

from trl_copd import Expert  # noqa: E402
from trl_copd.engines import StaleAdapterError, TransformersEngine  # noqa: E402
from trl_copd.engines.vllm_options import RANKS  # noqa: E402
from trl_copd.trainers.host import Host  # noqa: E402


PROMPTS = [[1, 4, 14, 5], [1, 9, 8], [1, 4, 14, 5, 11, 7], [1, 4]]
CYCLE = {"rlvr_steps": 2, "opd_steps": 2, "overlap_every": 2, "lr_scheduler_type": "constant"}


def build(base, folder, experts=None, **overrides):
    options = {"use_vllm": True, "peft_config": lora(init_lora_weights=False), "max_steps": 4, **CYCLE, **overrides}
    return build_trainer(folder, experts or build_experts(3), base, **options)


def by_transformers(trainer):
    return TransformersEngine(trainer.forwards, Host(trainer).generate_rows)


def by_generate(trainer, prompts, names):
    """What transformers' `generate` gives, one branch after the other."""
    trainer.use_vllm = False  # TRL's `_generate_single_turn` would look for its own engine
    completions = []
    for prompt, name in zip(prompts, names, strict=True):
        completions += by_transformers(trainer).generate([prompt], [name], greedy=True)[0]
    trainer.use_vllm = True
    return completions


def compare(trainer, adapters):
    prompts, names = PROMPTS * len(adapters), [name for name in adapters for _ in PROMPTS]
    trainer.engine.sync(adapters)
    tokens, _ = trainer.engine.generate(prompts, names, greedy=True)
    assert tokens == by_generate(trainer, prompts, names)
    assert len({tuple(tokens[i :: len(PROMPTS)][0]) for i in range(len(PROMPTS))}) > 1
    return tokens


def test_greedy_tokens_are_those_of_generate_before_and_after_an_update(base, tmp_path):
    """Three experts, the student and the base in one batch, all slots of the engine taken."""
    trainer = build(base, tmp_path)
    adapters = [*trainer.branches, "base"]
    before = compare(trainer, adapters)
    trainer.train()
    after = compare(trainer, adapters)
    rows_of = {name: slice(i * len(PROMPTS), (i + 1) * len(PROMPTS)) for i, name in enumerate(adapters)}
    assert before[rows_of["base"]] == after[rows_of["base"]]
    for name in trainer.branches:  # the same prompts, new weights: nothing came out of a cache
        assert before[rows_of[name]] != after[rows_of[name]], name


def test_each_round_samples_what_its_branches_would_say(base, tmp_path):
    """While training: what the engine holds for each row of a round, against the branch's own `generate`."""
    trainer = build(base, tmp_path)
    checked = []
    sample = trainer.engine._sample

    def spy(prompts, held, greedy):
        names = [name for adapter in held for name, other in trainer.engine.held.items() if other is adapter]
        checked.append(sample(prompts, held, True)[0] == by_generate(trainer, prompts, names))
        return sample(prompts, held, greedy)

    trainer.engine._sample = spy
    trainer.train()
    assert len(checked) >= 4 and all(checked)


def test_log_probabilities_are_the_trainers(base, tmp_path):
    trainer = build(base, tmp_path, temperature=0.7)
    names = ["math", "code", "logic", "student"]
    completions, logps = trainer.engine.generate(PROMPTS, names)
    for prompt, name, tokens, reported in zip(PROMPTS, names, completions, logps, strict=True):
        ids, completion = torch.tensor([prompt]), torch.tensor([tokens])
        batch = {"prompt_ids": ids, "prompt_mask": torch.ones_like(ids), "completion_ids": completion,
                 "completion_mask": torch.ones_like(completion)}  # fmt: skip
        torch.testing.assert_close(trainer.teaching.score(batch, [name])[0], torch.tensor(reported), atol=1e-3, rtol=0)


def test_the_correction_sees_no_difference_in_float32(base, tmp_path):
    trainer = build(base, tmp_path, temperature=0.7)
    trainer.train()
    assert not hasattr(trainer, "vllm_generation"), "TRL started an engine of its own"
    for log in [log for log in trainer.state.log_history if "phase" in log]:
        assert log["math/sampling/sampling_logp_difference/max"] < 1e-3
        assert log["math/sampling/importance_sampling_ratio/min"] == pytest.approx(1, abs=1e-3)


def test_completions_end_where_the_trainer_says(base, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base)
    model.generation_config.eos_token_id = [2, 9]  # more than the tokenizer's own
    trainer = build(model, tmp_path, max_completion_length=40)
    completions, _ = trainer.engine.generate(PROMPTS * 4, ["math"] * 16)
    assert any(row[-1] == 9 for row in completions)
    assert all(token not in (2, 9) for row in completions for token in row[:-1])


def test_a_stale_adapter_is_an_error(base, tmp_path):
    trainer = build(base, tmp_path)
    with torch.no_grad():
        trainer.branches["code"].parameters[0].add_(0.1)
    with pytest.raises(StaleAdapterError, match="'code'"):
        trainer.engine.generate(PROMPTS[:1], ["code"])
    trainer.engine.sync(["code"])
    compare(trainer, ["code", "math"])


def test_resume_gives_the_uninterrupted_run(base, tmp_path):
    whole = build(base, tmp_path / "whole", max_steps=6)
    whole.train()
    build(base, tmp_path / "run", max_steps=3, save_strategy="steps", save_steps=3).train()
    resumed = build(base, tmp_path / "run", max_steps=6)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert resumed.state.global_step == 6
    for name in whole.branches:
        assert distance(weights(resumed, name), weights(whole, name)) == 0.0


def test_structured_outputs(base, tmp_path):
    pattern = "[0-9]{2}=[a-h]"
    trainer = build(base, tmp_path, vllm_structured_outputs_regex=pattern, max_steps=1)
    completions, _ = trainer.engine.generate(PROMPTS, ["math", "code", "logic", "student"])
    for tokens in completions:
        text = "".join(trainer.processing_class.convert_ids_to_tokens(tokens)).removesuffix("<eos>")
        assert re.fullmatch(pattern, text), text


def vowel_reward(completions, **kwargs):
    return [float("a" in text or "e" in text) for text in completions]


@pytest.mark.parametrize("topology", ["student", "mutual"])  # with mutual, a merge of rank 3 * 4 is sampled as well
def test_the_capability_matrix_is_that_of_generate(base, tmp_path, topology):
    experts = [Expert(name, rows(i, 20), vowel_reward, eval_dataset=rows(40 + i, 6))
               for i, name in enumerate(["math", "code", "logic"])]  # fmt: skip
    trainer = build(base, tmp_path, experts, topology=topology, max_steps=2, rlvr_steps=1, opd_steps=1)
    trainer.train()
    matrix = trainer.capability_matrix()
    trainer.use_vllm, engine, trainer.evaluation.engine = False, trainer.engine, by_transformers(trainer)
    assert matrix == trainer.capability_matrix()
    assert len({value for row in matrix.values() for value in row.values()}) > 1
    assert {"base", "student"} <= set(engine.held)


def test_different_ranks_share_a_batch(base, tmp_path):
    from trl_copd import adapters

    other = build(base, tmp_path / "other", build_experts(1), peft_config=lora(r=8, use_rslora=True), use_vllm=False)
    adapters.save_adapter(other.peft_model, "math", tmp_path / "trained")
    experts = [*build_experts(2), Expert("logic", rows(2, 20), vowel_reward, adapter=tmp_path / "trained")]
    compare(build(base, tmp_path / "run", experts), ["math", "code", "logic", "student", "base"])


def test_what_vllm_is_started_with(base, tmp_path):
    from trl_copd.engines.vllm import llm_options, rollout_dtype

    trainer = build(base, tmp_path, vllm_gpu_memory_utilization=0.2, rollout_chunk_rows=10, vllm_max_model_length=48,
                    model_init_kwargs={"revision": "main"})  # fmt: skip
    options = llm_options(trainer.args, trainer.peft_model, trainer.topology, trainer.experts, trainer.accelerator)
    expected = {"model": base, "revision": "main", "dtype": "float32", "max_loras": 5, "max_lora_rank": 8,
                "gpu_memory_utilization": 0.2, "max_num_seqs": 10, "max_model_len": 48, "quantization": None,
                "model_impl": "vllm", "logprobs_mode": "processed_logprobs", "enable_sleep_mode": False}  # fmt: skip
    assert {key: options[key] for key in expected} == expected
    trainer.args.bf16 = True
    assert rollout_dtype(trainer.args, trainer.peft_model) == "bfloat16"


def test_starting_the_engine_moves_no_random_stream(base, tmp_path):
    draws = []
    for use_vllm in (False, True):
        build(base, tmp_path, use_vllm=use_vllm)
        draws.append((torch.rand(1).item(), random.random()))
    assert draws[0][0] == draws[1][0]


def test_unknown_sampling_parameters_are_refused_before_training(base, tmp_path):
    with pytest.raises(TypeError, match="no_such_thing"):
        build(base, tmp_path, generation_kwargs={"no_such_thing": 1})


def test_what_is_read_of_vllm():
    from vllm.config.lora import MaxLoRARanks
    from vllm.lora.request import LoRARequest

    assert get_args(MaxLoRARanks) == RANKS
    assert LoRARequest.__struct_fields__[:3] == ("lora_name", "lora_int_id", "lora_path")
