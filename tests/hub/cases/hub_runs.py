"""Runs that push, and what the repo should then give."""

import torch
from peft import PeftModel
from tiny import build_experts, build_trainer, rows, tiny_model


CYCLE = {"rlvr_steps": 2, "opd_steps": 1, "max_steps": 3, "overlap_every": 1}
SAVING = {"save_strategy": "steps", "save_steps": 1}
PUSHING = {"push_to_hub": True, "hub_model_id": "user/run"} | SAVING | CYCLE
PROMPT = torch.tensor([[5, 15, 6, 17]])
ADAPTERS = {"student": {}, "math": {"subfolder": "experts/math"}, "code": {"subfolder": "experts/code"}}


def experts():
    built = build_experts(2)
    for index, expert in enumerate(built):
        expert.eval_dataset = rows(40 + index, 4)
    return built


def pushing_trainer(folder, model=None, **overrides):
    return build_trainer(folder, experts(), model, **{"topology": "student", **PUSHING, **overrides})


def logits(trainer, adapter):
    with torch.no_grad(), trainer.weights.student():
        model = trainer.peft_model.eval()
        model.set_adapter(adapter)
        return model(input_ids=PROMPT).logits


def loaded_logits(repo, **kwargs):
    with torch.no_grad():
        return PeftModel.from_pretrained(tiny_model(), repo, **kwargs).eval()(input_ids=PROMPT).logits


def assert_same_logits(trainer, repo="user/run", **kwargs):
    """Student and experts, loaded as the model card says, are the trainer's."""
    found = {name: loaded_logits(repo, **where, **kwargs) for name, where in ADAPTERS.items()}
    for name, there in found.items():
        assert torch.equal(there, logits(trainer, name)), name
    assert not torch.equal(found["math"], found["code"])


def messages(repo, branch="main"):
    return [commit.message for commit in repo.branches[branch]]


def status(files):
    """What a card says of how far the run is."""
    return files["README.md"].decode().split("## Use")[0]
