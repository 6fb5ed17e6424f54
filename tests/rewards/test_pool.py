"""The pool of killable workers: what ends a call, what it leaves behind, and who may use it from where."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pool_functions
import pytest

from trl_copd.rewards.pool import WorkerPool, default_workers, shared_pool
from trl_copd.rewards.sandbox.turns import Turns


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool(2)
    yield pool
    pool.close()


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


class TestOutcomes:
    def test_values_in_order(self, workers):
        outcomes = workers.map(divmod, [(index, 7) for index in range(100)], cpu_seconds=5)
        assert [outcome.value for outcome in outcomes] == [divmod(index, 7) for index in range(100)]
        assert {outcome.status for outcome in outcomes} == {"ok"}
        assert workers.map(divmod, [], cpu_seconds=5) == []

    # Each way to end, in one batch: the calls around it are untouched
    def test_cpu_time(self, workers):
        outcomes = workers.map(pool_functions.spin, [(0.0,), (60.0,), (0.0,)], cpu_seconds=0.3)
        assert [outcome.status for outcome in outcomes] == ["ok", "cpu", "ok"]
        assert outcomes[1].cpu == 0.3

    # The kernel decides: code that catches every exception is ended as well
    def test_cpu_time_cannot_be_caught(self, workers):
        assert [o.status for o in workers.map(pool_functions.spin_deaf, [(60.0,)], cpu_seconds=0.2)] == ["cpu"]

    # Sleeping costs no CPU time: a call may take longer than its limit by the clock on the wall
    def test_wall_time_does_not_decide(self, workers):
        assert [o.status for o in workers.map(time.sleep, [(0.5,)], cpu_seconds=0.2)] == ["ok"]

    def test_wall_time_is_a_backstop(self, workers):
        start = time.monotonic()
        outcome = workers.map(time.sleep, [(60,)], cpu_seconds=0.1)[0]
        assert outcome.status == "wall" and "1 s of wall time" in outcome.error
        assert time.monotonic() - start < 10

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how large a process is")
    def test_memory(self, workers):
        outcomes = workers.map(pool_functions.allocate, [(1,), (400,), (1,)], cpu_seconds=2, memory_mib=100)
        assert [outcome.status for outcome in outcomes] == ["ok", "memory", "ok"]

    def test_exceptions(self, workers):
        outcome = workers.map(pool_functions.fail, [("no such key",)], cpu_seconds=1)[0]
        assert outcome.status == "raised" and "KeyError: 'no such key'" in outcome.error

    def test_crash(self, workers):
        outcome = workers.map(pool_functions.crash, [()], cpu_seconds=1)[0]
        assert outcome.status == "crashed" and "code 3" in outcome.error

    # A worker that the machine killed once says nothing about the call
    def test_crash_is_retried_once(self, workers, tmp_path):
        assert workers.map(pool_functions.crash_once, [(str(tmp_path / "seen"),)], cpu_seconds=1)[0].value == "alive"

    def test_function_that_cannot_be_imported(self, workers):
        with pytest.raises(ValueError, match="top level of a module"):
            workers.map(lambda: 1, [()], cpu_seconds=1)

    @pytest.mark.parametrize("seconds", [0, -1, float("nan")])
    def test_bad_limit(self, workers, seconds):
        with pytest.raises(ValueError, match="cpu_seconds"):
            workers.map(abs, [(1,)], cpu_seconds=seconds)


class TestWorkers:
    # What a verifier could depend on besides its arguments is the same in every worker and at every call
    def test_environment_is_fixed(self, workers):
        found = [outcome.value for outcome in workers.map(pool_functions.environment, [()] * 40, cpu_seconds=1)]
        assert len({value[1:] for value in found}) == 1
        assert found[0][3:] == ("UTC", "C.UTF-8")
        assert os.getpid() not in {value[0] for value in found}

    # Imports are not on the clock of the first call, and happen once
    def test_preparation(self):
        own = WorkerPool(1)
        for _ in range(2):
            outcomes = own.map(
                pool_functions.how_often_prepared, [()] * 3, cpu_seconds=1, prepare=pool_functions.prepare
            )
            assert [outcome.value for outcome in outcomes] == [1, 1, 1]
        own.close()

    def test_they_start_when_needed_and_stay(self):
        own = WorkerPool(2)
        assert not own._alive
        first = {o.value for o in own.map(os.getpid, [()], cpu_seconds=1)}
        assert len(own._alive) == 1
        assert {o.value for o in own.map(os.getpid, [()], cpu_seconds=1)} <= first | {
            w._process.pid for w in own._alive
        }
        own.map(os.getpid, [()] * 50, cpu_seconds=1)
        assert len(own._alive) <= 2
        own.close()

    # A call near its limit is repeated while nothing else runs in the pool
    def test_near_the_limit_alone(self, workers, monkeypatch):
        together, alone = [], []
        turns = workers._turns
        monkeypatch.setattr(turns, "alone", lambda original=turns.alone: alone.append(turns._beside) or original())
        outcomes = workers.map(pool_functions.spin, [(0.0,), (0.3,)], cpu_seconds=0.4)
        assert [outcome.status for outcome in outcomes] == ["ok", "ok"] and len(alone) == 1
        threads = [
            threading.Thread(
                target=lambda: together.append(workers.map(pool_functions.spin, [(0.3,)], cpu_seconds=0.4))
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert [outcome.status for (outcome,) in together] == ["ok"] * 3 and len(alone) == 4

    def test_turns(self):
        turns, log = Turns(), []

        def alone():
            with turns.alone():
                log.append("alone")
                time.sleep(0.1)
                log.append("no longer alone")

        with turns.beside():
            thread = threading.Thread(target=alone)
            thread.start()
            time.sleep(0.1)
            log.append("beside")
        with turns.beside():
            log.append("beside again")
        thread.join()
        assert log == ["beside", "alone", "no longer alone", "beside again"]

    @needs_proc
    def test_hung_workers_go_with_their_children(self, workers, tmp_path):
        path = tmp_path / "child"
        assert workers.map(pool_functions.leave_child, [(str(path),)], 0.1, wall_seconds=0.5)[0].status == "wall"
        assert wait_until(lambda: not alive(int(path.read_text())))

    @needs_proc
    def test_close(self):
        own = WorkerPool(2)
        own.map(os.getpid, [()] * 20, cpu_seconds=1)
        pids = [worker._process.pid for worker in own._alive]
        own.close()
        assert pids and not any(alive(pid) for pid in pids)
        assert own.map(abs, [(-1,)], cpu_seconds=1)[0].value == 1
        own.close()


def from_fork(connection):
    connection.send([outcome.value for outcome in shared_pool().map(abs, [(-1,), (-2,)], cpu_seconds=5)])


class TestSharing:
    def test_from_threads(self, workers):
        found = {}

        def grade(number):
            found[number] = [o.value for o in workers.map(divmod, [(number, n) for n in range(1, 30)], cpu_seconds=5)]

        threads = [threading.Thread(target=grade, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert found == {number: [divmod(number, n) for n in range(1, 30)] for number in range(8)}

    # A fork has the memory of its parent, but not its threads; its answers must not come from its parent's workers
    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
    def test_after_fork(self):
        assert shared_pool().map(abs, [(-3,)], cpu_seconds=5)[0].value == 3
        mine, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=from_fork, args=(theirs,))
        child.start()
        assert mine.poll(30) and mine.recv() == [1, 2]
        child.join(timeout=30)
        assert shared_pool().map(abs, [(-4,)], cpu_seconds=5)[0].value == 4

    # Killed, a process cannot tidy up: its workers must notice, also where a fork still holds their sockets
    @needs_proc
    @pytest.mark.parametrize("forked", [False, True])
    def test_workers_die_with_their_parent(self, forked):
        script = f"""
            import os, time
            from trl_copd.rewards.pool import shared_pool
            pids = {{o.value for o in shared_pool().map(os.getpid, [()] * 20, cpu_seconds=5)}}
            child = os.fork() if {forked} else 0
            if {forked} and child == 0:
                time.sleep(20)
                os._exit(0)
            print(child, *pids, flush=True)
            time.sleep(60)
        """
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
        child, *pids = map(int, process.stdout.readline().split())
        assert pids and all(alive(pid) for pid in pids)
        process.kill()
        process.wait()
        try:
            assert wait_until(lambda: not any(alive(pid) for pid in pids))
        finally:
            if child:
                os.kill(child, 9)
            process.stdout.close()

    # An ordinary end of the script leaves nothing either
    @needs_proc
    def test_nothing_is_left_at_exit(self):
        script = (
            "import os; from trl_copd.rewards.pool import shared_pool; "
            "print(*{o.value for o in shared_pool().map(os.getpid, [()] * 20, cpu_seconds=5)})"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == "" and done.stdout
        assert wait_until(lambda: not any(alive(int(pid)) for pid in done.stdout.split()))


class TestNumberOfWorkers:
    # The cores of the process, shared by the processes that were launched together on the machine
    @pytest.mark.parametrize(
        "cores, environment, workers",
        [
            (8, {}, 8),
            (8, {"LOCAL_WORLD_SIZE": "4"}, 2),
            (2, {"LOCAL_WORLD_SIZE": "8"}, 1),
            (200, {}, 32),
            (8, {"TRL_COPD_WORKERS": "3", "LOCAL_WORLD_SIZE": "8"}, 3),
        ],
    )
    def test_default(self, monkeypatch, cores, environment, workers):
        for name in ("LOCAL_WORLD_SIZE", "TRL_COPD_WORKERS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        assert default_workers() == workers

    @pytest.mark.parametrize("value", ["0", "-1", "two", ""])
    def test_bad_environment(self, monkeypatch, value):
        monkeypatch.setenv("TRL_COPD_WORKERS", value)
        with pytest.raises(ValueError, match="TRL_COPD_WORKERS"):
            default_workers()

    def test_bad_argument(self):
        with pytest.raises(ValueError, match="workers"):
            WorkerPool(0)
