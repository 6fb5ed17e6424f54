"""What makes a round cheaper besides shared prompts: edges that take turns, cross rollouts that are cut short."""

import pytest
import torch
from tiny import build_trainer, replay_copd


def watched(tmp_path, **overrides):
    """A trainer, and the edges and probe rollouts of each of its measurements, filled in as it trains."""
    trainer = build_trainer(tmp_path, rlvr_steps=2, opd_steps=2, max_steps=4, overlap_every=1, **overrides)
    edges, sampled = {}, {}
    compare, sample = trainer.overlap.compare, trainer.overlap._sample

    def watch_compare(edge, rollouts):
        edges.setdefault(trainer.state.global_step, []).append(edge)
        return compare(edge, rollouts)

    def watch_sample(due):
        rollouts = sample(due)
        sampled[trainer.state.global_step] = sum(map(len, rollouts.values()))
        return rollouts

    trainer.overlap.compare, trainer.overlap._sample = watch_compare, watch_sample
    trainer.train()
    return trainer, edges, sampled


@pytest.mark.parametrize(("topology", "learners", "most"), [("mutual", 3, 2), ("student", 4, 3), ("hub", 3, 2)])
def test_a_measurement_compares_one_edge_of_every_learner_in_turn(tmp_path, topology, learners, most):
    hub = {"hub": "code"} if topology == "hub" else {}
    trainer, edges, sampled = watched(tmp_path, topology=topology, probe_prompts=2, overlap_edges="turns", **hub)
    assert list(edges) == [0, 1, 2, 3]
    assert all(len(due) == len({edge.learner for edge in due}) == learners for due in edges.values())
    assert all(count == 2 * learners for count in sampled.values())
    # after as many measurements as the busiest learner has teachers, each edge has been seen, and the first is again
    assert {edge for turn in range(most) for edge in edges[turn]} == set(trainer.topology.edges)
    assert [edge.label for edge in edges[0] if edge.learner == "math"] != [
        edge.label for edge in edges[1] if edge.learner == "math"
    ] or topology == "hub"  # where `math` has the hub alone
    logged = [{key for key in log if key.endswith("opd/overlap")} for log in trainer.state.log_history]
    for due, keys in zip(edges.values(), filter(None, logged), strict=True):
        assert keys == {f"{edge.label}/opd/overlap" for edge in due}


@pytest.mark.parametrize("overrides", [{"overlap_edges": "all"}, {"schedule": "overlap"}])
def test_all_edges_are_measured_if_asked_for_or_if_they_decide_the_phase(tmp_path, overrides):
    trainer, edges, _ = watched(tmp_path, topology="mutual", **overrides)
    assert all(set(due) == set(trainer.topology.edges) for due in edges.values())


@pytest.mark.parametrize("masked", [False, True])
def test_cross_rollouts_are_cut_short_once_they_are_graded_and_native_ones_are_not(tmp_path, masked):
    trainer = build_trainer(
        tmp_path, topology="mutual", rlvr_steps=1, opd_steps=1, max_steps=2, overlap_every=0, opd_fraction=0.5,
        opd_max_completion_length=2, mask_truncated_completions=masked, share_prompts=False,
    )  # fmt: skip
    replay_copd(trainer, shortest=4)
    batches, teach, graded = {}, trainer.teaching.teach, []

    def watch(learner, faults, batch, edges):
        teach(learner, faults, batch, edges)
        batches[learner] = batch
        graded.extend(trainer.branches[learner].taught.sampled)

    trainer.teaching.teach = watch
    trainer.train()
    assert len(graded) == 12 and all(
        len(ids) >= 4 and text == trainer.processing_class.decode(ids, skip_special_tokens=True)
        for text, ids in graded
    )
    assert set(batches) == set(trainer.branches)
    for name, batch in batches.items():
        assert batch["completion_mask"].sum(1).tolist() == [2] * 4  # cut by us: not masked as a row that ran on
        assert (batch["advantages"] != 0).any() and batch["advantages"].shape == (4, 2)
        (whole,) = trainer.branches[name]._buffered_inputs
        lengths = whole["completion_mask"].sum(1)
        assert lengths.max() > 2 and (lengths == 2).sum() == 4
    assert all(torch.isfinite(p).all() for branch in trainer.branches.values() for p in branch.parameters)
