"""The adapter from a verifier to a TRL reward function: rows, columns, cache, metrics, the asynchronous form."""

import asyncio
import inspect
import pickle
import subprocess
import sys
import threading
import time

import pytest
from pool_functions import moody
from trl.trainer.utils import get_callable_name, is_async_callable

from trl_copd.rewards import Verdict, VerifierReward, exact_match_reward, math_reward


def cases(*rows):
    """Parameters with ids that show the row."""
    return [pytest.param(*row, id=" | ".join(str(value)[:40] for value in row)) for row in rows]


def long_and_known(completion, reference):
    """A verifier of two columns."""
    return Verdict(len(completion) >= reference["length"] and completion in reference["known"], "")


def fractional(completion, solution):
    """A verifier that counts: the share of the letters that are right."""
    share = sum(a == b for a, b in zip(completion, solution, strict=False)) / len(solution)
    return Verdict(share == 1, "", score=share)


class Counting(VerifierReward):
    """Remembers what it was asked to grade."""

    def __init__(self):
        super().__init__(moody)
        self.asked = []

    def verdicts(self, texts, references):
        self.asked.append(list(texts))
        return super().verdicts(texts, references)


def call(reward, completions, solution=None, **columns):
    columns["solution"] = solution or ["?"] * len(completions)
    return reward(prompts=[""] * len(completions), completions=completions, **columns)


class TestRows:
    # The last assistant message counts: not the tool's, nor the user's
    @pytest.mark.parametrize(
        "completion, reward",
        cases(
            ("Paris", 1.0),
            ([{"role": "assistant", "content": "Paris"}], 1.0),
            ([{"content": "Paris"}], 1.0),
            ([{"role": "assistant", "content": [{"type": "text", "text": "Paris"}]}], 1.0),
            ([{"role": "assistant", "content": "Paris"}, {"role": "tool", "content": "Rome"}], 1.0),
            ([{"role": "tool", "content": "Paris"}], 0.0),
            ([{"role": "assistant", "content": "Paris"}, {"role": "assistant", "content": "Hm."}], 0.0),
            ([{"role": "assistant", "content": None, "tool_calls": []}], 0.0),
            ([], 0.0),
        ),
    )
    def test_conversational(self, completion, reward):
        assert call(exact_match_reward, [completion], ["Paris"]) == [reward]

    def test_completion_of_another_type(self):
        with pytest.raises(TypeError, match="list of message dicts"):
            call(exact_match_reward, [72], ["72"])

    # None is not 0.0: the row is another verifier's, and is neither graded nor counted
    def test_rows_of_others_and_extra_arguments(self):
        metrics = []
        rewards = math_reward(
            prompts=["a", "b", "c"],
            completions=[r"\boxed{72}", r"\boxed{72}", r"\boxed{5}"],
            completion_ids=[[1], [2], [3]],
            solution=["72", None, "72"],
            level=[1, 2, 3],
            trainer_state=object(),
            log_extra=lambda column, values: None,
            log_metric=lambda name, value: metrics.append((name, value)),
            environments=None,
        )
        assert rewards == [1.0, None, 0.0]
        assert metrics == [("math_reward/unreadable", 0.0), ("math_reward/infrastructure_failures", 0.0)]

    # Whose fault it is that there is no grade: counted apart on every call, each warned of once
    def test_failures_are_counted_and_warned_of_once(self, caplog):
        metrics = []
        reward = VerifierReward(moody)
        for _ in range(2):
            rewards = call(
                reward,
                ["reference", "right", "infrastructure", "wrong", "reference"],
                log_metric=lambda name, value: metrics.append((name, value)),
            )
            assert rewards == [None, 1.0, None, 0.0, None]
        assert metrics == [("moody/unreadable", 2.0), ("moody/infrastructure_failures", 1.0)] * 2
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 2
        assert "unreadable reference" in messages[0] and "the infrastructure failed" in messages[1]

    def test_missing_column(self):
        with pytest.raises(ValueError, match=r"math_reward .* 'solution' \(found: answer\).* Add or rename"):
            math_reward(prompts=["a"], completions=["b"], answer=["72"])

    def test_column_of_another_length(self):
        with pytest.raises(ValueError, match="2 values of the column 'solution' for 1 completions"):
            math_reward(prompts=["a"], completions=["b"], solution=["72", "72"])

    def test_several_columns(self):
        reward = VerifierReward(long_and_known, columns=("length", "known"))
        columns = {"length": [3, 3, None], "known": ["abc d", "d", "abc"]}
        assert reward(prompts=[""] * 3, completions=["abc"] * 3, **columns) == [1.0, 0.0, None]
        assert get_callable_name(reward) == "long_and_known"
        assert list(inspect.signature(reward).parameters) == ["prompts", "completions", "length", "known",
        "log_metric",
                                                              "columns"]  # fmt: skip

    # A verifier that breaks must stop the run: 0.0 would teach the model that it was wrong
    @pytest.mark.parametrize("cpu_seconds, error", [(None, KeyError), (1.0, RuntimeError)])
    def test_errors_of_a_verifier_surface(self, cpu_seconds, error):
        with pytest.raises(error, match="something else"):
            call(VerifierReward(moody, cpu_seconds=cpu_seconds), ["something else"])

    # The share that is right is the reward only where the class says so
    def test_partial_credit(self):
        reward = VerifierReward(fractional)
        assert call(reward, ["abcd", "abxx"], ["abcd", "abcd"]) == [1.0, 0.0]
        reward.partial_credit = True
        assert call(reward, ["abcd", "abxx"], ["abcd", "abcd"]) == [1.0, 0.5]

    @pytest.mark.parametrize(
        "options, error", cases(({"columns": "solution"}, TypeError), ({"columns": ()}, ValueError),
        ({"cpu_seconds": 0}, ValueError))
    )  # fmt: skip
    def test_bad_options(self, options, error):
        with pytest.raises(error, match=next(iter(options))):
            VerifierReward(long_and_known, **options)

    # TRL's asynchronous workers receive their rewards pickled
    @pytest.mark.parametrize("reward", [math_reward, exact_match_reward, math_reward.asynchronous()])
    def test_pickle(self, reward):
        copy = pickle.loads(pickle.dumps(reward))
        assert copy.columns == reward.columns == ("solution",)
        if not is_async_callable(reward):
            completions = [r"\boxed{72}", "72", "71"]
            assert call(copy, completions, ["72"] * 3) == call(reward, completions, ["72"] * 3)


class TestWorkers:
    # The same grades as inline, from other processes
    def test_in_the_pool(self):
        inline, pooled = VerifierReward(moody), VerifierReward(moody, cpu_seconds=1.0)
        rows = ["right", "wrong", "reference", "infrastructure"] * 3
        assert call(pooled, rows) == call(inline, rows) == [1.0, 0.0, None, None] * 3

    # A worker imports the verifier by its name: what has none is refused when the reward is checked, not at a row
    def test_a_verifier_that_workers_cannot_import(self):
        reward = VerifierReward(lambda completion, solution: Verdict(True, ""), name="anonymous", cpu_seconds=1.0)
        with pytest.raises(ValueError, match="top level of a module"):
            reward.check()
        with pytest.raises(ValueError, match="top level of a module"):
            call(reward, ["a"])

    def test_check_runs_once_before_the_first_row(self):
        reward, checks = VerifierReward(moody), []
        reward.check = lambda: checks.append(1)
        call(reward, ["right"])
        call(reward, ["wrong"])
        assert checks == [1]


class TestCache:
    # Equal rows are graded once, within a batch and later
    def test_equal_rows_once(self):
        reward = Counting()
        assert call(reward, ["right", "right", "wrong"]) == [1.0, 1.0, 0.0]
        assert call(reward, ["wrong", "right", "reference"]) == [0.0, 1.0, None]
        assert reward.asked == [["right", "wrong"], ["reference"]]

    # What may be gone next time is asked again
    def test_infrastructure_failures_are_not_kept(self):
        reward = Counting()
        assert call(reward, ["infrastructure"]) == call(reward, ["infrastructure"]) == [None]
        assert reward.asked == [["infrastructure"]] * 2

    # Another reference, type of reference or version of the verifier is another row
    def test_key(self):
        reward = Counting()
        for solution in ("1", 1, True, 1.0, ["1"]):
            call(reward, ["right"], [solution])
        reward.version = "of tomorrow"
        call(reward, ["right"], ["1"])
        assert reward.asked == [["right"]] * 6

    def test_size(self):
        reward = Counting()
        reward.cache_size = 1
        for completion in ("right", "wrong", "wrong", "right"):
            call(reward, [completion])
        assert reward.asked == [["right"], ["wrong"], ["right"]]


def sleepy(completion, solution):
    time.sleep(0.4)
    return Verdict(completion == solution, "")


class TestAsynchronous:
    # TRL tells asynchronous rewards by their call, runs them together and awaits them
    def test_they_overlap(self):
        rewards = [VerifierReward(sleepy, name=f"sleepy_{index}").asynchronous() for index in range(4)]
        assert all(is_async_callable(reward) for reward in rewards)
        assert [get_callable_name(reward) for reward in rewards] == [f"sleepy_{index}" for index in range(4)]

        async def together():
            return await asyncio.gather(*(call(reward, ["a"], ["a"]) for reward in rewards))

        start = time.perf_counter()
        assert asyncio.run(together()) == [[1.0]] * 4
        assert time.perf_counter() - start < 1.4  # one after the other would take 1.6 s

    def test_from_threads(self):
        reward, found = VerifierReward(moody, cpu_seconds=1.0), []
        threads = [threading.Thread(target=lambda: found.append(call(reward, ["right", "wrong"]))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert found == [[1.0, 0.0]] * 8


# Verifiers run in workers that should start fast. The package itself is stubbed: it imports the trainer
def test_imports_neither_torch_nor_trl_nor_sympy():
    import trl_copd.rewards as rewards

    code = (
        "import sys, types; package = types.ModuleType('trl_copd'); "
        f"package.__path__ = [{rewards.__path__[0].rpartition('rewards')[0]!r}]; "
        "sys.modules['trl_copd'] = package; import trl_copd.rewards; "
        "print(sorted({'torch', 'trl', 'transformers', 'sympy', 'mpmath', 'math_verify'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
