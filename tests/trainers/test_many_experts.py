"""Eight experts on one base in one run: all train, the student too, and the run resumes from its checkpoint."""

import json

import pytest
import torch
from tiny import build_trainer, distance, letter_reward, rows, weights

from trl_copd import Expert


NAMES = [f"e{i}" for i in range(8)]
SETTINGS = {"rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 2, "probe_prompts": 1,
            "overlap_edges": "all", "save_strategy": "steps", "save_steps": 1}  # fmt: skip


def build(folder, topology):
    experts = [Expert(name, rows(i, 20), letter_reward, eval_dataset=rows(40 + i, 2)) for i, name in enumerate(NAMES)]
    return build_trainer(folder, experts, topology=topology, **SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize(("topology", "edges"), [("mutual", 8 * 7), ("student", 8 + 8 * 7)])
def test_eight_experts_train_measure_and_resume(tmp_path, topology, edges):
    trainer = build(tmp_path / "run", topology)
    before = {name: weights(trainer, name) for name in trainer.branches}
    base = {name: p.clone() for name, p in trainer.model.named_parameters() if "lora_" not in name}
    trainer.train()
    trained = {name: weights(trainer, name) for name in trainer.branches}
    assert all(distance(before[name], trained[name]) > 0 for name in trainer.branches)
    assert len({tuple(torch.cat([w.flatten() for w in own.values()]).tolist()) for own in trained.values()}) == len(
        trainer.branches
    )
    assert all(torch.equal(base[name], p) for name, p in trainer.model.named_parameters() if "lora_" not in name)
    assert trainer.forwards.can_stack(list(trainer.branches))

    log = {key for entry in trainer.state.log_history for key in entry}
    assert len({key for key in log if key.endswith("opd/overlap")}) == edges == len(trainer.topology.edges)
    matrix = json.loads((tmp_path / "run" / "capability_matrix.json").read_text())
    assert list(matrix) == ["base", *NAMES, "student"] and all(list(row) == NAMES for row in matrix.values())

    resumed = build(tmp_path / "run", topology)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    assert all(distance(trained[name], weights(resumed, name)) == 0 for name in trainer.branches)
