"""Create, push during and after training, load what is there: same logits, and nothing is sent twice."""

import threading

import pytest
import torch
from hub_runs import ADAPTERS, PROMPT, assert_same_logits, loaded_logits, logits, messages, pushing_trainer, status
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from local_hub import OTHER_TOKEN, Fault
from peft import AutoPeftModelForCausalLM
from tiny import distance, tiny_model, weights
from transformers import AutoTokenizer, TrainerCallback


@pytest.mark.parametrize("topology", ["student", pytest.param("mutual", marks=pytest.mark.slow)])
def test_every_save(hub, tmp_path, proved, topology):
    trainer = pushing_trainer(tmp_path, topology=topology)
    trainer.train()
    repo = hub.repo("user/run")
    during = messages(repo)
    assert during[0] == "initial commit" and during[-1] == "Training in progress, step 3"
    assert_same_logits(trainer)
    trainer.push_to_hub()
    assert_same_logits(trainer)
    assert AutoTokenizer.from_pretrained("user/run").vocab_size == 30
    before = len(hub.calls("PUT", "/lfs/")), len(messages(repo))
    trainer.save_model()
    trainer.push_to_hub()
    assert (len(hub.calls("PUT", "/lfs/")), len(messages(repo))) == before
    proved(
        f"topology {topology}: {len(during) - 1} pushes during training and one at the end; student and 2 experts "
        "loaded from the repo, logits equal; pushed again without change: 0 files sent, 0 commits"
    )


def test_a_push_is_one_round_s_snapshot(hub, tmp_path, proved):
    """The upload of round 1 is held until round 3 has been saved: it still carries round 1's weights and card."""
    held = hub.plant(Fault("PUT", "/lfs/", hold=threading.Event()))
    trainer = pushing_trainer(tmp_path)

    class Release(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if state.global_step == 3:
                held.hold.set()

    trainer.add_callback(Release())
    trainer.train()
    repo = hub.repo("user/run")
    assert messages(repo)[1:] == [f"Training in progress, step {step}" for step in (1, 3)]
    for commit, step in zip(repo.branches["main"][1:], (1, 3), strict=True):
        for folder in ("", "experts/math/", "experts/code/"):
            name = f"{folder}adapter_model.safetensors"
            assert commit.files[name] == (tmp_path / f"checkpoint-{step}" / name).read_bytes()
        assert "figures/summary.png" in commit.files and b"(figures/summary.png)" in commit.files["README.md"]
        assert "capability_matrix.json" not in commit.files and b"Capability matrix" not in commit.files["README.md"]
    first, last = repo.branches["main"][1:]
    assert "Training is under way**: these are the weights after round 1 of 3" in status(first.files)
    assert "the weights after the last of 3 rounds" in status(last.files)
    assert not list(tmp_path.glob("_*"))
    proved("an upload that takes as long as the training: its commit holds one round's weights and card; the last "
           "round, skipped meanwhile, is pushed at the end")  # fmt: skip


def test_private_branch_and_resuming_from_the_hub(hub, tmp_path, proved):
    options = {"hub_strategy": "checkpoint", "hub_private_repo": True, "hub_revision": "trial"}
    options["lr_scheduler_type"] = "constant"  # a run of two rounds is then the beginning of one of three
    whole = pushing_trainer(tmp_path / "whole", **options | {"push_to_hub": False, "save_strategy": "no"})
    whole.train()
    pushing_trainer(tmp_path / "there", **options, save_steps=2, max_steps=2).train()
    repo = hub.repo("user/run")
    assert repo.private and messages(repo) == ["initial commit"]  # `main` is left alone
    assert "last-checkpoint/optimizer.pt" in repo.files("trial")
    assert b'revision="trial"' in repo.files("trial")["README.md"]
    for token in (False, OTHER_TOKEN):
        with pytest.raises(HfHubHTTPError):
            snapshot_download("user/run", revision="trial", token=token, cache_dir=tmp_path / "nothing")
    folder = snapshot_download("user/run", revision="trial", allow_patterns="last-checkpoint/*")
    trainer = pushing_trainer(tmp_path / "here", **options)
    trainer.train(resume_from_checkpoint=f"{folder}/last-checkpoint")
    for name in ADAPTERS:
        assert distance(weights(trainer, name), weights(whole, name)) == 0
    assert_same_logits(trainer, revision="trial")
    proved("private repo, branch `trial`: closed to others, loaded with token and revision; resumed from the pushed "
           "`last-checkpoint` elsewhere: weights of the uninterrupted run, bit for bit")  # fmt: skip


@pytest.mark.slow
def test_all_checkpoints_and_end(hub, tmp_path):
    options = {"hub_strategy": "all_checkpoints", "hub_always_push": True, "save_total_limit": 1}
    trainer = pushing_trainer(tmp_path / "all", **options)
    trainer.train()
    there = {path.split("/")[0] for path in hub.repo("user/run").files()}
    assert {"checkpoint-1", "checkpoint-2", "checkpoint-3", "experts", "README.md"} <= there
    assert [path.name for path in (tmp_path / "all").glob("checkpoint-*")] == ["checkpoint-3"]
    end = pushing_trainer(tmp_path / "end", hub_strategy="end", hub_model_id="user/end")
    end.train()
    assert messages(hub.repo("user/end")) == ["initial commit"]
    end.save_model()
    assert messages(hub.repo("user/end"))[1:] == ["Model save"]
    assert "capability_matrix.json" in hub.repo("user/end").files()
    assert_same_logits(end, "user/end")


def test_without_push_to_hub_and_in_the_background(hub, tmp_path):
    trainer = pushing_trainer(tmp_path / "later", push_to_hub=False, hub_model_id=None)
    future = trainer.push_to_hub(blocking=False, revision="other", private=True, tags=["mine"], dataset_name="a/b")
    assert future.result().oid == hub.repo("user/later").commit("other").oid
    card = hub.repo("user/later").files("other")["README.md"].decode()
    assert "- mine\n" in card and "- a/b\n" in card and "The adapters are untrained." in card
    assert torch.equal(loaded_logits("user/later", revision="other"), logits(trainer, "student"))


def test_the_base_s_hub_id_travels_with_the_adapters(hub, tmp_path, proved):
    tiny_model().save_pretrained(tmp_path / "base")
    HfApi().create_repo("user/base")
    HfApi().upload_folder(repo_id="user/base", folder_path=tmp_path / "base")
    HfApi().create_branch("user/base", branch="v1")
    hub.repo("user/base").add("main", "broken since", {"config.json": hub.repo("user/base").files()["config.json"]})
    options = {"model_init_kwargs": {"revision": "v1"}, "max_steps": 1}
    trainer = pushing_trainer(tmp_path / "run", model="user/base", **options)
    trainer.train()
    files = hub.repo("user/run").files()
    assert b'AutoModelForCausalLM.from_pretrained("user/base", revision="v1")' in files["README.md"]
    assert b"base_model: user/base\n" in files["README.md"] and str(tmp_path).encode() not in files["README.md"]
    with torch.no_grad():
        model = AutoPeftModelForCausalLM.from_pretrained("user/run").eval()
        assert torch.equal(model(input_ids=PROMPT).logits, logits(trainer, "student"))
    proved("base given as a Hub id with a revision: both are in the card and in the adapters, AutoPeftModel finds it")


@pytest.mark.slow
def test_a_local_base_is_named_without_its_path(hub, tmp_path):
    tiny_model().save_pretrained(tmp_path / "my-base")
    trainer = pushing_trainer(tmp_path / "run", model=str(tmp_path / "my-base"), max_steps=1)
    trainer.train()
    card = hub.repo("user/run").files()["README.md"].decode()
    assert "a base model from a local folder, `my-base`" in card
    assert "base_model" not in card and str(tmp_path) not in card
