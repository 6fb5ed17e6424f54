"""The rewards where they are used: TRL's command line and trainers, threads, event loops, busy machines, auditors."""

import asyncio
import importlib.util
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import pytest
from datasets import Dataset
from mixed_rows import REWARDS, mixed_rows
from tiny import settings, tiny_model, tiny_tokenizer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from trl_copd.rewards.choice import ChoiceReward, choice_reward


ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


# ---- TRL ----


@pytest.mark.slow
def test_trl_command_line(tmp_path):
    """`trl grpo --reward_funcs trl_copd.rewards.math_reward`, offline, on a model of two layers, by TRL's launcher."""
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    rows = [{"prompt": f"{i}+{i}=", "solution": str(2 * i)} for i in range(8)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        BIN / "trl", "grpo", "--model_name_or_path", tmp_path / "model", "--dataset_name", tmp_path / "data",
        "--reward_funcs", "trl_copd.rewards.math_reward", "--output_dir", tmp_path / "out", "--max_steps", "2",
        "--per_device_train_batch_size", "4", "--num_generations", "4", "--max_completion_length", "6",
        "--use_cpu", "true", "--bf16", "false", "--report_to", "none", "--save_strategy", "steps", "--save_steps", "2",
        "--logging_steps", "1", "--gradient_checkpointing", "false",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [str(part) for part in command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    state = json.loads((tmp_path / "out/checkpoint-2/trainer_state.json").read_text())
    logs = [log for log in state["log_history"] if "rewards/math_reward/mean" in log]
    assert len(logs) == 2 and all(log["rewards/math_reward/mean"] == 0.0 for log in logs)  # noise is no answer
    assert all(log["math_reward/unreadable"] == 0.0 for log in logs)


def say(trainer, texts):
    """Let a trainer take these completions, in turn, instead of sampling."""
    tokenizer = trainer.processing_class

    def single_turn(prompts, *args, **kwargs):
        ids = [[*tokenizer(texts[i % len(texts)])["input_ids"], tokenizer.eos_token_id] for i in range(len(prompts))]
        return (ids, None) if isinstance(trainer, GRPOTrainer) else ids

    trainer._generate_single_turn = single_turn


@pytest.mark.parametrize("reward", [choice_reward, choice_reward.asynchronous()], ids=["plain", "asynchronous"])
def test_stock_grpo_script(reward, tmp_path):
    """Three lines change in a script of TRL's: the import, the column `solution`, `reward_funcs`."""
    rows = [{"prompt": f"{i}?", "solution": "B" if i % 2 else None} for i in range(8)]
    trainer = GRPOTrainer(
        tiny_model(),
        reward_funcs=[reward, ChoiceReward(name="same_reward")],
        args=GRPOConfig(**settings(tmp_path, max_steps=2, max_completion_length=6, shuffle_dataset=False)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
    )
    say(trainer, ["b", "a", "ab", "b"])
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    logs = [log for log in trainer.state.log_history if "rewards/choice_reward/mean" in log]
    # Half of a batch's rows are ungraded (None); of the others, two in four say the right letter
    assert [log["rewards/choice_reward/mean"] for log in logs] == [0.5, 0.5]
    assert [log["rewards/same_reward/mean"] for log in logs] == [0.5, 0.5]
    assert [log["choice_reward/unreadable"] for log in logs] == [0.0, 0.0]
    assert any(not parameter.equal(before[name]) for name, parameter in trainer.model.named_parameters())


def test_stock_rloo_script(tmp_path):
    options = settings(tmp_path, max_steps=1, max_completion_length=6, beta=0.0)  # no reference model to load
    del options["loss_type"]
    trainer = RLOOTrainer(
        tiny_model(),
        reward_funcs=choice_reward,
        args=RLOOConfig(**options),
        train_dataset=Dataset.from_list([{"prompt": f"{i}?", "solution": "B"} for i in range(8)]),
        processing_class=tiny_tokenizer(),
    )
    say(trainer, ["b", "a", "c", "d"])
    trainer.train()
    logs = [log for log in trainer.state.log_history if "rewards/choice_reward/mean" in log]
    assert [log["rewards/choice_reward/mean"] for log in logs] == [0.25]


# ---- the same rows, the same grades ----


def grade(rows):
    """Grades of rows of all kinds, each by its own reward, in the order of the rows."""
    grades = [None] * len(rows)
    for kind, reward in REWARDS().items():
        mine = [i for i, row in enumerate(rows) if row["kind"] == kind]
        columns = {name: [rows[i]["columns"][name] for i in mine] for name in reward.columns}
        reward.cache_size = 0  # what is remembered is not graded
        reward._cache.clear()
        values = reward(["?"] * len(mine), [rows[i]["completion"] for i in mine], **columns)
        for i, value in zip(mine, values, strict=True):
            grades[i] = value
    return grades


@lru_cache(maxsize=2)
def graded(count):
    """Rows and their grades, in order, undisturbed."""
    rows = mixed_rows(count)
    return rows, grade(rows)


def shuffled(rows, seed):
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    return order


def regraded(rows, order):
    grades = [None] * len(rows)
    for i, value in zip(order, grade([rows[i] for i in order]), strict=True):
        grades[i] = value
    return grades


def in_threads(rows):
    parts = [shuffled(rows, 9)[i::8] for i in range(8)]
    grades = [None] * len(rows)
    with ThreadPoolExecutor(8) as pool:
        for part, values in zip(parts, pool.map(lambda part: grade([rows[i] for i in part]), parts), strict=True):
            for i, value in zip(part, values, strict=True):
                grades[i] = value
    return grades


async def in_asyncio(rows):
    """All kinds at once in one event loop, each in batches of 16."""
    grades = [None] * len(rows)

    async def batch(reward, mine):
        columns = {name: [rows[i]["columns"][name] for i in mine] for name in reward.columns}
        values = await reward.asynchronous()(["?"] * len(mine), [rows[i]["completion"] for i in mine], **columns)
        for i, value in zip(mine, values, strict=True):
            grades[i] = value

    batches = []
    for kind, reward in REWARDS().items():
        mine = [i for i, row in enumerate(rows) if row["kind"] == kind]
        batches += [batch(reward, mine[start : start + 16]) for start in range(0, len(mine), 16)]
    await asyncio.gather(*batches)
    return grades


class Busy:
    """Four processes beside this one that do nothing but compute."""

    def __enter__(self):
        self.processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()


class TestSameGrades:
    def test_rows_are_of_all_kinds_and_outcomes(self):
        rows, grades = graded(60)
        assert {row["kind"] for row in rows} == set(REWARDS()) and {0.0, 1.0, None} == set(grades)
        assert grades == [row["grade"] for row in rows]

    def test_quick(self):
        rows, grades = graded(60)
        assert regraded(rows, shuffled(rows, 1)) == grades
        assert in_threads(rows) == grades
        assert asyncio.run(in_asyncio(rows)) == grades

    @pytest.mark.slow
    def test_500_rows(self):
        rows, grades = graded(500)
        assert len(rows) == 500 and grades == [row["grade"] for row in rows]
        for seed in (1, 2):
            assert regraded(rows, shuffled(rows, seed)) == grades
        assert in_threads(rows) == grades
        assert asyncio.run(in_asyncio(rows)) == grades

    @pytest.mark.slow
    def test_500_rows_on_a_busy_machine(self):
        rows, grades = graded(500)
        with Busy():
            assert regraded(rows, shuffled(rows, 3)) == grades
            assert in_threads(rows) == grades


# ---- auditors ----


@pytest.mark.skipif(importlib.util.find_spec("reward_doctor") is None, reason="reward-doctor is a development extra")
class TestRewardDoctor:
    def audit(self, target, tmp_path, *options):
        report = tmp_path / "report.json"
        command = [BIN / "reward-doctor", "audit", target, "-f", "json", "-o", report, *options]
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
        return run.returncode, json.loads(report.read_text())

    def test_no_exploit(self, tmp_path):
        code, report = self.audit("trl_copd.rewards:math_reward", tmp_path, "--fail-on", "exploit")
        assert code == 0 and report["n_exploits_accepted"] == 0 and report["false_positive_rate"] == 0.0
        assert "crash" not in report["headline"]

    def test_fewer_false_negatives_than_trl(self, tmp_path, capsys):
        _, ours = self.audit("trl_copd.rewards:math_reward", tmp_path, "--fail-on", "never")
        _, theirs = self.audit("trl.rewards:accuracy_reward", tmp_path, "--fail-on", "never")
        targets = Path(__file__).with_name("doctor_targets.py")
        _, ours_boxed = self.audit(f"{targets}:boxed_math_reward", tmp_path, "--fail-on", "never")
        _, theirs_boxed = self.audit(f"{targets}:boxed_accuracy_reward", tmp_path, "--fail-on", "never")
        with capsys.disabled():
            for name, report in (
                ("math_reward", ours),
                ("accuracy_reward of TRL", theirs),
                ("math_reward, answers in a box", ours_boxed),
                ("accuracy_reward of TRL, answers in a box", theirs_boxed),
            ):
                print(f"\nreward-doctor, {name}: {report['headline'].rpartition(': ')[2]}", end="")
        for mine, peer in ((ours, theirs), (ours_boxed, theirs_boxed)):
            assert mine["false_negative_rate"] < peer["false_negative_rate"]
            assert mine["n_exploits_accepted"] == 0 and "crash" not in mine["headline"]
