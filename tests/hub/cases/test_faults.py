"""Uploads that fail: tried again, reported, training unmoved, nothing lost; and what is refused before training."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hub_runs import ADAPTERS, assert_same_logits, loaded_logits, logits, messages, pushing_trainer
from local_hub import READ_TOKEN, Fault
from tiny import distance, weights

from trl_copd.run import hub as pushing


SCRIPT = Path(__file__).parent.parent / "pushing_run.py"
EVER = 10**6
PASSING = {
    "server error on the commit": [("POST", "/commit/", {"status": 500})],
    "proxy error on the card": [("POST", "/api/validate-yaml", {"status": 502})],
    "connection cut in the middle of a file, oftener than one attempt bears": [
        ("PUT", "/lfs/", {"cut_after": 1000, "times": 30})
    ],
}
LASTING = {
    "commits fail": ("POST", "/commit/", {"status": 503}, "status.huggingface.co"),
    "token revoked": ("POST", "/preupload/", {"status": 403}, "may write"),
    "files are cut": ("PUT", "/lfs/", {"cut_after": 1000}, "Check the connection"),
}


def quick_first(cases):
    """The first case belongs to `make test`, the others to `make test-hub`."""
    return [pytest.param(name, marks=pytest.mark.slow if index else ()) for index, name in enumerate(cases)]


@pytest.fixture(scope="module")
def unpushed(tmp_path_factory):
    trainer = pushing_trainer(tmp_path_factory.mktemp("unpushed"), push_to_hub=False, save_strategy="no", max_steps=2)
    trainer.train()
    return trainer


@pytest.mark.parametrize("name", quick_first(PASSING))
def test_what_passes_is_tried_again(hub, tmp_path, proved, caplog, name):
    trainer = pushing_trainer(tmp_path, max_steps=1)
    for method, path, kind in PASSING[name]:
        hub.plant(Fault(method, path, **kind))
    trainer.train()
    assert messages(hub.repo("user/run"))[1:] == ["Training in progress, step 1"]
    assert "Trying again" in caplog.text and "was not pushed" not in caplog.text
    assert_same_logits(trainer)
    proved(f"{name}: tried again, repo complete")


@pytest.mark.parametrize("name", quick_first(LASTING))
def test_what_lasts_stops_no_training_and_loses_nothing(hub, tmp_path, proved, caplog, unpushed, name):
    method, path, kind, advice = LASTING[name]
    trainer = pushing_trainer(tmp_path, max_steps=2)
    fault = hub.plant(Fault(method, path, times=EVER, **kind))
    trainer.train()
    assert messages(hub.repo("user/run")) == ["initial commit"]
    assert "checkpoint-1 was not pushed" in caplog.text and advice in caplog.text
    assert "lacks checkpoint-2" in caplog.text
    for adapter in ADAPTERS:
        assert distance(weights(trainer, adapter), weights(unpushed, adapter)) == 0
    with pytest.raises(RuntimeError, match="Nothing is lost") as failure:
        trainer.push_to_hub()
    fault.times = 0
    if name == "token revoked":  # the command that the error holds does as well
        command = re.search("`(hf upload .*?)`", str(failure.value))[1]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-c", command], env={**os.environ, "PATH": path}, check=True)
        assert not any(file.startswith(("_", "checkpoint-")) for file in hub.repo("user/run").files())
    else:
        trainer.push_to_hub()
    assert_same_logits(trainer)
    proved(f"{name} throughout: training ends with the weights of a run that pushes nothing; `push_to_hub` raises, "
           "and succeeds when the fault is gone")  # fmt: skip


def test_a_hub_that_is_down_at_the_start(hub, tmp_path, proved, caplog):
    hub.plant(Fault("POST", "/api/repos/create", cut_after=1))
    hub.plant(Fault("POST", "/branch/", status=500))  # then it comes back for a moment
    trainer = pushing_trainer(tmp_path, max_steps=1, hub_revision="trial")
    assert "was not created" in caplog.text and not hub.repos
    trainer.train()
    assert_same_logits(trainer, revision="trial")
    proved("Hub unreachable when the trainer is built: a warning, and the first push creates the repo")


REFUSED = {
    "wrong token": ({"hub_token": "hf_wrongWRONGwrongWRONG"}, "refuses 'user/run'.*401.*hf auth login"),
    "token that only reads": ({"hub_token": READ_TOKEN}, "refuses 'user/run'.*403.*may write"),
    "somebody else's namespace": ({"hub_model_id": "other/run"}, "refuses 'other/run'.*403.*hub_model_id"),
    "name that is none": ({"hub_model_id": "user/two words"}, "cannot be a repo.*Set `hub_model_id`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_training(hub, tmp_path, name):
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as refusal:
        pushing_trainer(tmp_path, **options)
    assert "WRONG" not in str(refusal.value) and not hub.repos


def test_no_token_and_no_network_are_refused_before_the_model_is_loaded(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("trl_copd.trainers.copd_trainer.GRPOTrainer.__init__", lambda *a, **k: pytest.fail("loaded"))
    monkeypatch.setattr(pushing, "get_token", lambda: None)
    with pytest.raises(ValueError, match="there is no token.*HF_TOKEN"):
        pushing_trainer(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE=1"):
        pushing_trainer(tmp_path)


@pytest.mark.slow
def test_a_full_disk_while_copying_stops_nothing(hub, tmp_path, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    trainer = pushing_trainer(tmp_path, max_steps=1)
    monkeypatch.setattr(pushing.shutil, "copytree", full)
    trainer.train()
    assert "checkpoint-1 is not pushed" in caplog.text and not list(tmp_path.glob("_*"))
    monkeypatch.undo()
    trainer.push_to_hub()
    assert_same_logits(trainer)


@pytest.mark.slow
def test_two_processes(hub, tmp_path, proved):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*torchrun, str(SCRIPT), str(tmp_path), "checkpoint"], env=environment, check=True, timeout=240)
    files = hub.repo("user/run").files()
    assert {f"last-checkpoint/copd_state_{rank}.pt" for rank in (0, 1)} <= files.keys()
    assert messages(hub.repo("user/run")).count("End of training") == 1
    assert b"- processes: 2\n" in files["README.md"]
    for where in ADAPTERS.values():
        assert loaded_logits("user/run", **where).isfinite().all()
    proved("two processes: one pushes, the checkpoint holds the state of both")


@pytest.mark.slow
def test_killed_in_the_middle_of_an_upload(hub, tmp_path, proved):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    held = hub.plant(Fault("PUT", "/lfs/", hold=threading.Event(), skip=4))
    process = subprocess.Popen([sys.executable, SCRIPT, tmp_path], env=environment)
    assert held.came.wait(120)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    held.hold.set()
    sent, commits = len(hub.blobs), messages(hub.repo("user/run"))
    subprocess.run([sys.executable, SCRIPT, tmp_path, "resume"], env=environment, check=True, timeout=240)
    whole = pushing_trainer(tmp_path / "whole", push_to_hub=False, save_strategy="no")
    whole.train()
    for name, where in ADAPTERS.items():
        assert (loaded_logits("user/run", **where) == logits(whole, name)).all()
    files = hub.repo("user/run").files()
    assert not list(tmp_path.glob("_*")) and not any(path.startswith("_") for path in files)
    assert {"README.md", "figures/summary.png", "tokenizer.json", "copd.json"} <= files.keys()
    proved(f"SIGKILL in the middle of an upload ({sent} files sent, {len(commits) - 1} commits): resumed, the repo is "
           "complete, logits of the uninterrupted run")  # fmt: skip
