"""Grouped forward, merging, saving: against one adapter at a time, dense algebra, and PEFT's own loading."""

import copy
import json
from collections import Counter

import pytest
import torch
from peft import AutoPeftModelForCausalLM, IA3Config, PeftModel, VBLoRAConfig, VeraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from tiny import build_experts, build_trainer, letter_reward, lora, rows, tiny_model, weights
from transformers import DynamicCache, LlamaForCausalLM
from transformers.cache_utils import DynamicLayer

from trl_copd import Expert, adapters
from trl_copd.adapters.groups import _GroupedForward
from trl_copd.config_checks import MERGE_METHODS
from trl_copd.engines.grouped import _can_share, interleaved_chunks


MUTUAL = {"topology": "mutual", "rlvr_steps": 1, "opd_steps": 1, "max_steps": 2, "overlap_every": 0}


def trained(tmp_path, **overrides):
    peft_config = overrides.pop("peft_config", lora())
    trainer = build_trainer(tmp_path, peft_config=peft_config, **{**MUTUAL, "max_steps": 4, **overrides})
    trainer.train()
    return trainer


@pytest.mark.parametrize("config", [lora(), lora(use_rslora=True, lora_alpha=3), lora(target_modules=["q_proj"])])
def test_grouped_forward_equals_one_adapter_at_a_time(tmp_path, config):
    trainer = trained(tmp_path, peft_config=config)
    model = trainer.peft_model.eval()
    ids = torch.randint(4, 20, (9, 7), generator=torch.Generator().manual_seed(0))
    names = ["math", "base", "code", "logic"]
    for counts in ([2, 3, 3, 1], [1, 6, 1, 1]):  # uneven groups are padded
        with torch.no_grad(), adapters.grouped(model, names, counts):
            together = model(input_ids=ids).logits
        start = 0
        for name, count in zip(names, counts, strict=True):
            with torch.no_grad(), adapters.only(model, name):
                alone = model(input_ids=ids[start : start + count]).logits
            torch.testing.assert_close(together[start : start + count], alone, atol=1e-5, rtol=1e-5)
            start += count
    even = ids[:8]
    with torch.no_grad(), adapters.grouped(model, names, [2] * 4):
        together = model(input_ids=even).logits
    with torch.no_grad(), adapters.only(model, "logic"):
        torch.testing.assert_close(together[6:], model(input_ids=even[6:]).logits, atol=1e-5, rtol=1e-5)
    assert all("forward" not in vars(module) for module in model.modules() if "lora" in type(module).__module__)


def test_factors_are_stacked_and_cast_once_for_all_forwards(tmp_path, monkeypatch):
    """A decode step of bfloat16 would otherwise cast every layer's factors again."""
    model = build_trainer(tmp_path, peft_config=lora(), **MUTUAL).peft_model.eval()
    stacked, stack = [], _GroupedForward._stack
    monkeypatch.setattr(_GroupedForward, "_stack", lambda self: (stacked.append(id(self.layer)), stack(self))[1])
    ids = torch.randint(4, 20, (4, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), adapters.grouped(model, ["math", "code"], [2, 2]):
        for _ in range(3):
            model(input_ids=ids)
    layers = [id(module) for module in model.modules() if isinstance(module, LoraLayer)]
    assert sorted(stacked) == sorted(layers)


def count_prefilled_rows(trainer) -> list[int]:
    """Rows of each prefill that reaches the layers, filled in as the model runs."""
    counts = []

    def count(module, args, kwargs, output):
        hidden = args[0] if args else kwargs["hidden_states"]
        if hidden.size(1) > 1:
            counts.append(hidden.size(0))

    trainer.peft_model.get_base_model().model.layers[0].register_forward_hook(count, with_kwargs=True)
    return counts


@pytest.mark.parametrize("training, rows", [(True, 8), (False, 2)])
def test_rows_that_dropout_tells_apart_do_not_share_their_prefill(tmp_path, training, rows):
    trainer = build_trainer(tmp_path, model=tiny_model(attention_dropout=0.1), **MUTUAL)
    trainer.model.train(training)
    prefilled = count_prefilled_rows(trainer)
    trainer.engine.generate([[1, 4, 5]] * 8, ["math"] * 4 + ["code"] * 4)
    assert prefilled == [rows]


def test_only_caches_that_copy_all_their_rows_are_shared():
    empty = {"past_key_values": DynamicCache(), "position_ids": torch.zeros(2, 3)}
    assert _can_share(empty)
    assert _can_share({**empty, "position_ids": torch.zeros(3, 2, 3)})  # three kinds of position before the rows
    assert not _can_share({**empty, "position_ids": torch.zeros(3)})
    assert not _can_share({**empty, "mm_encoder_outputs": {"video": object()}, "input_ids": torch.zeros(2, 3)})
    assert not _can_share({**empty, "past_key_values": None})

    class Hybrid(DynamicLayer):
        """Holds a state besides keys and values, as layers of linear attention do."""

    cache = DynamicCache()
    cache.layers.append(Hybrid())
    assert not _can_share({**empty, "past_key_values": cache})


def test_what_is_not_known_is_not_shared():
    known = {
        "past_key_values": DynamicCache(), "input_ids": torch.zeros(2, 3), "attention_mask": torch.ones(2, 3),
        "use_cache": True, "logits_to_keep": 1, "output_attentions": False, "labels": None,
    }  # fmt: skip
    assert _can_share(known)
    assert not _can_share({**known, "attention_mask": {"full_attention": torch.ones(2, 1, 3, 3)}})
    assert not _can_share({**known, "attention_mask": torch.ones(2, 1, 3, 3)})
    assert not _can_share({**known, "pixel_values": torch.ones(2, 3)})
    assert not _can_share({**known, "output_hidden_states": True})

    class OwnCache(DynamicCache):
        """Holds states of its own, as MiniMax's does."""

    assert not _can_share({**known, "past_key_values": OwnCache()})
    assert not _can_share({**known, "past_key_values": DynamicCache(offloading=True)})


# One generation_kwargs each: more rows than prompts, a second forward without keywords, other caches, no cache,
# a prefill in chunks, samplers that look at the whole sequence
GENERATION_KWARGS = [
    {"num_beams": 2},
    {"num_beams": 3, "do_sample": False},
    {"guidance_scale": 1.5},
    {"cache_implementation": "static"},
    {"use_cache": False},
    {"prefill_chunk_size": 2},
    {"no_repeat_ngram_size": 2, "typical_p": 0.9},
]


@pytest.mark.parametrize("given", GENERATION_KWARGS, ids=lambda given: ",".join(given))
def test_generation_kwargs_sample_what_one_branch_at_a_time_does(tmp_path, given):
    trainer = trained(tmp_path, generation_kwargs=given)
    prompts = [[1, 4 + i, 14, 5 + i] + [7] * (i % 3) for i in (0, 0, 1, 1, 1, 1, 2, 3, 3, 3)]
    names = ["math"] * 4 + ["code"] * 4 + ["logic"] * 2  # groups of two sizes
    together, _ = trainer.engine.generate(prompts, names, greedy=True)
    trainer.forwards.stackable[frozenset(names)] = False  # the fallback, which shares nothing
    apart, _ = trainer.engine.generate(prompts, names, greedy=True)
    assert together == apart
    assert len({tuple(row) for row in together}) > 2


@pytest.mark.parametrize("most", [None, 1, 7, 100, 152, 640])
def test_chunks_hold_an_even_part_of_every_adapter(most):
    """Cut off the front, 640 rows in chunks of 152 would be padded to 1.7 times as many in a chunk of 128 and 24."""
    names = [name for name in "abcde" for _ in range(128)]
    prompts = [[row // 8] for row in range(640)]  # like rows also where one adapter's end and the next one's begin
    chunks = interleaved_chunks(prompts, names, most)
    assert sorted(row for chunk in chunks for row in chunk) == list(range(640))
    assert max(map(len, chunks)) <= (most or 640) and len(chunks) == -(-640 // (most or 640))
    assert all(chunk == sorted(chunk) for chunk in chunks), "rows of one adapter are consecutive"
    padded = sum(len(counts := Counter(names[row] for row in chunk)) * max(counts.values()) for chunk in chunks)
    assert padded <= 640 * (1.35 if most != 7 else 2)
    split = sum(len({row // 8 for row in chunk}) for chunk in chunks) - 80
    assert split <= len(chunks) or most in (1, 7), "few prompts are prefilled in two chunks"
    assert interleaved_chunks([], [], most) == []


@pytest.mark.parametrize(
    "overrides", [{}, {"gradient_checkpointing": True}, {"bf16": True}, {"rollout_chunk_rows": 5}]
)
def test_greedy_tokens_of_one_generate_equal_one_branch_at_a_time(tmp_path, overrides):
    trainer = trained(tmp_path, **overrides)
    # like rows in a group, also across two branches, which must not share their prefill
    prompts = [[1, 4 + i, 14, 5 + i] + [7] * (i % 3) for i in (0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4)]
    names = [name for name in ("math", "code", "logic") for _ in range(4)]
    prefilled = count_prefilled_rows(trainer)
    together, _ = trainer.engine.generate(prompts, names, greedy=True)
    if "rollout_chunk_rows" not in overrides:
        assert prefilled == [7]  # of 12 rows: prompts 0, 1 | 1, 2, 3 | 3, 4
    trainer.forwards.stackable[frozenset(names)] = False  # the fallback
    apart, _ = trainer.engine.generate(prompts, names, greedy=True)
    assert together == apart
    assert len({tuple(row) for row in together}) > 1
    assert trainer.generation_config.do_sample  # greedy decoding was undone


def test_adapters_of_different_ranks_are_stacked(tmp_path, caplog):
    other = build_trainer(tmp_path / "other", build_experts(1), peft_config=lora(r=8), **MUTUAL | {"opd_steps": 0})
    other.train()
    adapters.save_adapter(other.peft_model, "math", tmp_path / "trained")
    experts = build_experts(2)
    experts[1] = Expert("code", rows(1, 20), letter_reward, adapter=tmp_path / "trained")
    with caplog.at_level("WARNING"):
        trainer = trained(tmp_path / "run", experts=experts, overlap_every=1)  # measuring stacks them too
    assert not any("one after the other" in record.message for record in caplog.records)
    prompts, names = [[1, 4, 14, 5], [1, 6, 14, 7]] * 3, ["math"] * 2 + ["code"] * 2 + ["base"] * 2
    together, _ = trainer.engine.generate(prompts, names, greedy=True)
    trainer.forwards.stackable[frozenset(["math", "code"])] = False
    assert together == trainer.engine.generate(prompts, names, greedy=True)[0]
    assert len({tuple(row) for row in together}) > 2


def test_adapters_with_shared_projections_are_saved_whole(tmp_path):
    config = VeraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    trainer = build_trainer(tmp_path, build_experts(2), peft_config=config)
    for parameter in trainer.branches["math"].parameters:
        parameter.data.add_(0.3)
    trainer.save_model()
    loaded = PeftModel.from_pretrained(tiny_model(), tmp_path, subfolder="experts/math").eval()
    ids = torch.arange(4, 12)[None]
    with torch.no_grad(), adapters.only(trainer.peft_model.eval(), "math"):
        assert torch.equal(trainer.model(ids).logits, loaded(ids).logits)
        assert not torch.equal(loaded(ids).logits, tiny_model()(ids).logits)


def test_weights_that_layers_share_are_clipped_once():
    config = VBLoRAConfig(r=4, num_vectors=8, vector_length=16, topk=2, target_modules=["q_proj", "v_proj"])
    parameters = adapters.branch_parameters(get_peft_model(tiny_model(), config), "default")
    assert len({id(parameter) for parameter in parameters}) == len(parameters) == 1 + 2 * 4  # the bank, and logits
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    size = sum(parameter.numel() for parameter in parameters)
    assert torch.nn.utils.clip_grad_norm_(parameters, 1.0).item() == pytest.approx(size**0.5)
    assert all(torch.allclose(p.grad, torch.tensor(size**-0.5)) for p in parameters)


def test_adapters_without_a_task_are_found_by_the_class_of_their_base(tmp_path):
    tiny_model().save_pretrained(tmp_path / "base")
    base = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    model = get_peft_model(base, lora(task_type=None, init_lora_weights=False)).eval()
    adapters.save_adapter(model, "default", tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    ours, theirs = (json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("ours", "theirs"))
    assert ours["auto_mapping"] == theirs["auto_mapping"] is not None
    loaded, ids = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "ours"), torch.arange(4, 12)[None]
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_a_target_that_fits_no_layer_is_told(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        build_trainer(tmp_path, build_experts(2), peft_config=lora(target_modules=["q_proj", "v_prj"]))
    assert "`target_modules` names ['v_prj'], which fit no adapted layer" in caplog.text
    assert "q_proj'" not in caplog.text


def test_a_pattern_that_fits_no_layer_is_told(tmp_path, caplog):
    config = lora(r=4, rank_pattern={"q_proj": 2, "q_prj": 8}, alpha_pattern={r"layers\.\d+\.self_attn\.v_proj": 3})
    with caplog.at_level("WARNING"):
        trainer = build_trainer(tmp_path, build_experts(2), peft_config=config)
    assert "`rank_pattern` names ['q_prj'], which fit no adapted layer" in caplog.text
    assert "alpha_pattern" not in caplog.text and {2} == {
        module.r["math"] for name, module in trainer.model.named_modules() if name.endswith("q_proj")
    }


FALLBACKS = {
    "DoRA": ("student", lora(use_dora=True)),
    "IA3Layer|Linear": ("student", IA3Config(target_modules=["k_proj", "down_proj"],
                                             feedforward_modules=["down_proj"], task_type="CAUSAL_LM")),
}  # fmt: skip


@pytest.mark.parametrize("reason", FALLBACKS)
def test_unstackable_adapters_fall_back_with_one_warning(tmp_path, reason, caplog):
    topology, config = FALLBACKS[reason]
    trainer = build_trainer(tmp_path / "run", build_experts(2), peft_config=config, topology=topology, max_steps=3,
                            rlvr_steps=1, opd_steps=1, overlap_every=1)  # fmt: skip
    before = {name: [p.detach().clone() for p in trainer.branches[name].parameters] for name in trainer.branches}
    with caplog.at_level("WARNING"):
        trainer.train()
    warnings = [record.message for record in caplog.records if "one after the other" in record.message]
    assert len(warnings) == 1
    assert any(word in warnings[0] for word in reason.split("|"))
    for name, branch in trainer.branches.items():
        assert any((old != new).any() for old, new in zip(before[name], branch.parameters, strict=True)), name


@pytest.mark.parametrize("config", [lora(use_dora=True), lora(lora_bias=True)])
def test_the_base_beside_one_adapter_that_cannot_be_stacked(tmp_path, config, caplog):
    trainer = build_trainer(tmp_path, build_experts(2), peft_config=config, topology="student", max_steps=1,
                            overlap_every=0)  # fmt: skip
    with torch.no_grad():
        for number, parameter in enumerate(trainer.branches["math"].parameters):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    prompts = [[1, 4, 14, 5], [1, 6, 14, 7]]
    for names in (["base", "base", "math", "math"], ["math", "math", "base", "base"]):
        with caplog.at_level("WARNING"):
            together, _ = trainer.engine.generate(prompts * 2, names, greedy=True)
        apart = [trainer.engine.generate(prompts, [name] * 2, greedy=True)[0] for name in (names[0], names[-1])]
        assert together == apart[0] + apart[1] and apart[0] != apart[1]
    assert len([record for record in caplog.records if "one after the other" in record.message]) == 1
    assert trainer.forwards.can_stack(["math"]) and trainer.forwards.can_stack(["base"])
    assert not trainer.forwards.can_stack(["math", "math"])  # one policy beside itself


def dense(model, adapter):
    return {
        name: module.get_delta_weight(adapter)
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight") and adapter in module.lora_A
    }


@pytest.mark.parametrize("config", [lora(), lora(use_rslora=True, lora_alpha=16), lora(alpha_pattern={"q_proj": 32})])
def test_average_is_the_exact_mean_of_the_deltas(tmp_path, config):
    trainer = trained(tmp_path, peft_config=config)
    model, names = trainer.peft_model, list(trainer.experts)
    before = {name: weights(trainer, name) for name in names}
    active, random_state = model.active_adapters, torch.random.get_rng_state()
    deltas = [dense(model, name) for name in names]
    with adapters.merged_student(model, names, "average"):
        merged = dense(model, "student")
        assert model.peft_config["student"].r == 3 * 4
    for layer, delta in merged.items():
        mean = sum(d[layer] for d in deltas) / 3
        torch.testing.assert_close(delta, mean, atol=1e-6, rtol=1e-5)
        assert delta.abs().max() > 1e-4
    assert "student" not in model.peft_config and model.active_adapters == active
    assert torch.equal(random_state, torch.random.get_rng_state())
    for name in names:
        assert all(torch.equal(before[name][key], value) for key, value in weights(trainer, name).items())


def test_linear_merge_differs_by_cross_terms(tmp_path):
    trainer = trained(tmp_path)
    model, names = trainer.peft_model, list(trainer.experts)
    mean = {k: sum(dense(model, name)[k] for name in names) / 3 for k in dense(model, "math")}
    with adapters.merged_student(model, names, "linear"):
        linear = dense(model, "student")
        assert model.peft_config["student"].r == 4
    assert max((linear[k] - mean[k]).abs().max() for k in mean) > 1e-5


def best_of_rank(delta, rank):
    u, values, v = torch.linalg.svd(delta, full_matrices=False)
    return u[:, :rank] * values[:rank] @ v[:rank]


@pytest.mark.parametrize("config", [lora(), lora(use_rslora=True)])
@pytest.mark.parametrize("method", ["svd", "ties", "dare"])
def test_merges_at_rank_r_against_the_dense_deltas(tmp_path, config, method):
    trainer = trained(tmp_path, peft_config=config)
    model, names = trainer.peft_model, list(trainer.experts)
    deltas = {k: torch.stack([dense(model, name)[k] for name in names]) for k in dense(model, "math")}
    random_state = torch.random.get_rng_state()
    with adapters.merged_student(model, names, method, density=1.0):
        merged = dense(model, "student")
        assert model.peft_config["student"].r == 4
    assert torch.equal(random_state, torch.random.get_rng_state())
    for layer, parts in deltas.items():
        if method == "ties":  # nothing is pruned: the mean of those whose sign is that of the sum
            agree = parts.sign() == parts.sum(0).sign()
            mean = (parts * agree).sum(0) / agree.sum(0).clamp(min=1)
        else:
            mean = parts.mean(0)
        torch.testing.assert_close(merged[layer], best_of_rank(mean, 4), atol=2e-6, rtol=1e-4)
        assert merged[layer].abs().max() > 1e-4


def test_dare_draws_the_same_each_time(tmp_path):
    trainer = trained(tmp_path)
    merges = []
    for density in (0.5, 0.5, 1.0):
        with adapters.merged_student(trainer.peft_model, list(trainer.experts), "dare", density):
            merges.append(dense(trainer.peft_model, "student"))
    first, second, whole = merges
    assert all(torch.equal(first[layer], second[layer]) for layer in first)
    assert any((first[layer] - whole[layer]).abs().max() > 1e-4 for layer in first)


@pytest.mark.parametrize("config", [lora(), lora(use_rslora=True)])
def test_linear_merge_of_one_adapter_is_that_adapter(tmp_path, config):
    trainer = trained(tmp_path, peft_config=config)
    model = trainer.peft_model
    alone = dense(model, "math")
    with adapters.merged_student(model, ["math"], "linear"):
        for layer, delta in dense(model, "student").items():
            torch.testing.assert_close(delta, alone[layer], atol=1e-6, rtol=1e-5)


# Two factors that carry the square root of a weight, once each, carry the weight: with K experts, 1 / K on each factor
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("method", MERGE_METHODS)
@pytest.mark.parametrize("config", [lora(), lora(use_rslora=True, lora_alpha=3), lora(rank_pattern={"q_proj": 2})])
def test_alike_experts_merge_to_themselves(tmp_path, config, method, count):
    names = [f"e{index}" for index in range(count)]
    experts = [Expert(name, rows(), letter_reward) for name in names]
    trainer = build_trainer(tmp_path, experts, peft_config=config, **MUTUAL | ({"opd_steps": 0} if count == 1 else {}))
    model = trainer.peft_model
    for name in names:
        torch.manual_seed(0)
        for parameter in trainer.branches[name].parameters:
            parameter.data.normal_(std=0.3)
    alone = dense(model, names[0])
    with adapters.merged_student(model, names, method, density=1.0):
        assert model.peft_config["student"].r == 4 * (count if method == "average" else 1)
        for layer, delta in dense(model, "student").items():
            torch.testing.assert_close(delta, alone[layer], atol=1e-5, rtol=1e-4)
            assert delta.abs().max() > 0.1


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_a_merge_is_saved_so_that_peft_loads_it_whatever_the_ranks(tmp_path, method):
    config = lora(rank_pattern={"q_proj": 6}, target_modules=["q_proj", "down_proj", "embed_tokens"])
    trainer = trained(tmp_path, peft_config=config, merge_method=method)
    trainer.save_model()
    ids = torch.tensor([[1, 5, 9, 12, 7]])
    with torch.no_grad(), trainer.weights.student(), adapters.only(trainer.peft_model, "student"):
        expected = trainer.peft_model.eval()(input_ids=ids).logits
    loaded = PeftModel.from_pretrained(tiny_model(), tmp_path).eval()
    torch.testing.assert_close(loaded(input_ids=ids).logits, expected, atol=1e-6, rtol=1e-5)


def test_experts_on_other_layers_or_named_otherwise_are_averaged_and_saved(tmp_path):
    for name, targets in {"listed": ["q_proj", "v_proj"], "pattern": ".*layers\\.0.*v_proj"}.items():
        first = build_trainer(tmp_path / name, build_experts(1), peft_config=lora(target_modules=targets, r=2),
                              **MUTUAL | {"opd_steps": 0})  # fmt: skip
        first.train()
        adapters.save_adapter(first.peft_model, "math", tmp_path / "trained" / name)
    experts = build_experts(3)
    experts[1].adapter, experts[2].adapter = (tmp_path / "trained" / name for name in ("listed", "pattern"))
    trainer = build_trainer(tmp_path / "run", experts, **MUTUAL)
    trainer.train()
    model, names = trainer.peft_model, list(trainer.experts)
    deltas = [dense(model, name) for name in names]
    assert len({len(delta) for delta in deltas}) == 3
    for method in ("average", "svd", "dare"):
        with adapters.merged_student(model, names, method, density=1.0):
            merged = dense(model, "student")
        assert merged.keys() == deltas[0].keys()
        for layer, delta in merged.items():
            mean = sum(d[layer] for d in deltas if layer in d) / 3
            expected = mean if method == "average" else best_of_rank(mean, 4)
            torch.testing.assert_close(delta, expected, atol=2e-6, rtol=1e-4)
    trainer.save_model()
    with torch.no_grad(), trainer.weights.student(), adapters.only(model, "student"):
        expected = model.eval()(input_ids=torch.tensor([[1, 5, 9]])).logits
    loaded = PeftModel.from_pretrained(tiny_model(), tmp_path / "run").eval()
    torch.testing.assert_close(loaded(input_ids=torch.tensor([[1, 5, 9]])).logits, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_adapters_in_half_precision_are_merged(tmp_path, method):
    trainer = trained(tmp_path)  # as TRL makes them on a base in 4 or 8 bits
    model, names = trainer.peft_model, list(trainer.experts)
    for name in names:
        for parameter in trainer.branches[name].parameters:
            parameter.data = parameter.data.bfloat16()
    with adapters.merged_student(model, names, method, density=1.0):
        assert {p.dtype for p in adapters.branch_parameters(model, "student")} == {torch.bfloat16}


@pytest.mark.parametrize("topology", ["student", "mutual"])
def test_saved_student_and_experts_load_with_peft(tmp_path, topology):
    trainer = trained(tmp_path, topology=topology)
    trainer.save_model()
    ids = torch.tensor([[1, 5, 9, 12, 7]])
    with torch.no_grad(), trainer.weights.student():
        for name, folder in {"student": ".", "math": "experts/math", "logic": "experts/logic"}.items():
            with adapters.only(trainer.peft_model, name):
                expected = trainer.peft_model.eval()(input_ids=ids).logits
            loaded = PeftModel.from_pretrained(copy.deepcopy(tiny_model()), tmp_path / folder).eval()
            torch.testing.assert_close(loaded(input_ids=ids).logits, expected, atol=1e-6, rtol=1e-5)


def test_names_that_are_parts_of_module_paths_are_saved_whole(tmp_path):
    names = ["layers", "mlp", "weight", "lora_A"]
    experts = [Expert(name, rows(i, 20), letter_reward) for i, name in enumerate(names)]
    trainer = build_trainer(tmp_path, experts, **MUTUAL)
    trainer.train()
    trainer.save_model()
    ids = torch.tensor([[1, 5, 9, 12, 7]])
    for name in names:
        with torch.no_grad(), adapters.only(trainer.peft_model, name):
            expected = trainer.peft_model.eval()(input_ids=ids).logits
        loaded = PeftModel.from_pretrained(tiny_model(), tmp_path / "experts" / name).eval()
        torch.testing.assert_close(loaded(input_ids=ids).logits, expected, atol=1e-6, rtol=1e-5)
        before = [p.detach().clone() for p in trainer.branches[name].parameters]
        for parameter in trainer.branches[name].parameters:
            parameter.data.zero_()
        adapters.load_adapter(trainer.peft_model, name, tmp_path / "experts" / name)
        assert all(torch.equal(a, b) for a, b in zip(before, trainer.branches[name].parameters, strict=True))


def test_layers_that_multiply_otherwise_are_an_obstacle(tmp_path):
    trainer = build_trainer(tmp_path, peft_config=lora(target_modules=["q_proj", "embed_tokens"]), **MUTUAL)
    assert "Embedding" in adapters.stacking_obstacle(trainer.peft_model, list(trainer.experts))


def test_all_adapters_start_as_copies_and_names_may_clash_with_modules(tmp_path):
    experts = [Expert(name, rows(), letter_reward) for name in ("weight", "lora_A", "layers")]
    trainer = build_trainer(
        tmp_path, experts, topology="student", overlap_every=0, max_steps=2, rlvr_steps=1, opd_steps=1
    )
    first = trainer.branches["weight"].parameters
    for branch in trainer.branches.values():
        assert all(torch.equal(a, b) for a, b in zip(first, branch.parameters, strict=True))
    owners = [id(p) for branch in trainer.branches.values() for p in branch.parameters]
    assert len(owners) == len(set(owners)) == sum("lora_" in n for n, _ in trainer.model.named_parameters())
    assert set(trainer.model.peft_config) == {"weight", "lora_A", "layers", "student"}
    trainer.train()
