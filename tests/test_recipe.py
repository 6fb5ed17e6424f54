"""The recipe as its users run it: YAML and command line, baselines, data that does not leak, two real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.build import build_experts, find_reward, pool
from recipes.demo_base import build_base
from recipes.domains import DOMAINS, make_domain, make_split, split_of
from trl_copd import CoPDConfig


ROOT = Path(__file__).parent.parent
FEW = ["--max_steps", "3", "--rlvr_steps", "2", "--opd_steps", "1", "--per_device_train_batch_size", "8",
       "--num_generations", "4"]  # fmt: skip


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory):
    """A base that was hardly trained, where the recipe looks for the demonstration's."""
    folder = tmp_path_factory.mktemp("bases")
    build_base(folder / "demo-seed0", seed=0, steps=2)
    (folder / "demo-seed0" / "done").touch()
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    settings = yaml.safe_load((ROOT / "recipes/demo.yaml").read_text())
    for domain in settings["domains"]:
        domain.update(n_train=64, n_eval=6)
    path = tmp_path_factory.mktemp("config") / "demo.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def launch(config, base_dir, output_dir, *extra, launcher=()):
    command = [sys.executable, *launcher, str(ROOT / "recipes/copd.py"), "--config", str(config)]
    command += ["--base_dir", str(base_dir), "--output_dir", str(output_dir), *FEW, *extra]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=output_dir)
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads([line for line in process.stdout.splitlines() if line.startswith("{")][-1])


@pytest.mark.parametrize("extra", [[], ["--no_opd"], ["--method", "mixed"], ["--topology", "student"]])
def test_methods(config, base_dir, tmp_path, extra):
    summary = launch(config, base_dir, tmp_path, *extra)
    assert summary["method"] == {"--no_opd": "experts", "--method": "mixed"}.get(*extra[:1] or [None], "copd")
    matrix = json.loads((tmp_path / "capability_matrix.json").read_text())
    assert list(matrix["student"]) == ["sort", "rev", "count"]
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert state["global_step"] == (9 if "mixed" in extra else 3)  # as many rollouts as three experts take
    for figure in ("reward", "capability_matrix", "summary"):
        assert (tmp_path / "figures" / f"{figure}.png").stat().st_size > 5000
    base = AutoModelForCausalLM.from_pretrained(base_dir / "demo-seed0")
    assert PeftModel.from_pretrained(base, tmp_path).active_adapter == "default"
    assert AutoTokenizer.from_pretrained(tmp_path)("sort:1=")["input_ids"][0] == 1


def test_two_processes(config, base_dir, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    summary = launch(config, base_dir, tmp_path, launcher=launcher)
    assert summary["processes"] == 2


def test_resume_from_the_command_line(config, base_dir, tmp_path):
    saving = ["--save_strategy", "steps", "--save_steps", "2", "--matrix_at_end", "false"]
    launch(config, base_dir, tmp_path, *saving)
    launch(config, base_dir, tmp_path, *saving, "--resume_from_checkpoint", "true", "--max_steps", "4")
    assert json.loads((tmp_path / "trainer_state.json").read_text())["global_step"] == 4


def test_held_out_problems_never_occur_in_training():
    for name in DOMAINS:
        splits = [
            make_split(name, split, 2000, seed)["prompt"] for split in ("warm_start", "train") for seed in (0, 1)
        ]
        train, held_out = make_domain(name, 2000, 500, seed=2)
        held_out = set(held_out["prompt"])
        assert len(held_out) == 500 and all(split_of(prompt) == "eval" for prompt in held_out)
        assert not held_out & {prompt for split in [*splits, train["prompt"]] for prompt in split}


def test_answers_are_right():
    by_hand = {"sort": lambda q: "".join(sorted(q)), "rev": lambda q: q[::-1],
               "count": lambda q: "".join(str(q.count(c)) for c in "xyz"),
               "up": lambda q: "".join(sorted(q)), "down": lambda q: "".join(sorted(q))[::-1],
               "back": lambda q: q[::-1], "rotate": lambda q: q[2:] + q[:2]}  # fmt: skip
    for name in DOMAINS:
        for row in make_split(name, "eval", 50, 0):
            question = row["prompt"].split(":")[1].rstrip("=")
            assert row["solution"] == by_hand[name](question)


def test_bases_are_the_same_for_a_seed(tmp_path):
    for folder in ("a", "b"):
        build_base(tmp_path / folder, seed=3, steps=3)
    files = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("a", "b")]
    assert files[0] == files[1]


def test_rewards_by_name_path_and_options():
    assert find_reward("math_reward").__name__ == "math_reward"
    assert find_reward("think_format_reward").__name__ == "think_format_reward"  # TRL's
    assert find_reward("trl_copd.rewards.exact_match_reward") is find_reward("exact_match_reward")
    strict = find_reward({"name": "ExactMatchReward", "ignore_case": True})
    assert strict(prompts=["q"], completions=["A"], solution=["a"]) == [1.0]
    with pytest.raises(ValueError, match="dotted path"):
        find_reward("no_such_reward")


def test_data_from_a_file_with_templates(tmp_path):
    rows = [{"question": f"{i}+1?", "answer": str(i + 1)} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    domain = {"name": "plus", "dataset": str(tmp_path / "rows.jsonl"), "prompt": "{question}", "solution": "{answer}",
              "system": "Answer.", "n_train": 20, "n_eval": 10}  # fmt: skip
    expert = build_experts([domain], seed=0)[0]
    assert len(expert.train_dataset) == 20 and len(expert.eval_dataset) == 10
    row = expert.train_dataset[0]
    question = row["prompt"][1]["content"]
    assert row["prompt"][0] == {"role": "system", "content": "Answer."}
    assert row["solution"] == str(int(question.split("+")[0]) + 1)
    train = {str(r["prompt"]) for r in expert.train_dataset}
    assert not train & {str(r["prompt"]) for r in expert.eval_dataset}


def test_bad_recipes_say_what_is_wrong():
    with pytest.raises(ValueError, match="names no domain"):
        build_experts([], 0)
    with pytest.raises(ValueError, match="unknown key 'reward'"):
        build_experts([{"name": "a", "builtin": "demo/sort", "reward": "x"}], 0)
    with pytest.raises(ValueError, match="either `builtin` or `dataset`"):
        build_experts([{"name": "a"}], 0)
    with pytest.raises(ValueError, match="demo/<skill>"):
        build_experts([{"name": "a", "builtin": "sort"}], 0)


def test_pooled_rows_are_graded_by_their_own_domain():
    def reward(sign):
        def grade(prompts, completions, solution, **kwargs):
            return [sign * float(c == s) for c, s in zip(completions, solution, strict=True)]

        return grade

    from trl_copd import Expert

    def data(name):
        return Dataset.from_list([{"prompt": f"{name}{i}", "solution": "x"} for i in range(8)])

    experts = [Expert(n, data(n), reward(s), eval_dataset=data(n)) for n, s in (("a", 1.0), ("b", -1.0))]
    mixed = pool(experts, seed=0)
    assert len(mixed.train_dataset) == 16 and set(mixed.eval_datasets) == {"a", "b"}
    grades = mixed.reward_funcs[0](["p"] * 3, ["x", "x", "y"], domain=["a", "b", "a"], solution=["x"] * 3, other=None)
    assert grades == [1.0, -1.0, 0.0]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_parses(path, tmp_path, monkeypatch):
    from trl import ModelConfig, TrlParser

    from recipes.copd import RecipeArguments

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    parser = TrlParser((RecipeArguments, CoPDConfig, ModelConfig))
    extra = ["--bf16", "false", "--output_dir", str(tmp_path), "--use_cpu", "true"]
    recipe, args, _ = parser.parse_args_and_config(["--config", str(path), *extra])
    assert recipe.domains and all("name" in domain for domain in recipe.domains)
    assert args.loss_type == "grpo" and args.epsilon_high == 0.28 and args.beta == 0.0  # the paper's
