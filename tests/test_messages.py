"""Settings that only training would refuse, and messages that say what to do instead."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import build_experts, build_trainer, letter_reward, lora, rows, settings, tiny_model, tiny_tokenizer
from trl import GRPOConfig

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.recipes.build import build_experts as experts_of_recipe
from trl_copd.train import check_keys, main, with_recipe


REFUSED = {
    "scale_rewards": ({"scale_rewards": "groups"}, ValueError, "'group', 'batch', 'none'"),
    "importance_sampling_level": ({"importance_sampling_level": "word"}, ValueError, "'token', 'sequence'"),
    "aggregation": ({"multi_objective_aggregation": "sum"}, ValueError, "'sum_then_normalize', 'normalize_then_sum'"),
    "loss_type": ({"loss_type": "gpro"}, ValueError, "'grpo', 'bnpo'"),
    "quantile above 1": ({"top_entropy_quantile": 1.5}, ValueError, ">= 0 and <= 1, got 1.5"),
    "rate as text": ({"learning_rate": "2e-4"}, TypeError, "`learning_rate` must be float, got str: '2e-4'"),
    "temperature as text": ({"temperature": "1.0"}, TypeError, "must be float"),
    "length as number": ({"max_completion_length": 6.5}, TypeError, "must be int"),
    "switch as text": ({"bf16": "false"}, TypeError, "`bf16` must be bool"),
    "no temperature": ({"temperature": 0.0}, ValueError, "> 0, got 0.0"),
    "no number": ({"beta": float("nan")}, ValueError, "finite"),
    "negative rate": ({"learning_rate": -1e-4}, ValueError, ">= 0"),
    "top_p": ({"top_p": 1.2}, ValueError, "<= 1"),
    "cache": ({"cache_implementation": "dynamc"}, ValueError, "'dynamic'"),
    "router": ({"router_aux_loss_coef": -0.1}, ValueError, ">= 0"),
    "generation_kwargs": ({"generation_kwargs": {"num_beam": 2}}, ValueError, "Did you mean 'num_beams'"),
    "several sequences": ({"generation_kwargs": {"num_return_sequences": 2}}, ValueError, "Set num_generations"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_only_training_refused(tmp_path, case):
    overrides, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        CoPDConfig(**settings(tmp_path, **overrides))


@pytest.mark.parametrize(
    "accepted",
    [{"scale_rewards": False}, {"top_entropy_quantile": 1}, {"learning_rate": 0}, {"epsilon_high": None},
     {"cache_implementation": "static"}, {"min_p": 0.1, "top_k": 5}, {"generation_kwargs": {"num_beams": 2}},
     {"warmup_steps": 0.1, "logging_steps": 2}],
    ids=lambda given: ",".join(given),
)  # fmt: skip
def test_what_stays_accepted(tmp_path, accepted):
    CoPDConfig(**settings(tmp_path, **accepted))


# ---- Messages -----------------------------------------------------------------------------------------------------


def build(tmp_path, experts, args=None, **options):
    args = CoPDConfig(**settings(tmp_path, **options)) if args is None else args
    return CoPDTrainer(tiny_model(), experts, args, processing_class=tiny_tokenizer(), peft_config=lora())


def test_a_script_of_grpo_is_shown_what_becomes_of_it():
    with pytest.raises(TypeError, match='(?s)needs `experts`.*from trl_copd import.*Expert\\("math", train_dataset='):
        CoPDTrainer("model", reward_funcs=letter_reward, train_dataset=rows())
    with pytest.raises(TypeError, match="needs `experts`. Pass a list of `Expert`"):
        CoPDTrainer("model")


def test_what_is_nearly_right(tmp_path):
    with pytest.raises(TypeError, match=r"must be a CoPDConfig, got GRPOConfig.*write `CoPDConfig\(\*\*"):
        build(tmp_path, build_experts(), GRPOConfig(**settings(tmp_path)))
    with pytest.raises(TypeError, match="Wrap it in a list"):
        build(tmp_path, Expert("math", rows(), letter_reward))
    with pytest.raises(TypeError, match="no argument 'max_step'. Did you mean 'max_steps'"):
        CoPDConfig(str(tmp_path), max_step=2)
    with pytest.raises(TypeError, match="no argument 'reward_func'. Did you mean 'reward_funcs'"):
        Expert("math", rows(), reward_func=letter_reward)
    with pytest.raises(TypeError, match="unexpected argument 'peft_confg'. Did you mean 'peft_config'"):
        CoPDTrainer("model", build_experts(), peft_confg=lora())
    with pytest.raises(ValueError, match="eval_strategy='steps', but no expert"):
        build(tmp_path, build_experts(), eval_strategy="steps", eval_steps=1)


def test_a_head_of_its_own_is_refused_for_the_true_reason(tmp_path):
    with pytest.raises(ValueError, match="modules_to_save=\\['lm_head'\\] trains a head of its own for each branch"):
        build_trainer(tmp_path, peft_config=lora(modules_to_save=["lm_head"]))


def test_another_rank_on_resume_is_named(tmp_path):
    options = {"rlvr_steps": 1, "opd_steps": 1, "save_strategy": "steps", "save_steps": 1}
    build_trainer(tmp_path / "run", max_steps=1, **options).train()
    trainer = build_trainer(tmp_path / "other", peft_config=lora(r=2), max_steps=2, **options)
    with pytest.raises(ValueError, match="r: 4 in the checkpoint, 2 here"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))


def recipe(tmp_path, **fields):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"model_name_or_path": "no/model", **fields}))
    return ["--config", str(path)]


def test_a_recipe_with_a_typo(tmp_path):
    domains = [{"name": "a", "builtin": "demo/sort"}, {"name": "b", "builtin": "demo/rev"}]
    with pytest.raises(ValueError, match="unknown key 'max_step'. Did you mean 'max_steps'"):
        main(recipe(tmp_path, domains=domains, max_step=2))
    with pytest.raises(ValueError, match="needs the name of an expert in `hub`: one of \\['a', 'b'\\]"):
        main(recipe(tmp_path, domains=domains, topology="hub"))
    check_keys(with_recipe([*recipe(tmp_path, domains=domains, topology="hub"), "--hub=a"]))
    with pytest.raises(ValueError, match="unknown key 'reward'. Did you mean 'rewards'"):
        experts_of_recipe([{"name": "a", "builtin": "demo/sort", "reward": "math_reward"}], 0)


# ---- Noise --------------------------------------------------------------------------------------------------------


QUIET = """
import sys; sys.path.insert(0, {tests!r})
import trl_copd  # first: what PEFT imports speaks once
from tiny import build_experts, build_trainer
build_trainer({folder!r}, build_experts(1), topology="mutual", opd_steps=0, max_steps=1, gradient_checkpointing=True,
              disable_tqdm=True).train()
"""


def test_a_run_without_output_says_nothing(tmp_path):
    code = QUIET.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Failed to load" not in done.stderr and "FutureWarning" not in done.stderr
    assert "{" not in done.stdout  # a dictionary per log


def test_help_is_for_users():
    done = subprocess.run([sys.executable, "-m", "trl_copd.report", "--help"], capture_output=True, text=True)
    assert "Draw the figures of a run" in done.stdout and "quiet" not in done.stdout and not done.stderr
