"""CoPD's own parts on parameters that `fully_shard` has sharded over two processes, each against itself unsharded."""

import sys
import traceback
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]
import conftest  # noqa: E402, F401
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from peft import PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tiny import lora, tiny_model  # noqa: E402
from torch.distributed.checkpoint.state_dict import (  # noqa: E402
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402

from trl_copd import adapters, sharding  # noqa: E402
from trl_copd.topology import STUDENT  # noqa: E402


BRANCHES = ["math", "code", "logic"]
IDS = torch.randint(4, 30, (6, 8), generator=torch.Generator().manual_seed(3))


def build(**settings) -> PeftModel:
    """Three branches with different weights, the same in every process."""
    model = get_peft_model(tiny_model(), lora(**settings))
    adapters.create_branches(model, BRANCHES, {})
    generator = torch.Generator().manual_seed(1)
    for name in BRANCHES:
        for parameter in adapters.branch_parameters(model, name):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def shard(model: PeftModel) -> PeftModel:
    """In the units that accelerate chooses: blocks, embedding, norm with head, the rest."""
    base = model.get_base_model()
    for block in base.model.layers:
        fully_shard(block)
    fully_shard(base.model.embed_tokens)
    fully_shard([base.model.norm, base.lm_head], reshard_after_forward=False)
    return fully_shard(model)


def mine(ids: torch.Tensor) -> torch.Tensor:
    return ids.chunk(2)[dist.get_rank()]


def is_sharded(model: PeftModel) -> bool:
    return all(isinstance(parameter, DTensor) for parameter in model.parameters())


def step(model: PeftModel, name: str, ids: torch.Tensor) -> None:
    adapters.activate(model, name)
    model(input_ids=ids, labels=ids).loss.backward()


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(sharding.full(a.detach()), b.detach(), atol=1e-6, rtol=0)


def grouped_forward(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    rows = [1, 3, 2] if dist.get_rank() else [2, 2, 2]
    with torch.no_grad():
        with adapters.grouped(plain, BRANCHES, rows):
            expected = plain(input_ids=IDS).logits
        with adapters.grouped(sharded, BRANCHES, rows):
            assert torch.allclose(sharded(input_ids=IDS).logits, expected, atol=1e-6)
    assert not any("forward" in vars(module) for module in sharded.modules()), "stacked factors were kept"


def unequal_forwards(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    with torch.no_grad(), sharding.gathered(sharded):
        for _ in range(1 + 2 * dist.get_rank()):  # without the gather, the second process would wait for the first
            with sharding.gathered(sharded), adapters.only(sharded, "code"):
                logits = sharded(input_ids=IDS).logits
    with torch.no_grad(), adapters.only(plain, "code"):
        assert torch.allclose(logits, plain(input_ids=IDS).logits, atol=1e-6)
    assert is_sharded(sharded)


def gradients(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    for name in ("math", "logic"):  # one branch after the other; `code` is idle
        step(plain, name, IDS)
        step(sharded, name, mine(IDS))
    assert is_sharded(sharded)
    for name in BRANCHES:
        pairs = zip(adapters.branch_parameters(plain, name), adapters.branch_parameters(sharded, name), strict=True)
        for expected, parameter in pairs:
            if name == "code":
                assert expected.grad is None and parameter.grad is None
            else:  # the mean over processes, once
                assert isinstance(parameter.grad, DTensor) and close(parameter.grad, expected.grad)


def accumulated_gradients(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    for ids, last in ((IDS, False), (IDS.flip(1), True)):
        sharded.set_requires_gradient_sync(last)  # accelerate's `no_sync`
        for name in ("math", "logic"):
            step(plain, name, ids)
            step(sharded, name, mine(ids))
    gradients_equal = [
        close(parameter.grad, expected.grad)
        for name in ("math", "logic")
        for expected, parameter in zip(
            adapters.branch_parameters(plain, name), adapters.branch_parameters(sharded, name), strict=True
        )
    ]
    assert all(gradients_equal) and all(p.grad is None for p in adapters.branch_parameters(sharded, "code"))


def clipping(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    step(plain, "math", IDS)
    step(sharded, "math", mine(IDS))
    expected, parameters = adapters.branch_parameters(plain, "math"), adapters.branch_parameters(sharded, "math")
    norm = sharding.full(torch.nn.utils.clip_grad_norm_(parameters, 0.01))
    assert torch.allclose(norm, torch.nn.utils.clip_grad_norm_(expected, 0.01), atol=1e-6) and norm > 0.01
    assert all(close(p.grad, e.grad) for p, e in zip(parameters, expected, strict=True))


def moments(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    optimizers = []
    for model, ids in ((plain, IDS), (sharded, mine(IDS))):
        adapters.set_trainable(model, BRANCHES)
        every = [p for name in BRANCHES for p in adapters.branch_parameters(model, name)]
        optimizers.append(torch.optim.AdamW(every, lr=1e-3, weight_decay=0.1))
        step(model, "math", ids)
        optimizers[-1].step()
        model.zero_grad()
        step(model, "code", ids)
        optimizers[-1].step()
    expected, state = optimizers[0].state_dict()["state"], sharding.full_optimizer_state(optimizers[1])["state"]
    assert state.keys() == expected.keys() and len(state) == 2 * len(adapters.branch_parameters(plain, "math"))
    for index, values in state.items():
        # a second moment of the size of rounding has no digits: Adam's weights are compared in the runs with SGD
        assert all(torch.allclose(values[key], expected[index][key], atol=1e-6) for key in values)
    idle = zip(adapters.branch_parameters(plain, "logic"), adapters.branch_parameters(sharded, "logic"), strict=True)
    assert all(sharding.full(p.detach()).equal(e) for e, p in idle)
    fresh = torch.optim.AdamW([p for group in optimizers[1].param_groups for p in group["params"]], lr=1e-3)
    sharding.load_optimizer_state(fresh, sharding.full_optimizer_state(optimizers[1]))
    again = sharding.full_optimizer_state(fresh)["state"]
    assert again.keys() == state.keys() and all(again[i][k].equal(state[i][k]) for i in state for k in state[i])


def merging(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    for method in ("average", "linear"):
        with adapters.merged_student(plain, BRANCHES, method), adapters.merged_student(sharded, BRANCHES, method):
            expected = adapters.adapter_weights(plain, STUDENT)
            merged = adapters.adapter_weights(sharded, STUDENT)
            assert merged.keys() == expected.keys() and all(merged[key].equal(expected[key]) for key in merged)
            with torch.no_grad(), adapters.only(plain, STUDENT), adapters.only(sharded, STUDENT):
                assert torch.allclose(sharded(input_ids=IDS).logits, plain(input_ids=IDS).logits, atol=1e-6)
        sharding.reshard(sharded)
        assert is_sharded(sharded)


def saving(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    own = folder / f"saved-{dist.get_rank()}"  # every process writes here, to compare; a run writes once
    adapters.save_adapter(plain, "code", own / "plain")
    adapters.save_adapter(sharded, "code", own / "sharded")
    saved = load_file(own / "sharded" / "adapter_model.safetensors")
    expected = load_file(own / "plain" / "adapter_model.safetensors")
    assert saved.keys() == expected.keys() and all(saved[key].equal(expected[key]) for key in saved)
    for parameter in adapters.branch_parameters(sharded, "code"):
        parameter.data.zero_()
    adapters.load_adapter(sharded, "code", own / "sharded")
    pairs = zip(adapters.branch_parameters(plain, "code"), adapters.branch_parameters(sharded, "code"), strict=True)
    assert all(isinstance(p, DTensor) and sharding.full(p.detach()).equal(e) for e, p in pairs)
    assert PeftModel.from_pretrained(tiny_model(), own / "sharded").active_adapters == ["default"]


def saving_whole_modules(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    saving(build(modules_to_save=["embed_tokens"]), shard(build(modules_to_save=["embed_tokens"])), folder / "whole")


def torchs_optimizer_state(plain: PeftModel, sharded: PeftModel, folder: Path) -> None:
    """Why `moments` are saved otherwise: what accelerate calls for FSDP2 forgets the branches that are not active."""
    every = [p for name in BRANCHES for p in adapters.branch_parameters(sharded, name)]
    adapters.set_trainable(sharded, BRANCHES)
    optimizer, fresh = torch.optim.AdamW(every, lr=1e-3), torch.optim.AdamW(every, lr=1e-3)
    for name in ("math", "code"):
        step(sharded, name, mine(IDS))
        optimizer.step()
        sharded.zero_grad()
    adapters.activate(sharded, "code")
    set_optimizer_state_dict(sharded, fresh, get_optimizer_state_dict(sharded, optimizer))
    assert len(optimizer.state_dict()["state"]) == 2 * len(fresh.state_dict()["state"])


CHECKS = [
    grouped_forward, unequal_forwards, gradients, accumulated_gradients, clipping, moments, merging, saving,
    saving_whole_modules, torchs_optimizer_state,
]  # fmt: skip


def run(folder: Path) -> dict[str, str | None]:
    """Run every check on fresh models; the traceback of each that failed."""
    outcome: dict[str, str | None] = {}
    for check in CHECKS:
        try:
            check(build(), shard(build()), folder)
            outcome[check.__name__] = None
        except Exception:
            outcome[check.__name__] = traceback.format_exc()
    everyone: list = [None, None]
    dist.all_gather_object(everyone, outcome)
    return {name: everyone[0][name] or everyone[1][name] for name in outcome}
