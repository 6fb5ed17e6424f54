"""
A measurement depends on the weights alone: not on the mode that training, an evaluation or a resume has left the model
in. Bases with dropout of their own (GPT-2, OPT, `attention_dropout`) tell.
"""

import pytest
import torch
from tiny import CHARACTERS, build_experts, build_trainer, distance, history, lora, rows, tiny_model, weights
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM, TrainerCallback


TOKENS = {"vocab_size": 4 + len(CHARACTERS), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(**TOKENS, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3,
                        tie_word_embeddings=False)  # fmt: skip
    assert config.attn_pdrop == config.resid_pdrop == config.embd_pdrop == 0.1
    return GPT2LMHeadModel(config).float().eval()


def opt():
    torch.manual_seed(0)
    config = OPTConfig(**TOKENS, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
                       max_position_embeddings=64, word_embed_proj_dim=32, init_std=0.3, dropout=0.2)  # fmt: skip
    return OPTForCausalLM(config).float().eval()


BASES = {
    "gpt2": (gpt2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "opt": (opt, {}),
    "attention_dropout": (lambda: tiny_model(attention_dropout=0.2), {}),
    "lora_dropout": (tiny_model, {"lora_dropout": 0.3}),
}
# the phases follow what is measured: a measurement that differs moves weights
OVERLAP = {"schedule": "overlap", "overlap_low": 0.97, "overlap_high": 0.98, "overlap_every": 1, "rlvr_steps": 3,
           "opd_steps": 3, "max_steps": 6, "save_strategy": "steps", "save_steps": 1}  # fmt: skip


def build(folder, base, **overrides):
    make, config = BASES[base]
    return build_trainer(folder, model=make(), peft_config=lora(**config), **OVERLAP | overrides)


class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:  # the checkpoint of round 3 is the last
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "base", [pytest.param(b, marks=() if b in ("gpt2", "lora_dropout") else pytest.mark.slow) for b in BASES]
)
def test_a_resumed_run_measures_what_the_uninterrupted_one_did(tmp_path, base):
    whole = build(tmp_path / "whole", base)
    whole.train()
    killed = build(tmp_path / "killed", base)
    killed.add_callback(Kill())
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    torch.manual_seed(5)
    resumed = build(tmp_path / "killed", base)
    resumed.train(resume_from_checkpoint=True)
    assert history(resumed) == history(whole)
    assert resumed.schedule.state_dict() == whole.schedule.state_dict()
    assert any("opd/overlap" in key for log in history(whole) for key in log)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name


@pytest.mark.parametrize("base", BASES)
def test_overlap_and_matrix_are_the_same_in_whichever_mode_the_model_is(tmp_path, base):
    trainer = build(tmp_path, base, max_steps=1, save_strategy="no", experts=build_experts(2, eval_dataset=rows(5, 4)))
    trainer.train()
    model, measured = trainer.peft_model, []
    for training in (True, False):
        model.train(training)
        assert trainer.round.overlap.measure(5) and model.training is training
        matrix = trainer.capability_matrix()
        assert model.training is training
        measured.append(([log for log in history(trainer) if any("overlap" in key for key in log)][-1], matrix))
    assert measured[0] == measured[1]


def test_learner_and_teacher_share_a_forward(tmp_path):
    trainer = build_trainer(tmp_path, build_experts(2), topology="mutual", rlvr_steps=1, opd_steps=1, max_steps=2)
    trainer.train()
    assert any("opd/overlap" in key for log in history(trainer) for key in log)
    assert trainer.forwards.stackable and all(trainer.forwards.stackable.values())


@pytest.mark.parametrize("base", ["gpt2", "lora_dropout"])
def test_rounds_are_sampled_in_the_mode_that_grpo_samples_in(tmp_path, base):
    trainer = build(tmp_path, base, max_steps=2, save_strategy="no", overlap_every=1)
    modes, generate, probe = [], trainer.engine.generate, trainer.overlap._sample

    def generate_and_note(prompt_ids, names, greedy=False):
        modes.append((trainer.overlap._sample is probing, trainer.peft_model.training))
        return generate(prompt_ids, names, greedy)

    def probing(*args):
        trainer.overlap._sample = probing
        try:
            return probe(*args)
        finally:
            trainer.overlap._sample = noted

    def noted(*args):
        return probing(*args)

    trainer.engine.generate, trainer.overlap._sample = generate_and_note, noted
    trainer.train()
    assert set(modes) == {(False, True), (True, False)}  # rounds in training mode, probes never


def differing(folder, topology):
    """A trainer whose branches have parted."""
    trainer = build_trainer(folder, topology=topology, max_steps=1, probe_prompts=3)
    with torch.no_grad():
        for seed, branch in enumerate(trainer.branches.values()):
            torch.manual_seed(seed)
            for parameter in branch.parameters:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return trainer


@pytest.mark.parametrize("topology", ["mutual", "student"])
def test_learner_and_teacher_are_compared_in_one_forward(tmp_path, topology, caplog):
    trainer = differing(tmp_path, topology)
    (edge, *_) = trainer.overlap.edges
    rollouts = [([1, 5, 14, 6], [4, 7, 8]), ([1, 9, 14], [5]), ([1, 4, 14, 4, 4], [6, 2])]
    rows = []
    handle = (
        trainer.peft_model.get_base_model()
        .model.layers[0]
        .register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    )
    with caplog.at_level("WARNING"), torch.no_grad():
        together = trainer.overlap.compare(edge, rollouts)
    assert rows == [6] and not any("one after the other" in record.message for record in caplog.records)
    handle.remove()
    trainer.forwards.stackable[frozenset([edge.learner, edge.teacher])] = False
    with torch.no_grad():
        apart = trainer.overlap.compare(edge, rollouts)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-5)
    assert together[2] == 6 and together[1] > 1e-3 and together[0] < 6  # tokens; they differ


def test_an_empty_completion_is_measured_as_the_end_that_it_stands_for(tmp_path):
    trainer, measured = differing(tmp_path, "mutual"), []
    for empty in ([], [trainer.processing_class.eos_token_id]):
        trainer.engine.generate = lambda ids, names, greedy=False, empty=empty: ([list(empty) for _ in ids], None)
        assert all(0 <= overlap <= 1 for overlap in trainer.overlap.measure(0))
        measured.append(history(trainer)[-1])
    assert measured[0] == measured[1] and any(value > 0 for key, value in measured[0].items() if "kl" in key)
