"""The recipe as its users run it: YAML and command line, baselines, data that does not leak, two real processes."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset, DatasetDict
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import ModelConfig
from trl.trainer.utils import is_async_callable

from trl_copd import CoPDConfig, Expert
from trl_copd.recipes.build import build_experts, find_reward, pool, warm_start_rows
from trl_copd.recipes.demo_base import _grade, build_base
from trl_copd.recipes.domains import DOMAINS, make_domain, make_split, split_of
from trl_copd.recipes.keys import check_domain
from trl_copd.recipes.reading import dump_yaml, load_yaml
from trl_copd.rewards import exact_match_reward
from trl_copd.train import PARSED, RecipeParser, check_model, loading_options, main, prepare


ROOT = Path(__file__).parent.parent
FEW = ["--max_steps", "3", "--rlvr_steps", "2", "--opd_steps", "1", "--per_device_train_batch_size", "8",
       "--num_generations", "4"]  # fmt: skip

# what a run is called in its summary, by the first argument; the recipe's own topology is mutual
METHOD_OF = {None: "copd-mutual", "--no_opd": "experts", "--method": "mixed", "--topology": "copd"}


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory):
    """A base that was hardly trained, where the recipe looks for the demonstration's."""
    folder = tmp_path_factory.mktemp("bases")
    build_base(folder / "demo-seed0", seed=0, steps=2)
    (folder / "demo-seed0" / "done").touch()
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    settings = yaml.safe_load((ROOT / "tests/three_skills.yaml").read_text())
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


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param([], marks=pytest.mark.slow),
        pytest.param(["--no_opd"], marks=pytest.mark.slow),
        ["--method", "mixed"],
        pytest.param(["--topology", "student"], marks=pytest.mark.slow),
    ],
)
def test_methods(config, base_dir, tmp_path, extra):
    summary = launch(config, base_dir, tmp_path, *extra)
    assert summary["method"] == METHOD_OF[extra[0] if extra else None]
    matrix = json.loads((tmp_path / "capability_matrix.json").read_text())
    assert list(matrix["student"]) == ["sort", "rev", "count"]
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert state["global_step"] == (9 if "mixed" in extra else 3)  # as many rollouts as three experts take
    for figure in ("reward", "capability_matrix", "summary"):
        assert (tmp_path / "figures" / f"{figure}.png").stat().st_size > 5000
    base = AutoModelForCausalLM.from_pretrained(base_dir / "demo-seed0")
    assert PeftModel.from_pretrained(base, tmp_path).active_adapter == "default"
    assert AutoTokenizer.from_pretrained(tmp_path)("sort:1=")["input_ids"][0] == 1


@pytest.mark.slow
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
               "back": lambda q: q[::-1], "rotate": lambda q: q[2:] + q[:2],
               "turns": lambda q: "".join((q + q)[i : i + 6] for i in range(5))}  # fmt: skip
    for name in DOMAINS:
        for row in make_split(name, "eval", 50, 0):
            question = row["prompt"].split(":")[1].rstrip("=")
            assert row["solution"] == by_hand[name](question)


def test_bases_are_the_same_for_a_seed(tmp_path):
    for folder in ("a", "b"):
        build_base(tmp_path / folder, seed=3, steps=3)
    files = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("a", "b")]
    assert files[0] == files[1]


def test_a_base_knows_each_skill_as_well_as_it_should(tmp_path):
    wanted = {"up": 0.3, "back": 0.02}
    build_base(tmp_path, seed=0, skills=wanted)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for skill, accuracy in wanted.items():
        rows = make_split(skill, "eval", 200, 0)
        pairs = list(zip(rows["prompt"], rows["solution"], strict=True))
        with torch.no_grad():
            assert accuracy / 2 < _grade(model, tokenizer, pairs)[1].mean() < accuracy * 2


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


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_keep_the_columns_that_rewards_read(tmp_path):
    tests = {"kind": "assert", "code": "assert f(1) == 1"}
    rows = [{"prompt": i, "solution": None if i % 2 else i, "tests": tests} for i in range(40)]
    domain = {"name": "code", "dataset": write_rows(tmp_path / "rows.jsonl", rows), "n_eval": 4, "chat": False,
              "rewards": "code_reward"}  # fmt: skip
    expert = build_experts([domain], seed=0)[0]
    row = expert.train_dataset[0]
    assert row["tests"] == tests and row["solution"] == (None if int(row["prompt"]) % 2 else row["prompt"])
    assert [reward.__name__ for reward in expert.reward_funcs] == ["code_reward"]
    without_solution = [{"prompt": "x", "tests": tests}] * 40
    domain["dataset"] = write_rows(tmp_path / "other.jsonl", without_solution)
    assert build_experts([domain], seed=0)[0].train_dataset.column_names == ["prompt", "tests"]


def test_held_out_rows_from_a_file_of_their_own(tmp_path):
    for name, start in (("train", 0), ("test", 1000)):
        write_rows(tmp_path / f"{name}.jsonl", [{"prompt": f"{i}", "solution": "x"} for i in range(start, start + 20)])
    domain = {"name": "a", "dataset": str(tmp_path / "train.jsonl"), "eval_dataset": str(tmp_path / "test.jsonl")}
    expert = build_experts([domain], seed=0)[0]
    assert all(int(row["prompt"][0]["content"]) < 1000 for row in expert.train_dataset)
    assert all(int(row["prompt"][0]["content"]) >= 1000 for row in expert.eval_dataset)


BUILTIN, ROWS = {"name": "a", "builtin": "demo/sort"}, {"name": "a", "dataset": "rows.jsonl", "n_eval": 4}
BAD_DOMAINS = {
    "unknown key": (BUILTIN | {"reward": "x"}, "unknown key 'reward'"),
    "no data": ({"name": "a"}, "either `builtin` or `dataset`"),
    "two kinds of data": (BUILTIN | ROWS, "and not both"),
    "builtin": ({"name": "a", "builtin": "sort"}, "demo/<skill>"),
    "no mapping": ("a", "mappings with a `name`"),
    "no held-out rows": (BUILTIN | {"n_eval": 0}, "n_eval must be a whole number >= 1, got 0"),
    "accuracy of the base": (BUILTIN | {"base_accuracy": 0}, "base_accuracy must be a number > 0 and <= 1, got 0"),
    "accuracy of another base": (
        ROWS | {"base_accuracy": 0.1},
        "`base_accuracy` would have no effect beside dataset: rows.jsonl. Remove it; .* demo/..., scene/...",
    ),
    "number of rows": (BUILTIN | {"n_train": "many"}, "n_train must be a whole number"),
    "no such file": (ROWS | {"dataset": "rose.jsonl"}, "'rose.jsonl' is not there \\(looked in "),
    "kind of file": (ROWS | {"dataset": "rows.txt"}, "of another kind.*\\.jsonl"),
    "no JSON": (ROWS | {"dataset": "torn.jsonl"}, "cannot be read as json"),
    "no such column": (ROWS | {"prompt": "{question}"}, "no column 'question' \\(found: prompt, solution\\)"),
    "no such solution": (ROWS | {"solution": "{answer}"}, "`solution` is '{answer}'"),
    "empty braces": (ROWS | {"prompt": "Say {}."}, "no column ''"),
    "braces": (ROWS | {"prompt": "{a"}, "double a literal brace"),
    "all rows held out": (ROWS | {"n_eval": 20}, "leave none"),
    "held-out rows that are trained on": (ROWS | {"eval_split": "test"}, "would be the training rows"),
    "row without a prompt": (ROWS | {"dataset": "holes.jsonl"}, "has no question"),
    "system without chat": (ROWS | {"system": "x", "chat": False}, "chat: true"),
    "reward of no name": (BUILTIN | {"rewards": "math_rewrd"}, "No reward is named 'math_rewrd'.*math_reward"),
    "reward not to be imported": (BUILTIN | {"rewards": ["nowhere.reward"]}, "No module named 'nowhere'"),
    "reward not in its module": (BUILTIN | {"rewards": ["trl_copd.rewards.math_rewrd"]}, "cannot be imported"),
    "reward without a name": (BUILTIN | {"rewards": [{"ignore_case": True}]}, "with a `name`"),
    "options of an instance": (BUILTIN | {"rewards": [{"name": "math_reward", "answer": "boxed"}]}, "Name its class"),
    "name": (BUILTIN | {"name": 1}, "name must be a text, got int: 1. Quote it"),
    "no file": (ROWS | {"dataset": ["rows.jsonl"]}, "dataset must be a text, got list"),
    "a word for a truth value": (ROWS | {"chat": "no"}, "chat must be true or false, got str: 'no'"),
    "system": (ROWS | {"system": ["x"]}, "system must be a text"),
    "tools": (ROWS | {"tools": "json.loads"}, "tools must be a list"),
    "options of a file": (
        ROWS | {"options": {"a": 1}},
        "`options` would have no effect beside dataset: rows.jsonl.*belongs to gym",
    ),
    "options of a skill": (
        BUILTIN | {"options": {"a": 1}},
        "`options` would have no effect beside builtin: demo/sort",
    ),
    "rows of a skill": (
        BUILTIN | {"system": "x", "chat": True, "eval_split": "test"},
        "`system`, `chat`, `eval_split` would have no effect beside builtin: demo/sort. Remove them",
    ),
    "rewards of one that acts": ({"name": "a", "builtin": "agent/sums", "rewards": "math_reward"}, "`rewards` would"),
    "no such agent": ({"name": "a", "builtin": "agent/sum"}, "Domain 'a': there is no agent/sum"),
    "subset of a file": (ROWS | {"subset": "main"}, "`subset` would have no effect beside dataset: rows.jsonl"),
    "a limit of no tool": (ROWS | {"tool_timeout": 3}, "`tool_timeout` would have no effect without `tools`"),
    "an unknown option": (
        {"name": "a", "builtin": "gym/chain_sum", "options": {"max_term": 3}},
        "Domain 'a', gym/chain_sum with options {'max_term': 3}: .*max_term",
    ),
    "an option out of range": (
        {"name": "a", "builtin": "gym/chain_sum", "options": {"min_terms": 0}},
        "Domain 'a', gym/chain_sum with options {'min_terms': 0}: min_terms",
    ),
    "no such skill": ({"name": "a", "builtin": "demo/srt"}, "Domain 'a', demo/srt: No domain 'srt'"),
    "no such folder": (ROWS | {"dataset": "./rose/"}, "Domain 'a': './rose/' cannot be loaded: Couldn't find any"),
    "empty file": (ROWS | {"dataset": "empty.jsonl"}, "Domain 'a': 'empty.jsonl' is empty"),
    "header alone": (ROWS | {"dataset": "header.csv"}, "Domain 'a': 'header.csv' cannot be loaded: .* no data"),
    "format": (ROWS | {"solution": "{solution:d}"}, "'{solution:d}', which cannot be filled with {'solution': 'x'}"),
    "attribute": (ROWS | {"solution": "{prompt.x}"}, "cannot be filled with {'prompt': 'p'}: .* no attribute 'x'"),
    "domain of a reward": (ROWS | {"rewards": None}, "Domain 'a': A reward is a name"),
    "weight": (ROWS | {"reward_weights": ["much"]}, "must be a list of numbers"),
    "no such option": (BUILTIN | {"rewards": [{"name": "MathReward", "anwser": 1}]}, "cannot be built with.*anwser"),
}


@pytest.mark.parametrize("case", BAD_DOMAINS)
def test_a_bad_domain_says_what_is_wrong(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "p", "solution": "x"}] * 20)
    write_rows(tmp_path / "holes.jsonl", [{"prompt": "p", "solution": "x"}, {"prompt": None, "solution": "x"}] * 20)
    (tmp_path / "torn.jsonl").write_text('{"prompt": "p",')
    (tmp_path / "rows.txt").write_text("p")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "header.csv").write_text("prompt,solution\n")
    domain, message = BAD_DOMAINS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        build_experts([domain], 0)


def test_cells_of_a_csv_file_are_texts(tmp_path):
    """pandas would make numbers, truth values and missing cells of these answers."""
    answers = ["007", "1e5", "1.50", "True", "None", "NA", "null", "12", '""']
    lines = [f"{number},{answer},{number if number else 'NA'}" for number, answer in enumerate(answers * 2)]
    (tmp_path / "Rows.CSV").write_text("\n".join(["question,answer,level", *lines]))
    domain = {"name": "a", "dataset": str(tmp_path / "Rows.CSV"), "prompt": "{question}", "solution": "{answer}",
              "chat": False, "n_eval": 9, "reward_weights": ["1e-1"], "subset": None}  # fmt: skip
    expert = build_experts([domain], seed=0)[0]
    rows = [*expert.train_dataset, *expert.eval_dataset]
    assert {row["prompt"]: row["solution"] for row in rows} == {
        str(number): answer.strip('"') or None for number, answer in enumerate(answers * 2)
    }
    assert all(row["level"] == (int(row["prompt"]) or None) for row in rows)  # other columns: as `datasets` has them
    assert expert.reward_weights == [0.1]


def test_rows_that_datasets_has_saved(tmp_path):
    Dataset.from_list([{"prompt": "p", "solution": "x"}] * 9).save_to_disk(tmp_path / "saved")
    domain = {"name": "a", "dataset": str(tmp_path / "saved"), "split": "train[:8]", "n_eval": 2}
    assert len(build_experts([domain | {"split": "train"}], seed=0)[0].train_dataset) == 7
    write_rows(tmp_path / "rows.jsonl", [{"prompt": "p", "solution": "x"}] * 20)
    expert = build_experts([domain | {"dataset": str(tmp_path / "rows.jsonl")}], seed=0)[0]
    assert len(expert.train_dataset) == 6


def numbered(count):
    return Dataset.from_list([{"prompt": str(number), "solution": "x"} for number in range(count)])


SLICES = {
    "of one data set": ("one", {"split": "train[:20]"}, (20, 4)),
    "of the training split": ("several", {"split": "train[:20]"}, (20, 4)),
    "two splits": ("several", {"split": "train[:10]+test", "n_eval": 1}, (16, 1)),
    "two parts": ("several", {"split": "train[:75%]", "eval_split": "train[75%:]"}, (30, 4)),
    "two parts of one data set": ("one", {"split": "train[:30]", "eval_split": "train[30:]"}, (30, 4)),
    "two parts of a file": ("rows.jsonl", {"split": "train[:30]", "eval_split": "train[30:]"}, (30, 4)),
    "another split": ("several", {"eval_split": "test"}, (40, 4)),
    "another file": ("rows.jsonl", {"eval_dataset": "one", "eval_split": "train[:2]"}, (40, 2)),
    "one data set twice": ("one", {"eval_split": "train"}, "would be the training rows.*no splits"),
    "a split of one data set": ("one", {"eval_split": "test"}, "would be the training rows.*no splits"),
    "one data set by another split": ("one", {"split": "test"}, "Unknown split .test"),
    "parts that overlap": ("several", {"split": "train[:30]", "eval_split": "train[29:]"}, "and eval_split='train.29"),
    "a split twice": ("several", {"eval_split": "train[:4]"}, "would be the training rows"),
    "a split that is not there": ("several", {"eval_split": "dev"}, "Unknown split .dev"),
    "a file twice": ("rows.jsonl", {"eval_dataset": "./rows.jsonl"}, "would be the training rows.*no splits"),
    "a file at home": ("~/rows.jsonl", {"eval_split": "test"}, "would be the training rows.*no splits"),
    "a saved one at home": ("~/one", {"eval_split": "test"}, "would be the training rows"),
}


@pytest.mark.parametrize("case", SLICES)
def test_splits_and_slices_and_held_out_rows_that_are_not_trained_on(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path), monkeypatch.setenv("HOME", str(tmp_path))
    numbered(40).save_to_disk("one")
    held_out = Dataset.from_list([{"prompt": str(number), "solution": "x"} for number in range(100, 106)])
    DatasetDict({"train": numbered(40), "test": held_out}).save_to_disk("several")
    numbered(40).to_json("rows.jsonl")
    source, keys, wanted = SLICES[case]
    domain = {"name": "a", "dataset": source, "chat": False, "n_eval": 4, **keys}
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=f"Domain 'a': .*{wanted}"):
            build_experts([domain], 0)
        return
    expert = build_experts([domain], 0)[0]
    # rows that are held out of the training split are fewer to train on
    own = 0 if {"eval_split", "eval_dataset"} & set(keys) else domain["n_eval"]
    assert (len(expert.train_dataset) + own, len(expert.eval_dataset)) == wanted
    if "eval_dataset" not in keys:
        assert not set(expert.train_dataset["prompt"]) & set(expert.eval_dataset["prompt"])


def test_a_solution_of_several_values_stays_one(tmp_path):
    rows = [{"prompt": "?", "solution": ["A", "C"]}, {"prompt": "?", "solution": None}] * 8
    domain = {"name": "a", "dataset": write_rows(tmp_path / "rows.jsonl", rows), "n_eval": 2,
              "rewards": {"name": "ChoiceReward", "multiple": True}}  # fmt: skip
    expert = build_experts([domain], 0)[0]
    found = expert.train_dataset["solution"]
    assert set(map(str, found)) == {"['A', 'C']", "None"}
    grades = expert.reward_funcs[0](prompts=["?"] * len(found), completions=["A, C"] * len(found), solution=found)
    assert {1.0} == {grade for grade, solution in zip(grades, found, strict=True) if solution}
    templated = build_experts([domain | {"solution": "{solution[0]}", "rewards": "choice_reward"}], 0)[0]
    assert set(templated.train_dataset["solution"]) <= {"A", None}


BAD_LINES = {
    "tabs": ("a:\n\t- b", [], "cannot be read as YAML: while scanning"),
    "two documents": ("a: 1\n---\nb: 2", [], "cannot be read as YAML: expected a single document"),
    "domains by name": ("domains: {a: {dataset: rows.jsonl}}", [], "`domains` must be a list of mappings"),
    "domains on the line": ("domains: []", ["--domains", "a"], "cannot be set on the command line"),
    "a path alone": ("domains: []", ["my.yaml"], "Unexpected argument 'my.yaml'.*a recipe follows --config"),
    "no JSON": ("domains: []", ["--chat_template_kwargs", "{a: 1}"], "'{a: 1}' is no JSON.*enable_thinking"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_recipe_or_a_command_line_that_cannot_be_read(case, tmp_path):
    text, words, message = BAD_LINES[case]
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        prepare([*words, "--config", str(tmp_path / "r.yaml")])


def test_a_recipe_without_domains():
    with pytest.raises(ValueError, match="names no domain"):
        build_experts([], 0)


def test_a_rate_that_yaml_reads_as_text():
    domain = yaml.safe_load("{name: a, builtin: demo/sort, n_train: 8, n_eval: 4, learning_rate: 1e-3}")
    assert domain["learning_rate"] == "1e-3" and build_experts([domain], 0)[0].learning_rate == 1e-3


@pytest.mark.parametrize("word, value", [("true", True), ("False", False), ("auto", "auto")])
def test_a_word_or_a_truth_value_on_the_command_line(config, tmp_path, word, value):
    argv = ["--config", str(config), "--output_dir", str(tmp_path), "--share_prompts", word]
    _, args, _ = RecipeParser(PARSED).parse_args_and_config(argv)
    assert args.share_prompts is value or args.share_prompts == value == "auto"


def test_one_model(tmp_path):
    check_model(None, "Qwen/Qwen3-0.6B"), check_model("demo", None), check_model(None, str(tmp_path))
    for base, name, message in (
        (None, None, "names no model"),
        ("demo", "Qwen/Qwen3-0.6B", "names two models"),
        (None, "/nowhere/model", "neither a folder"),
    ):
        with pytest.raises(ValueError, match=message):
            check_model(base, name)


def test_pooled_rows_are_graded_by_their_own_domain():
    def reward(sign):
        def grade(prompts, completions, solution, **kwargs):
            return [sign * float(c == s) for c, s in zip(completions, solution, strict=True)]

        return grade

    def data(name):
        return Dataset.from_list([{"prompt": f"{name}{i}", "solution": "x"} for i in range(8)])

    experts = [Expert(n, data(n), reward(s), eval_dataset=data(n)) for n, s in (("a", 1.0), ("b", -1.0))]
    mixed = pool(experts, seed=0)
    assert len(mixed.train_dataset) == 16 and set(mixed.eval_datasets) == {"a", "b"}
    grades = mixed.reward_funcs[0](["p"] * 3, ["x", "x", "y"], domain=["a", "b", "a"], solution=["x"] * 3, other=None)
    assert grades == [1.0, -1.0, 0.0]


def test_pooled_rewards_that_are_awaited():
    async def awaited(prompts, completions, **kwargs):
        return [0.5] * len(completions)

    data = Dataset.from_list([{"prompt": "a", "solution": "x"}])
    experts = [
        Expert(name, data, reward, eval_dataset=data)
        for name, reward in (("a", awaited), ("b", exact_match_reward.asynchronous()), ("c", exact_match_reward))
    ]
    reward = pool(experts, seed=0).reward_funcs[0]
    assert is_async_callable(reward)
    grades = asyncio.run(reward(["p"] * 4, ["x", "x", "y", "x"], domain=[*"cabb"], solution=["x"] * 4))
    assert grades == [1.0, 0.5, 0.0, 1.0]


def test_pooled_experts_act_alike_or_not_at_all(tmp_path):
    rows = [{"prompt": "?", "solution": "x", "tests": "assert f(1) == 1"}] * 9
    domain = {"dataset": write_rows(tmp_path / "rows.jsonl", rows), "n_eval": 2, "environment": "code_feedback",
              "max_tool_calling_iterations": 2, "tool_timeout": 9}  # fmt: skip
    experts = build_experts([domain | {"name": name} for name in "ab"], 0)
    mixed = pool(experts, 0)
    assert mixed.acts and mixed.environment_factory is experts[0].environment_factory
    assert (mixed.max_tool_calling_iterations, mixed.tool_timeout, mixed.reward_funcs) == (2, 9, [])
    for other, field in (
        ({"environment": {"name": "code_feedback", "tries": 3}}, "environment_factory"),
        ({"environment": None, "tools": ["trl_copd.recipes.agent.add"], "rewards": "code_reward"}, "tools"),
        ({"max_tool_calling_iterations": 3}, "max_tool_calling_iterations"),
    ):
        others = build_experts([domain | {"name": "a"}, domain | {"name": "b"} | other], 0)
        with pytest.raises(ValueError, match=f"the domains 'a' and 'b' differ in `{field}`"):
            pool(others, 0)


def test_pooled_rows_without_a_column_of_the_same_name():
    data = Dataset.from_list([{"prompt": "a", "solution": "x", "domain": "algebra"}])
    experts = [Expert(name, data, exact_match_reward, eval_dataset=data) for name in "ab"]
    with pytest.raises(ValueError, match="Domain 'a' has a column 'domain'"):
        pool(experts, 0)


def test_pooled_experts_go_on_from_one_adapter(tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        (folder / "adapter_config.json").write_text("{}")
    data = Dataset.from_list([{"prompt": "a", "solution": "x"}])

    def expert(name, adapter):
        return Expert(name, data, lambda completions, **kwargs: [0.0], eval_dataset=data, adapter=adapter)

    assert pool([expert("a", folders[0]), expert("b", folders[0])], seed=0).adapter == folders[0]
    assert pool([expert("a", None), expert("b", None)], seed=0).adapter is None
    for others in (folders, [folders[0], None]):
        with pytest.raises(ValueError, match="the same adapter or none"):
            pool([expert(name, folder) for name, folder in zip("ab", others, strict=True)], seed=0)


def test_a_recipe_names_finished_experts(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    domain = {"name": "up", "builtin": "demo/up", "n_train": 8, "n_eval": 4}
    done, new = build_experts([domain | {"adapter": str(tmp_path), "frozen": True}, domain | {"name": "new"}], seed=0)
    assert done.frozen and done.adapter == str(tmp_path) and not new.frozen
    with pytest.raises(ValueError, match="'up' is frozen, but has no adapter"):
        build_experts([domain | {"frozen": True}], seed=0)


def test_a_frozen_expert_that_acts_is_frozen(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    domain = {
        "name": "a",
        "builtin": "agent/sums",
        "n_train": 8,
        "n_eval": 4,
        "adapter": str(tmp_path),
        "frozen": True,
    }
    assert build_experts([domain], 0)[0].frozen


def test_a_warm_start_leaves_out_what_has_no_rows_for_it(caplog):
    own, skill = {"name": "mine", "dataset": "rows.jsonl"}, {"name": "sorted", "builtin": "demo/sort"}
    code = {"name": "code", "builtin": "small/code"}
    rows = warm_start_rows([own, code, skill], 0, n_rows=4)
    assert [row["task"] for row in rows] == ["code"] * 4
    assert all(f"not warm-started on the domain '{name}'" in caplog.text for name in ("mine", "sorted"))
    with pytest.raises(ValueError, match="'mine', 'sorted' have no rows for the warm start"):
        warm_start_rows([own, skill], 0)


def test_numbers_without_a_point():
    """Texts stay: those in quotes, names, and digits alone."""
    said = load_yaml(
        "opd_beta: [1e-1, -2E+3, .5e1]\nlr_scheduler_kwargs: {min_lr: 1e-6}\nmodel_revision: 12e4567\n"
        "learning_rate: 1e-3\n"
        "domains: [{name: 1e5, base_accuracy: 2e-1, prompt: '1e-3', options: {text: '1e3', digits: '007'}}]"
    )
    domain = {"name": "1e5", "base_accuracy": 0.2, "prompt": "1e-3", "options": {"text": "1e3", "digits": "007"}}
    assert said == {"opd_beta": [0.1, -2000.0, 5.0], "lr_scheduler_kwargs": {"min_lr": 1e-6}, "learning_rate": 1e-3,
                    "model_revision": "12e4567", "domains": [domain]}  # fmt: skip
    assert load_yaml(dump_yaml(said)) == said


def test_numbers_without_a_point_in_a_run(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "topology: mutual\nopd_beta: [1e-1, 1e-2]\nlr_scheduler_type: cosine_with_min_lr\nwarmup_steps: 1\n"
        "lr_scheduler_kwargs: {min_lr: 1e-6}\nlearning_rate: 1e-3\nno_opd: 'false'\nrlvr_steps: 3\nopd_steps: 2\n"
        "domains: [{name: a, builtin: demo/up, base_accuracy: 2e-1}, {name: b, builtin: demo/down}]"
    )
    argv = ["--config", str(path), "--output_dir", str(tmp_path), "--use_cpu", "true", "--bf16", "false"]
    recipe, args, _ = RecipeParser(PARSED).parse_args_and_config(argv)
    assert args.opd_beta == [0.1, 0.01] and args.lr_scheduler_kwargs == {"min_lr": 1e-6} and args.learning_rate == 1e-3
    assert recipe.domains[0]["base_accuracy"] == 0.2
    assert recipe.no_opd is False and (args.rlvr_steps, args.opd_steps) == (3, 2), "'false' is no"
    recipe, args, _ = RecipeParser(PARSED).parse_args_and_config([*argv, "--no_opd", "yes"])
    assert recipe.no_opd is True and args.opd_steps == 0


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_parses(path, tmp_path, monkeypatch):
    from trl import ModelConfig, TrlParser

    from trl_copd.train import RecipeArguments

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    parser = TrlParser((RecipeArguments, CoPDConfig, ModelConfig))
    extra = ["--bf16", "false", "--output_dir", str(tmp_path), "--use_cpu", "true"]
    recipe, args, _ = parser.parse_args_and_config(["--config", str(path), *extra])
    assert recipe.domains and all(check_domain(domain) == domain for domain in recipe.domains)
    assert args.loss_type == "grpo" and args.epsilon_high == 0.28 and args.beta == 0.0  # the paper's


def test_the_base_is_loaded_as_the_recipe_says(base_dir, config, tmp_path):
    base = str(base_dir / "demo-seed0")
    options = [*FEW, "--model_name_or_path", base, "--dtype", "bfloat16", "--attn_implementation", "eager"]
    recipe = yaml.safe_load(Path(config).read_text())
    recipe.pop("builtin_base")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    trainer = main(["--config", str(tmp_path / "recipe.yaml"), "--output_dir", str(tmp_path / "run"), *options])
    model = trainer.peft_model.get_base_model()
    assert model.lm_head.weight.dtype == torch.bfloat16 and model.config._attn_implementation == "eager"
    assert loading_options(ModelConfig(model_revision="v1", dtype=None)) == {"revision": "v1"}
