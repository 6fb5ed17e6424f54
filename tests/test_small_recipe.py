"""The math, code and instructions recipe on the CPU: its rows, and three rounds of it on a real language model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trl_copd.recipes.build import build_experts, warm_start_rows
from trl_copd.recipes.small import TASKS, small_domain, small_warm_start
from trl_copd.rewards import exact_match_reward, instruction_reward


ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "math_code_instructions_cpu.yaml"


def questions(rows):
    return {row["prompt"][0]["content"] for row in rows}


@pytest.mark.parametrize("task", TASKS)
def test_no_question_is_in_two_splits(task):
    splits = [questions(rows) for seed in (0, 1) for rows in (*small_domain(task, 100, 60, seed),)]
    warm = questions(small_warm_start(task, 100, 0)) | questions(small_warm_start(task, 100, 1))
    assert not (splits[0] | splits[2]) & (splits[1] | splits[3])
    assert not warm & set().union(*splits)


def test_solutions_have_the_whole_reward():
    code, texts = small_domain("code", 50, 10, 0)[0], small_domain("instructions", 50, 10, 0)[0]
    assert exact_match_reward(code["prompt"], code["solution"], solution=code["solution"]) == [1.0] * 50
    for row in code:
        namespace = {}
        function, _, question = row["prompt"][0]["content"].partition("\n\nWhat does ")
        exec(function, namespace)
        assert repr(eval(question.partition(" return?")[0], namespace)) == row["solution"]
    columns = {"instructions": texts["instructions"]}
    assert instruction_reward(texts["prompt"], texts["solution"], **columns) == [1.0] * 50
    assert instruction_reward(texts["prompt"], ["The weather, it is fine"] * 50, **columns).count(1.0) == 0


@pytest.mark.parametrize("task", ["avoid", "twice", "title", "placeholder", "twice_and_placeholder"])
def test_one_instruction_is_followed_by_its_solution_and_not_by_its_question(task):
    rows = small_domain(task, 40, 10, 0)[0]
    columns = {"instructions": rows["instructions"]}
    assert instruction_reward(rows["prompt"], rows["solution"], **columns) == [1.0] * 40
    topics = [row[0]["content"].partition(".")[0].removeprefix("Write one sentence about ") for row in rows["prompt"]]
    assert instruction_reward(rows["prompt"], topics, **columns) == [0.0] * 40
    assert instruction_reward(rows["prompt"], [""] * 40, **columns) == [0.0] * 40


@pytest.mark.parametrize(
    "task, count, problem", [("poems", 1, "no small domain 'poems'"), ("code", 10**4, "distinct questions for train")]
)
def test_what_cannot_be_drawn(task, count, problem):
    with pytest.raises(ValueError, match=problem):
        small_domain(task, count, 1, 0)


def test_recipe_names_three_domains_with_their_rewards():
    domains = yaml.safe_load(RECIPE.read_text())["domains"]
    experts = build_experts([{**domain, "n_train": 20, "n_eval": 5} for domain in domains], seed=0)
    assert [expert.name for expert in experts] == ["math", "code", "instructions"]
    warm = warm_start_rows(domains, 0, 20)
    assert {row["task"] for row in warm} == {"chain_sum", "code", "instructions"} and len(warm) == 60


def test_the_warm_start_has_every_domain_with_as_many_rows_as_there_are():
    domains = yaml.safe_load(RECIPE.read_text())["domains"]
    rows = warm_start_rows(domains, 0)
    count = {task: sum(row["task"] == task for row in rows) for task in ("chain_sum", "code", "instructions")}
    assert count["code"] < 1200, "one-line functions have fewer questions than a warm start asks for"
    assert min(count.values()) > 200 and count["instructions"] == 1200


@pytest.mark.slow
def test_three_rounds(tmp_path):
    pytest.importorskip("gguf")
    from trl_copd.recipes.smollm2 import build_smollm2

    settings = yaml.safe_load(RECIPE.read_text())
    domains = [{**domain, "n_train": 40, "n_eval": 2} for domain in settings["domains"]]
    # a few steps of the warm start: the rounds must run, not be good
    model = build_smollm2(tmp_path / "base", warm_start_rows(domains, 0, 40), steps=2)
    settings = {key: value for key, value in settings.items() if key != "builtin_base"}
    settings |= {"domains": domains, "model_name_or_path": model, "max_steps": 3, "output_dir": str(tmp_path / "run")}
    settings |= {"save_strategy": "steps", "save_steps": 3}
    settings |= {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 12}  # a quarter
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "recipes/copd.py", "--config", str(config)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    state = json.loads((tmp_path / "run" / "checkpoint-3" / "trainer_state.json").read_text())
    rounds = [log for log in state["log_history"] if "phase" in log]
    assert [log["phase"] for log in rounds] == [0, 0, 1]
    assert {"math", "code", "instructions"} <= {key.partition("/")[0] for log in rounds for key in log}
    matrix = json.loads((tmp_path / "run" / "capability_matrix.json").read_text())
    assert list(matrix)[0] == "base"
