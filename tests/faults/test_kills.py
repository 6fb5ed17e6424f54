"""Killed twenty times at random moments, a run ends as if it had not been."""

import random
import shutil
import signal
import time

import killed_runs
import pytest
from killed_runs import ROUND, STARTED, WRITING

from trl_copd import last_checkpoint
from trl_copd.run.checkpoints import defect, list_checkpoints
from trl_copd.schedule import Schedule


pytestmark = pytest.mark.slow
KILLS = 20
VARIANTS = [{"topology": "student"}, {"topology": "mutual"}, {"topology": "hub", "hub": "code"}]


def moment(process, progress, rng: random.Random) -> None:
    """Wait for a random moment: anywhere in the next rounds, or somewhere within the write of a checkpoint."""
    while process.is_alive() and not progress[STARTED]:
        time.sleep(0.001)
    if rng.random() < 0.5:
        last = progress[ROUND] + rng.randint(0, 2)  # by rounds and not by the clock: machines differ tenfold
        while process.is_alive() and progress[ROUND] < last:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.3))
        return
    while process.is_alive() and not progress[WRITING]:
        time.sleep(0.001)
    time.sleep(rng.uniform(0.0, 0.06))


def test_twenty_kills(tmp_path, monkeypatch, proved):
    rng, context = random.Random(0), killed_runs.server(monkeypatch)
    kills, variant = [], 0
    while len(kills) < KILLS:
        folder, overrides = tmp_path / f"killed-{variant}", VARIANTS[variant % len(VARIANTS)]
        schedule, ended = Schedule(2, 2), False
        while not ended:
            before = last_checkpoint(folder)
            process, progress = killed_runs.start(context, folder, overrides)
            if len(kills) < KILLS:
                moment(process, progress, rng)
            else:
                process.join(300)
            process.kill()
            process.join()
            ended = process.exitcode == 0
            assert process.exitcode in (0, -signal.SIGKILL), folder.with_suffix(".log").read_text()[-3000:]
            if ended:
                continue
            torn = [path for path in list_checkpoints(folder) if defect(path) is not None]
            phase = schedule.phase(progress[ROUND], killed_runs.SETTINGS["max_steps"])
            kills.append((phase, bool(progress[WRITING]), len(torn)))
            assert before is None or last_checkpoint(folder) is not None, "the last complete checkpoint was lost"
        whole = tmp_path / f"whole-{variant}"
        process, _ = killed_runs.start(context, whole, overrides)
        process.join(300)
        assert process.exitcode == 0
        killed_runs.assert_same_end(folder, whole)
        shutil.rmtree(whole)
        variant += 1
    in_phase = {phase: sum(p == phase for p, _, _ in kills) for phase in ("rlvr", "opd")}
    writing, torn = sum(w for _, w, _ in kills), sum(t > 0 for _, _, t in kills)
    assert min(in_phase.values()) >= 3 and writing >= 3 and torn >= 1, kills
    proved(
        f"{len(kills)} SIGKILLs over {variant} runs ({in_phase['rlvr']} in RLVR rounds, {in_phase['opd']} in OPD "
        f"rounds; {writing} while a checkpoint was written, {torn} left a torn one): each run ended with the weights "
        "and the log history of an uninterrupted one, bit for bit"
    )
