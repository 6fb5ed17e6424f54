"""The cost model against what models and trainers really hold, hand-computed numbers, and its own advice."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import trl.trainer.utils
import yaml
from peft import get_peft_model
from stand_ins import tiny_base
from tiny import build_trainer, lora, tiny_model
from transformers import MixtralConfig
from trl.kernels import chunked_logprob
from trl.trainer.utils import add_fused_lm_head

from trl_copd import CoPDConfig
from trl_copd.measure import overlap
from trl_copd.plan import DEVICES, Run, calibrated, count_model, fits, memory, peak, seconds, space, traffic
from trl_copd.plan.__main__ import advice, main
from trl_copd.plan.durations import rollout_seconds
from trl_copd.plan.options import MAKES, build_run, check, parse
from trl_copd.plan.space import activation_bytes, base_bytes, kv_bytes
from trl_copd.plan.writing import changed_fields, write_recipe
from trl_copd.recipes import find_recipe
from trl_copd.recipes.build import BUILTIN_BASES


CPU = DEVICES["cpu"]
RUN = Run(
    3,
    "mutual",
    rows=8,
    generations=4,
    prompt_length=6,
    completion_length=6,
    value_bytes=4,
    checkpointing=False,
    opd_fraction=0.5,
)


def saved(tmp_path, **overrides):
    model = tiny_model(**overrides)
    model.config.save_pretrained(tmp_path)
    return model, count_model(str(tmp_path), rank=4)


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_the_built_model(tmp_path, tied):
    model, size = saved(tmp_path, tie_word_embeddings=tied)
    assert size.parameters == sum(p.numel() for p in model.parameters())
    head = model.lm_head.weight.numel()
    assert size.active == size.parameters - (head if tied else 2 * head)
    adapted = get_peft_model(model, lora())
    assert size.adapter == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_a_token_passes_two_of_eight_experts(tmp_path):
    config = MixtralConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                           num_key_value_heads=1, vocab_size=50, num_local_experts=8,
                           num_experts_per_tok=2)  # fmt: skip
    config.save_pretrained(tmp_path)
    size = count_model(str(tmp_path))
    attention, router, norms, expert = 2 * 16 * 16 + 2 * 16 * 8, 16 * 8, 3 * 16, 3 * 16 * 32
    assert size.parameters == 2 * 50 * 16 + attention + router + norms + 8 * expert
    assert size.active == attention + router + norms + 2 * expert
    assert size.mlp == 64


@pytest.mark.parametrize("value_bytes", [4, 2])
def test_activations_are_what_autograd_keeps(tmp_path, value_bytes):
    model, size = saved(tmp_path, hidden_size=128, intermediate_size=256, num_hidden_layers=4)
    dtype = torch.float32 if value_bytes == 4 else torch.bfloat16
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    model = get_peft_model(model.to(dtype), lora())
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held on to, so that no address is used twice
        return tensor

    ids = torch.randint(4, 20, (8, 48))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=value_bytes == 2):
            model(input_ids=ids, labels=ids, fused_lm_head=True)
    run = replace(RUN, prompt_length=24, completion_length=24, value_bytes=value_bytes)
    assert sum(map(len, kept.values())) == pytest.approx(activation_bytes(size, run), rel=0.1)


def test_cache_adapters_moments_and_cross_rows_are_the_trainers(tmp_path):
    model, size = saved(tmp_path)
    with torch.no_grad():
        cache = model(input_ids=torch.ones(1, 12, dtype=torch.long), use_cache=True).past_key_values
    held = sum(x.numel() * x.element_size() for layer in cache.layers for x in (layer.keys, layer.values))
    assert kv_bytes(size, RUN, 12) == held
    for topology in ("mutual", "student"):
        run = replace(RUN, topology=topology, rlvr_steps=1, opd_steps=1)
        trainer = build_trainer(tmp_path / topology, topology=topology, rlvr_steps=1, opd_steps=1, max_steps=2)
        trainer.train()
        assert len(trainer.branches) == run.branches and len(trainer.round.live) == run.most_live()
        assert sum(len(branch.rows.cross) for branch in trainer.round.live) == run.cross_rows()
        resident = memory(size, run, CPU)["resident"]
        parameters = [p for branch in trainer.branches.values() for p in branch.parameters]
        assert resident["adapters"] == sum(p.numel() * p.element_size() for p in parameters)
        moments = [m for state in trainer.optimizer.state.values() for m in state.values() if m.dim()]
        assert resident["optimizer moments"] == sum(m.numel() * m.element_size() for m in moments)


def test_memory_and_traffic_by_hand(tmp_path):
    _, size = saved(tmp_path)
    two = replace(RUN, processes=2)
    assert traffic(size, two)["gradients"] == 3 * 4 * size.adapter  # a ring of two sends everything once
    assert traffic(size, RUN) == {"gradients": 0, "shards": 0}
    # half of everything else: 1 generate, 2 scorings and a forward and a backward of each branch, and the gradients
    weights = 4 * (size.parameters + 3 * size.adapter)
    assert traffic(size, two)["shards"] == ((1 + 2 * 3 + 2 * 3) * weights + 3 * 4 * size.adapter) / 2
    sharded = memory(size, replace(two, sharded=True), CPU)
    assert sharded["resident"]["base"] + sharded["resident"]["adapters"] == weights / 2
    assert sharded["rollouts"]["gathered weights"] == weights / 2
    one, eight = (memory(size, replace(RUN, experts=k, opd_steps=0), CPU) for k in (1, 8))
    grown = peak(eight)[0] - peak(one)[0]
    assert peak(eight)[1] == peak(one)[1] == "update"
    assert grown == 7 * 4 * size.adapter * 4  # weights, gradient, two moments
    quantised = base_bytes(size, replace(RUN, quantize=4, weight_bytes=2))
    assert quantised == size.linear * 0.5625 + (size.parameters - size.linear) * 2
    chunked = memory(size, replace(RUN, chunk_rows=8), CPU)
    assert chunked["rollouts"]["KV cache"] * 3 == memory(size, RUN, CPU)["rollouts"]["KV cache"]


def test_tiles_and_budgets_are_those_of_the_code_that_is_modelled():
    assert space.HEAD_TILE == (chunked_logprob.TOKEN_CHUNK_SIZE, trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE)
    assert space.LOGITS_BUDGET == overlap.LOGITS_BUDGET


def test_calibration_finds_the_rates_that_made_the_times(tmp_path):
    _, size = saved(tmp_path, hidden_size=256, intermediate_size=512, num_hidden_layers=4)
    true = replace(CPU, bandwidth=3e9, flops=5e10, thin_flops=2e10)
    run = replace(RUN, experts=1, opd_steps=0, prompt_length=256)
    times = {rows: rollout_seconds(size, run, true, rows, 1, rows) for rows in (8, 32)}
    found = calibrated(size, run, CPU, seconds(size, run, true)["update"], times, process=1e9)
    assert found.flops == pytest.approx(true.flops, rel=0.05)  # the optimizer's reads count as part of the products
    assert found.bandwidth == pytest.approx(true.bandwidth, rel=0.05)
    assert found.thin_flops == pytest.approx(true.thin_flops, rel=0.05)
    assert seconds(size, replace(RUN, experts=8), found)["rollouts"] < 8 * times[8]


def test_advice_fits_and_names_what_it_changes(tmp_path, capsys):
    _, size = saved(tmp_path, hidden_size=512, intermediate_size=2048, num_hidden_layers=8, vocab_size=32000)
    run = Run(8, "mutual", rows=64, prompt_length=512, completion_length=1024, checkpointing=False)
    for gib in (16, 8, 6):
        device = replace(DEVICES["h100"], memory=gib * 2**30)
        assert not fits(size, run, device)
        text, changed = advice(size, run, device)
        assert fits(size, changed, device)
        assert (f"rollout_chunk_rows={changed.chunk_rows}" in text) == (changed.chunk_rows is not None)
        assert ("gradient_checkpointing" in text) == changed.checkpointing
    assert advice(size, run, replace(device, memory=2**20))[1] is None


def test_command_prints_and_exits_with_whether_it_fits(tmp_path, capsys):
    saved(tmp_path)
    arguments = ["--model", str(tmp_path), "--experts", "4", "--gpus", "8", "--rows", "64"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for text in ("5 branches", "KV cache", "gradients, reduced once", "not measured", "It fits."):
        assert text in printed
    assert main([*arguments, "--memory", "0.5"]) == 1
    assert "It does not fit" in capsys.readouterr().out


def test_a_recipe_gives_the_settings_and_the_command_line_wins():
    recipe = Path(__file__).parent.parent / "recipes" / "qwen3_0.6b_gpu.yaml"
    run = build_run(parse(["--config", str(recipe), "--rows", "16"]))
    assert (run.experts, run.rows, run.chunk_rows, run.completion_length) == (2, 16, 256, 512)
    assert parse(["--config", str(recipe)])["rank"] == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "no/such-model"], "No model configuration found"),
        ([], "There is no model"),
        (["--model", "x", "--experts", "0"], "must be >= 1"),
        (["--model", "x", "--rows", "6"], "not a multiple of 8"),
        (["--config", "missing.yaml"], "no recipe at"),
    ],
)
def test_bad_input_is_named_before_anything_is_counted(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def written(tmp_path, **fields):
    """Path of a recipe with the tiny model in its folder."""
    saved(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"model_name_or_path": str(tmp_path), "num_generations": 4} | fields))
    return str(path)


def run_of(tmp_path, **fields):
    options = parse(["--config", written(tmp_path, **fields)])
    check(options)
    return build_run(options)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 32),
        ({"gradient_accumulation_steps": 2}, 64),
        ({"steps_per_generation": 4, "num_iterations": 2}, 128),
        ({"generation_batch_size": 64}, 64),
        ({"per_device_train_batch_size": 8, "generation_batch_size": 8, "gradient_accumulation_steps": 3}, 8),
        ({"per_device_train_batch_size": "2", "steps_per_generation": 2}, 4),
    ],
)
def test_rows_that_are_sampled_at_once_are_those_of_trl(tmp_path, fields, rows):
    """The independent value is what `CoPDConfig` makes of the same recipe."""
    run = run_of(tmp_path, topology="mutual", opd_steps=0, **fields)
    whole = {name: int(value) for name, value in fields.items()}
    args = CoPDConfig(str(tmp_path), topology="mutual", opd_steps=0, num_generations=4, use_cpu=True, bf16=False,
                      **whole)  # fmt: skip
    assert run.generation_rows == args.generation_batch_size == rows
    assert run.rollout_rows() == 3 * rows
    reuse = args.num_iterations * args.steps_per_generation / args.gradient_accumulation_steps
    assert run.generations_per_round == pytest.approx(1 / reuse)
    assert run.scores_again == (
        args.gradient_accumulation_steps % (args.num_iterations * args.steps_per_generation) > 0
    )


def test_a_generation_for_several_rounds_takes_its_memory_and_a_share_of_its_time(tmp_path):
    _, size = saved(tmp_path)
    device = DEVICES["h100"]
    once, four = replace(RUN, opd_steps=0), replace(RUN, opd_steps=0, steps_per_generation=4)
    accumulated = replace(RUN, opd_steps=0, accumulation=4)
    for name in ("KV cache", "prefill", "scores of the next token"):
        held = [memory(size, run, device)["rollouts"][name] for run in (once, four, accumulated)]
        assert held[1] == held[2] == 4 * held[0]
    assert seconds(size, four, device)["update"] == seconds(size, once, device)["update"]
    assert seconds(size, four, device)["rollouts"] < seconds(size, once, device)["rollouts"]
    halved = replace(four, rows=4, accumulation=2, steps_per_generation=8)
    assert halved.rollout_rows() == four.rollout_rows()


def test_cross_rows_of_a_generation_for_two_rounds_are_the_trainers(tmp_path):
    phases = {"topology": "mutual", "rlvr_steps": 2, "opd_steps": 2}
    trainer = build_trainer(tmp_path, **phases, steps_per_generation=2, max_steps=3)
    trainer.train()
    run = replace(RUN, **phases, steps_per_generation=2)
    assert sum(len(branch.rows.cross) for branch in trainer.round.live) == run.cross_rows() > 0
    assert sum(len(b.rows.native + b.rows.cross) for b in trainer.round.live) == run.rollout_rows()


def test_a_merged_student_has_the_rank_of_all_experts(tmp_path):
    _, size = saved(tmp_path)
    fields = {"topology": "student", "student_init": "merge", "rlvr_steps": 1, "opd_steps": 1}
    run = replace(RUN, topology="student", merging=True, rlvr_steps=1, opd_steps=1)
    trainer = build_trainer(tmp_path / "run", **fields)
    held = sum(p.numel() * p.element_size() for b in trainer.branches.values() for p in b.parameters)
    resident = memory(size, run, CPU)["resident"]
    assert resident["adapters"] == held == 6 * 4 * size.adapter
    assert resident["optimizer moments"] == 2 * held
    assert run_of(tmp_path, **fields).adapters == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [("use_vllm", True), ("opd_loss", "jsd"), ("use_dora", True), ("optim", "adafactor"), ("schedule", "overlap"),
     ("per_device_eval_batch_size", 64)],
)  # fmt: skip
def test_what_of_a_recipe_is_not_counted_is_said(tmp_path, field, value, capsys):
    assert main(["--config", written(tmp_path, use_cpu=True, **{field: value})]) == 0
    printed = capsys.readouterr().out
    assert f"\nnot counted: {field}={value!r}: " in printed
    assert printed.endswith("It fits, without what is not counted.\n")


def test_baselines_fsdp_and_target_modules_of_a_recipe(tmp_path):
    experts = run_of(tmp_path, method="experts", rlvr_steps=0)
    assert (experts.topology, experts.rlvr_steps, experts.opd_steps, experts.branches) == ("mutual", 1, 0, 3)
    assert run_of(tmp_path, method="mixed").branches == 1
    assert run_of(tmp_path, fsdp="full_shard").sharded
    adapters = {}
    for name, targets in {
        "peft": None,
        "list": ["all-linear"],
        "text": "all-linear",
        "two": ["q_proj", "v_proj"],
    }.items():
        options = parse(["--config", written(tmp_path, lora_target_modules=targets)])
        adapters[name] = count_model(str(tmp_path), 4, options["target_modules"]).adapter
    assert adapters["peft"] == adapters["two"] < adapters["list"] == adapters["text"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topology": "foo"}, "topology='foo' is unknown"),
        ({"rlvr_steps": 0, "opd_steps": 0}, "no round to train in"),
        ({"per_device_train_batch_size": "eight"}, "per_device_train_batch_size must be >= 1"),
        ({"per_device_train_batch_size": 8.5}, "got 8.5"),
        ({"max_completion_length": [8]}, "got [8]"),
        ({"rollout_chunk_rows": 0}, "rollout_chunk_rows must be >= 1"),
        ({"opd_fraction": "half"}, "half"),
        ({"gradient_checkpointing": "no"}, "must be true or false"),
        ({"domains": 3}, "`domains` must be a list"),
        ({"method": "magic"}, "method='magic' is unknown"),
        ({"generation_batch_size": 12, "per_device_train_batch_size": 8}, "must be a multiple of rows * gpus = 8"),
        ({"generation_batch_size": 8, "per_device_train_batch_size": 8, "steps_per_generation": 1}, "Set one of them"),
        ({"student_init": "merge", "topology": "mutual"}, "whose student is not a branch"),
    ],
)
def test_a_bad_recipe_exits_with_2(tmp_path, fields, message, capsys):
    assert main(["--config", written(tmp_path, **fields)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--memory", "-3"], ["--memory", "0"], ["--memory", "nan"], ["--rollout-chunk-rows", "-5"]]
)
def test_no_memory_and_no_rows_fit_nothing(tmp_path, arguments, capsys):
    assert main(["--config", written(tmp_path), *arguments]) == 2
    assert arguments[0].strip("-").replace("-", "_") in capsys.readouterr().err


def test_a_file_that_is_no_yaml_exits_with_2(tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text("domains: [")
    assert main(["--config", str(path)]) == 2
    assert "is not a YAML file" in capsys.readouterr().err


def test_a_base_that_is_built_by_the_first_run(tmp_path, capsys):
    bases = tmp_path / "bases"
    recipe = written(tmp_path, builtin_base="demo", base_dir=str(bases))
    assert main(["--config", recipe]) == 2
    assert "built by the first run" in (error := capsys.readouterr().err) and "make demo" in error
    assert parse(["--config", recipe, "--model", "other"])["model"] == "other"
    target = bases / "demo-sort-case-seed3"  # as recipes/build.py names it for other skills
    saved(target)
    assert parse(["--config", recipe])["model"] == str(target)


QWEN3_4B = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 2560, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 9728,
    "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip


def test_four_experts_of_4b_on_80_gb(tmp_path, capsys):
    """As configured it does not fit, and the advice says with what it does: smaller chunks and micro-batches."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(QWEN3_4B))
    run = ["--model", str(path), "--experts", "4", "--device", "a100", "--rank", "32"]
    run += ["--prompt-length", "256", "--completion-length", "2048"]
    assert main([*run, "--rows", "128"]) == 1
    said = capsys.readouterr().out
    assert "KV cache: 208.12, the peak" in said and "+ update                                       97.39 GiB" in said
    assert "It fits with rollout_chunk_rows=" in said and "gradient_accumulation_steps=" in said
    assert main([*run, "--rows", "16", "--accumulation", "8", "--rollout-chunk-rows", "128"]) == 0
    peak = float(capsys.readouterr().out.split("  peak")[1].split()[0])
    assert 50 < peak < 60


@pytest.mark.parametrize(("device", "gigabytes"), [("rtx4090", 24), ("l40s", 48), ("a100", 80)])
def test_recipes_for_a_memory_are_what_the_plan_writes(tmp_path, capsys, monkeypatch, device, gigabytes):
    """Of one recipe, which fits 141 GB; as the header of each says."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_4B))
    recipes, name = Path(__file__).parent.parent / "recipes", f"qwen3_4b_{gigabytes}gb.yaml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    shutil.copy(recipes / "qwen3_4b_gpu.yaml", "recipes")
    counted = partial(count_model, str(tmp_path / "config.json"))  # there is no Hub to ask
    monkeypatch.setattr("trl_copd.plan.__main__.count_model", lambda model, *sizes: counted(*sizes))
    arguments = ["--config", "recipes/qwen3_4b_gpu.yaml", "--device"]
    assert main([*arguments, "h200", "--prompt-length", "512"]) == 0
    assert main([*arguments, device, "--prompt-length", "512"]) == 1
    assert main([*arguments, device, "--prompt-length", "512", "--write", f"recipes/{name}"]) == 0
    written_ = (tmp_path / "recipes" / name).read_text()
    assert written_ == (recipes / name).read_text(), f"write recipes/{name} anew, see its header"
    capsys.readouterr()
    assert main(["--config", str(recipes / name), "--device", device, "--prompt-length", "512"]) == 0
    peak = float(capsys.readouterr().out.split("  peak")[1].split()[0])
    assert f"a peak of {peak:.0f} GiB by the plan" in (recipes / name).read_text()
    before, after = (yaml.safe_load((recipes / path).read_text()) for path in ("qwen3_4b_gpu.yaml", name))
    changed = {field for field in after if before.get(field) != after[field]}
    assert changed <= {"per_device_train_batch_size", "gradient_accumulation_steps", "rollout_chunk_rows"}
    rows = [r["per_device_train_batch_size"] * r["gradient_accumulation_steps"] for r in (before, after)]
    assert rows[0] == rows[1], "the same round"


def test_writing_needs_a_recipe_and_keeps_one_name_for_a_thing(tmp_path, capsys):
    assert main(["--model", str(tmp_path), "--write", str(tmp_path / "new.yaml")]) == 2
    assert "Name the recipe with --config" in capsys.readouterr().err
    path = tmp_path / "recipe.yaml"
    path.write_text("a: 1  # why\ngeneration_batch_size: 64\nper_device_train_batch_size: 8")
    fields = changed_fields(RUN, replace(RUN, rows=2, steps_per_generation=4, checkpointing=True, quantize=4))
    write_recipe(path, tmp_path / "new.yaml", fields, "a100", 2**30, 9, ["--write", "new.yaml"])
    written_ = (tmp_path / "new.yaml").read_text().split("#\n")[1]
    assert written_ == (
        "a: 1  # why\ngeneration_batch_size: 64\nper_device_train_batch_size: 2\ngradient_checkpointing: true\n"
        "load_in_4bit: true\n"
    )


def test_what_the_command_line_says_is_written(tmp_path, capsys):
    """Options that a recipe has fields for, and the command itself; not what it says already."""
    domain = {"name": "up", "builtin": "demo/up"}
    path, target = tmp_path / "r.yaml", tmp_path / "new recipe.yaml"
    fields = {"model_name_or_path": str(tiny_base()), "domains": [domain], "per_device_train_batch_size": 16,
              "max_completion_length": 64, "num_generations": 8}  # fmt: skip
    path.write_text(yaml.safe_dump(fields))
    argv = ["--config", str(path), "--rows", "8", "--completion-length", "100", "--generations", "8", "--rank", "4",
            "--no-gradient-checkpointing", "--precision", "fp32", "--quantize", "8bit", "--dtype", "bf16"]  # fmt: skip
    assert main([*argv[:2], f"--write={target}", *argv[2:], "--gpus", "2"]) == 0, capsys.readouterr()
    text = target.read_text()
    assert yaml.safe_load(text) == fields | {
        "per_device_train_batch_size": 8, "max_completion_length": 100, "lora_r": 4, "gradient_checkpointing": False,
        "bf16": False, "fp16": False, "dtype": "bfloat16", "load_in_4bit": False, "load_in_8bit": True,
    }  # fmt: skip
    header = text.split("\n#\n")[0]
    assert "r.yaml for 2 h100" in header and "prompts of" in header
    assert f"# trl-copd plan {' '.join(argv)} --gpus 2 \\\n#     --write '{target}'" in header
    assert main([*argv, "--experts", "3", "--write", str(target)]) == 2
    assert "which has 1 domains, not --experts 3" in capsys.readouterr().err


def test_a_built_in_recipe_is_written_by_its_name(tmp_path, capsys):
    argv = ["--config", "demo", "--model", str(tiny_base()), "--prompt-length", "9", "--rows", "64"]
    assert main([*argv, "--write", str(tmp_path / "new.yaml")]) == 0, capsys.readouterr()
    found, demo = (yaml.safe_load(path.read_text()) for path in (tmp_path / "new.yaml", find_recipe("demo")))
    assert found == demo | {"per_device_train_batch_size": 64}, "the model stood for the base that the recipe builds"


def test_targets_that_the_plan_advises_are_there():
    targets = (Path(__file__).parent.parent / "Makefile").read_text()
    assert set(MAKES) == set(BUILTIN_BASES) and all(f"\n{name}: " in targets for name in MAKES.values())


def test_the_prompts_of_a_recipe_are_counted(tmp_path, capsys):
    rows = [{"prompt": "1" * (5 + i % 7), "solution": "a"} for i in range(40)]  # the tokenizer has a token a character
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    domain = {"name": "ones", "dataset": str(tmp_path / "rows.jsonl"), "chat": False, "n_eval": 4}
    recipe = tmp_path / "recipe.yaml"
    fields = {"model_name_or_path": str(tiny_base()), "domains": [domain], "topology": "mutual", "use_cpu": True}
    recipe.write_text(yaml.safe_dump(fields))
    main(["--config", str(recipe)])
    assert "prompts of 11 tokens (the longest of 36 prompts of the recipe)" in capsys.readouterr().out
    main(["--config", str(recipe), "--prompt-length", "99"])
    assert "prompts of 99 tokens (given)" in capsys.readouterr().out
    fields["domains"] = [domain | {"dataset": str(tmp_path / "gone.jsonl")}]
    recipe.write_text(yaml.safe_dump(fields))
    main(["--config", str(recipe)])
    shown = capsys.readouterr().out
    assert "prompts of 256 tokens (assumed)" in shown and "not counted: the recipe's prompts could not be" in shown
