"""
Bases with fused experts, whose weights are one parameter for all experts of a layer.

PEFT turns `all-linear`, and the names that their projections had before they were fused, into `target_parameters`
while it loads. Each fused expert then has a pair of factors of its own, in one tensor for all.
"""

import pytest
import torch
import transformers
from peft import PeftModel
from test_adapters import best_of_rank, dense
from tiny import CHARACTERS, build_experts, build_trainer, distance, lora, weights

from trl_copd import adapters


MUTUAL = {"topology": "mutual", "rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 0}
SIZES = {
    "vocab_size": 4 + len(CHARACTERS),
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "num_experts_per_tok": 2,
}
BY_HAND = {"target_modules": ["q_proj"], "target_parameters": ["experts.gate_up_proj", "experts.down_proj"]}
# class, sizes of its own, targets
FAMILIES = {
    "Mixtral": ({"num_local_experts": 4}, {}),
    "Qwen3Moe": ({"num_experts": 4, "moe_intermediate_size": 20, "head_dim": 6}, {}),
    "Olmoe": ({"num_experts": 4}, {}),
    # all-linear leaves their experts alone: named by hand. The parameters of GPT-OSS have features in before out
    "GptOss": ({"num_local_experts": 4, "head_dim": 6}, BY_HAND),
}


def base(family):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES | FAMILIES[family][0], tie_word_embeddings=False)
    return getattr(transformers, f"{family}ForCausalLM")(config).float().eval()


def build(folder, family, count=3, peft_config=None, **overrides):
    config = peft_config or lora(**FAMILIES[family][1])
    return build_trainer(folder, build_experts(count), model=base(family), peft_config=config, **MUTUAL | overrides)


def randomise(trainer, alike=False):
    """Weights far from zero, different in every expert unless they are to be alike."""
    for seed, name in enumerate(trainer.experts):
        torch.manual_seed(0 if alike else seed)
        for parameter in trainer.branches[name].parameters:
            parameter.data.normal_(std=0.3)


def logits(model, adapter):
    with torch.no_grad(), adapters.only(model, adapter):
        return model.eval()(input_ids=torch.tensor([[1, 5, 9, 12, 7]])).logits


def fused_layers(deltas):
    return [name for name, delta in deltas.items() if delta.dim() == 3]


@pytest.mark.parametrize("family", FAMILIES)
def test_average_is_the_dense_mean_of_every_fused_expert(tmp_path, family):
    trainer = build(tmp_path, family)
    model, names = trainer.peft_model, list(trainer.experts)
    randomise(trainer)
    deltas = [dense(model, name) for name in names]
    assert len(fused_layers(deltas[0])) == 4  # two parameters of two layers
    with adapters.merged_student(model, names, "average"):
        for layer, delta in dense(model, "student").items():
            mean = sum(d[layer] for d in deltas) / 3
            torch.testing.assert_close(delta, mean, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["svd", "ties", "dare"])
@pytest.mark.parametrize("family", ["Mixtral", "GptOss"])
def test_merges_at_rank_r_decompose_every_fused_expert(tmp_path, family, method):
    trainer = build(tmp_path, family)
    model, names = trainer.peft_model, list(trainer.experts)
    randomise(trainer)
    deltas = {k: torch.stack([dense(model, name)[k] for name in names]) for k in dense(model, "math")}
    with adapters.merged_student(model, names, method, density=1.0):
        merged, ranks = dense(model, "student"), model.peft_config["student"].rank_pattern
    for layer in fused_layers(merged):
        parts = deltas[layer]
        agree = parts.sign() == parts.sum(0).sign() if method == "ties" else torch.ones_like(parts)
        mean = (parts * agree).sum(0) / agree.sum(0)
        # PEFT gives two projections that are one parameter twice the rank
        rank = 8 if ranks and layer.endswith("base_layer") else 4
        for expert in range(4):
            torch.testing.assert_close(merged[layer][expert], best_of_rank(mean[expert], rank), atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_student_starts_from_the_mean(tmp_path, family):
    trainer = build(tmp_path, family, topology="student", student_init="merge")
    model, names = trainer.peft_model, list(trainer.experts)
    randomise(trainer)
    adapters.set_to_average(model, "student", names)
    deltas = [dense(model, name) for name in names]
    for layer, delta in dense(model, "student").items():
        torch.testing.assert_close(delta, sum(d[layer] for d in deltas) / 3, atol=1e-6, rtol=1e-5)
        assert delta.abs().max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["average", "svd"])
def test_trains_saves_and_loads_with_peft(tmp_path, family, method):
    trainer = build(tmp_path, family, count=2, merge_method=method, save_strategy="steps", save_steps=1)
    trainer.train()
    randomise(trainer)
    trainer.save_model()
    expected = {name: logits(trainer.peft_model, name) for name in trainer.experts}
    with trainer.weights.student():
        expected["student"] = logits(trainer.peft_model, "student")
    for name, folder in {"student": ".", "math": "experts/math", "code": "experts/code"}.items():
        loaded = PeftModel.from_pretrained(base(family), tmp_path / folder)
        torch.testing.assert_close(logits(loaded, "default"), expected[name], atol=1e-5, rtol=1e-4)
    assert (expected["math"] - expected["code"]).abs().max() > 1e-2


class Kill(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "settings", [{}, pytest.param({"topology": "student", "student_init": "merge"}, marks=pytest.mark.slow)]
)
def test_resumes_with_the_same_configuration_object(tmp_path, settings):
    config = lora()  # PEFT writes patterns of ranks into what it is given
    settings = {
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 4,
        "count": 2,
        "peft_config": config,
        **settings,
    }
    whole = build(tmp_path / "whole", "Mixtral", **settings)
    whole.train()
    killed = build(tmp_path / "killed", "Mixtral", **settings)
    killed.add_callback(Kill())
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = build(tmp_path / "killed", "Mixtral", **settings)
    resumed.train(resume_from_checkpoint=True)
    for name in whole.branches:
        assert distance(weights(whole, name), weights(resumed, name)) == 0.0, name
    assert config.rank_pattern == {} and config.target_modules == "all-linear"


@pytest.mark.parametrize("settings", [{"merge_method": "linear"}, {"topology": "student", "student_init": "merge"}])
def test_an_expert_starts_from_a_trained_adapter_of_the_same_kind(tmp_path, settings):
    first = build(tmp_path / "first", "Mixtral", count=1, opd_steps=0)
    randomise(first)
    first.save_model()
    experts = build_experts(2)
    experts[1].adapter = tmp_path / "first" / "experts" / "math"
    trainer = build_trainer(tmp_path / "run", experts, model=base("Mixtral"), peft_config=lora(), **MUTUAL | settings)
    assert distance(weights(first, "math"), weights(trainer, "code")) == 0.0
    trainer.train()
    trainer.save_model()


def test_an_engine_that_serves_linear_layers_alone_refuses_what_all_linear_has_become(tmp_path):
    trainer = build(tmp_path, "Mixtral", count=2)
    with pytest.raises(ValueError, match=r"cannot serve adapter .*mlp\.(gate|experts).*fused experts.*target_modules"):
        adapters.check_exportable(trainer.peft_model, "math")
    with pytest.raises(ValueError, match="cannot serve"):
        adapters.export_adapter(trainer.peft_model, "math", tmp_path / "out")
