"""A disk that is really full: a file system of a few megabytes."""

import os
import shutil
import subprocess

import pytest
from tiny import build_experts, build_trainer, distance, weights
from transformers import TrainerCallback

from trl_copd import last_checkpoint
from trl_copd.run.checkpoints import defect


pytestmark = pytest.mark.slow
MEGABYTES = 8


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Fill(TrainerCallback):
    """Leaves `kilobytes` of the disk free after round 3, and frees it after round 5."""

    def __init__(self, folder, kilobytes):
        self.file, self.kilobytes = folder / "other data", kilobytes

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            free = os.statvfs(self.file.parent).f_bavail * os.statvfs(self.file.parent).f_frsize
            self.file.write_bytes(b"x" * (free - self.kilobytes * 1024))
        if state.global_step == 5:
            self.during = sorted(path.name for path in self.file.parent.glob("checkpoint-*"))
            self.defect = defect(self.file.parent / "checkpoint-2")
            self.file.unlink()


@pytest.mark.parametrize("kilobytes", [4, 64, 200])  # it ends in other files: the adapters, the optimizer, the state
def test_full_disk(tmp_path, small_disk, proved, caplog, kilobytes):
    def build(folder):
        return build_trainer(
            folder, build_experts(2, size=10), max_steps=6, save_strategy="steps", save_steps=2, rlvr_steps=2,
            opd_steps=2, overlap_every=0, save_total_limit=1,
        )  # fmt: skip

    fill, trainer = Fill(small_disk, kilobytes), build(small_disk)
    trainer.add_callback(fill)
    trainer.train()
    assert fill.during == ["checkpoint-2"] and fill.defect is None
    assert "CHECKPOINT NOT WRITTEN" in caplog.text
    assert last_checkpoint(small_disk) == str(small_disk / "checkpoint-6")
    whole = build(tmp_path / "whole")
    whole.train()
    for name in whole.branches:
        assert distance(weights(whole, name), weights(trainer, name)) == 0.0
    error = caplog.text.split("CHECKPOINT NOT WRITTEN: ")[1].split("\n")[0][:120].split("disk/")[-1]
    proved(f"a full disk ({kilobytes} kB left): the old checkpoint stayed, the run went on and saved again ({error})")
