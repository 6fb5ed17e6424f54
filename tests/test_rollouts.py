"""Engines that load adapters beside the base: who holds which weights, and a server that comes and goes."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from fake_vllm import FakeVLLM
from peft import IA3Config, PeftModel
from safetensors.torch import load
from tiny import build_experts, build_trainer, letter_reward, lora, rows, tiny_model, tiny_tokenizer, weights
from transformers import BitsAndBytesConfig

from trl_copd import Expert, adapters
from trl_copd import train as recipe
from trl_copd.engines import EngineUnavailable, StaleAdapterError, vllm_checks, vllm_server
from trl_copd.engines.vllm_options import lora_rank
from trl_copd.run import checkpoints
from trl_copd.topology import build_topology


CYCLE = {"rlvr_steps": 2, "opd_steps": 2, "overlap_every": 2, "topology": "student"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def server(base, monkeypatch):
    monkeypatch.setattr(vllm_server, "RETRY_SECONDS", 0.02)
    fake = FakeVLLM(base)
    yield fake
    fake.close()


def served(server, output_dir, experts=None, timeout=5.0, **overrides):
    """A trainer that samples from the server, with adapters that are random from the start: their rollouts differ."""
    overrides = {"peft_config": lora(init_lora_weights=False), "seed": 3, **CYCLE, **overrides}
    return build_trainer(
        output_dir, experts or build_experts(2), server.base, use_vllm=True, vllm_mode="server",
        vllm_server_base_url=server.url, vllm_server_timeout=timeout, **overrides,
    )  # fmt: skip


# ---- Versions ---------------------------------------------------------------------------------------------------


def test_only_adapters_that_changed_travel_and_each_version_has_a_name_of_its_own(server, tmp_path):
    trainer = served(server, tmp_path)
    assert [name.rpartition("-")[0].rpartition("-")[2] for name in server.loaded] == ["math", "code", "student"]
    names = ["math", "code", "student", "base"]
    trainer.engine.sync(names)
    before, sent = dict(server.adapters), trainer.engine.bytes_sent
    trainer.engine.sync(names)
    assert dict(server.adapters) == before and trainer.engine.bytes_sent == sent

    with torch.no_grad():
        trainer.branches["code"].parameters[0][0, 0] += 1e-6  # the last bits of one number
    trainer.engine.sync(names)
    gone, new = set(before) - set(server.adapters), set(server.adapters) - set(before)
    assert len(gone) == len(new) == 1 and "code" in new.pop()
    assert trainer.engine.bytes_sent == sent + sum(p.nbytes for p in trainer.branches["code"].parameters)
    assert len(list(tmp_path.glob("_rollout_adapters-*/*"))) == 4  # the file of the version that is gone went with it


def test_what_a_killed_run_has_left_is_removed(server, tmp_path):
    left = tmp_path / "_rollout_adapters-killed" / "math-1"
    left.mkdir(parents=True)
    trainer = served(server, tmp_path)
    assert list(tmp_path.glob("_rollout_adapters-*")) == [trainer.engine.folder]


def test_a_stale_adapter_is_an_error(server, tmp_path, monkeypatch):
    trainer = served(server, tmp_path)
    with torch.no_grad():
        trainer.branches["code"].parameters[0].add_(0.1)
    trainer.engine.generate([[1, 4]], ["math"])
    with pytest.raises(StaleAdapterError, match="'code'.*trained since.*engine.sync"):
        trainer.engine.generate([[1, 4], [1, 4]], ["math", "code"])
    with pytest.raises(StaleAdapterError, match="'base'.*does not hold it"):
        trainer.engine.generate([[1, 4]], ["base"])
    trainer.engine.sync(["code"])
    monkeypatch.setattr(trainer.engine, "sync", lambda names: None)  # a trainer that forgets to sync
    with pytest.raises(StaleAdapterError, match="trained since"):
        trainer.train()
    assert trainer.state.global_step == 1


def test_each_row_is_sampled_from_its_branch_as_it_is_in_that_round(server, tmp_path):
    trainer = served(server, tmp_path, max_steps=4)
    sampled, stale = set(), []

    def compare(body, file):
        name, factors = body["model"].split("-")[1], load(file)
        sampled.add((name, trainer.state.global_step))
        for path, module in trainer.peft_model.named_modules():
            if f"{path}.lora_A.weight" in factors:
                now = module.lora_B[name].weight * module.scaling[name]
                if not torch.equal(factors.pop(f"{path}.lora_B.weight"), now):
                    stale.append((name, trainer.state.global_step))
        assert not any("lora_B" in key for key in factors)

    server.before_answer = compare
    trainer.train()
    assert not stale
    assert sampled >= {(name, step) for name in ("math", "code") for step in range(4)}
    assert {("student", 2), ("student", 3)} <= sampled


EXPORTS = {
    "plain": {},
    "rsLoRA": {"use_rslora": True, "lora_alpha": 6},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 3}},
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_an_exported_adapter_computes_what_the_trained_one_does(tmp_path, kind):
    trainer = build_trainer(
        tmp_path, build_experts(2), topology="mutual", peft_config=lora(init_lora_weights=False, **EXPORTS[kind])
    )
    adapters.export_adapter(trainer.peft_model, "code", tmp_path / "code")
    adapters.export_adapter(trainer.peft_model, "code", tmp_path / "base", null=True)
    ids = torch.tensor([[1, 5, 9, 7]])
    for name in ("code", "base"):
        with adapters.only(trainer.peft_model, name), torch.no_grad():
            expected = trainer.peft_model.eval()(ids).logits
        exported = PeftModel.from_pretrained(tiny_model(), tmp_path / name).eval()
        assert set(exported.peft_config["default"].target_modules) == {
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}  # fmt: skip
        torch.testing.assert_close(exported(ids).logits, expected, atol=1e-5, rtol=1e-5)


def test_what_is_no_lora_factor_is_not_exported(tmp_path):
    trainer = build_trainer(tmp_path, build_experts(2), peft_config=lora(use_dora=True))
    with pytest.raises(ValueError, match="other than LoRA factors.*use_vllm=False"):
        adapters.export_adapter(trainer.peft_model, "math", tmp_path / "out")


# ---- A server that comes and goes -------------------------------------------------------------------------------


def test_a_server_that_is_away_and_forgets_changes_nothing(server, tmp_path):
    undisturbed = served(server, tmp_path / "a", max_steps=4)
    undisturbed.train()

    trainer = served(server, tmp_path / "b", max_steps=4)
    calls = []

    def disturb(body, file):
        calls.append(body)
        if len(calls) in (9, 30):
            server.restart()
            server.down = True
            threading.Timer(0.3, lambda: setattr(server, "down", False)).start()

    server.before_answer = disturb
    trainer.train()
    assert len(calls) > 30
    for name in trainer.branches:
        torch.testing.assert_close(weights(trainer, name), weights(undisturbed, name), atol=0, rtol=0)


@pytest.mark.parametrize("round_", [1, 3])  # in RLVR, and in OPD after the edges were measured
def test_a_server_that_stays_away_ends_the_run_and_nothing_is_lost(server, tmp_path, round_):
    whole = served(server, tmp_path / "whole", max_steps=5)
    whole.train()

    trainer = served(server, tmp_path / "run", max_steps=5, timeout=0.1, save_strategy="no")
    engine_generate = trainer.engine.generate

    def generate(*args, **kwargs):
        server.down = trainer.state.global_step == round_
        return engine_generate(*args, **kwargs)

    trainer.engine.generate = generate
    with pytest.raises(EngineUnavailable, match="out of memory.*vllm_server_timeout.*resume") as error:
        trainer.train()
    assert f"checkpoint-{round_}" in error.value.__notes__[0]

    server.down = False
    resumed = served(server, tmp_path / "run", max_steps=5)
    resumed.train(resume_from_checkpoint=True)
    for name in resumed.branches:
        torch.testing.assert_close(weights(resumed, name), weights(whole, name), atol=0, rtol=0)


def test_waiting_ends_in_time_and_a_late_server_is_found(server, monkeypatch):
    client = vllm_server.VLLMServer(server.url, timeout=0.2)
    server.down = True
    start = time.monotonic()
    with pytest.raises(EngineUnavailable, match="answered 503"):
        client.base()
    assert 0.2 <= time.monotonic() - start < 5
    with pytest.raises(EngineUnavailable, match="did not answer: ConnectionError"):
        vllm_server.VLLMServer("http://127.0.0.1:9", timeout=0.1).base()
    threading.Timer(0.1, lambda: setattr(server, "down", False)).start()
    assert vllm_server.VLLMServer(server.url, timeout=30).base()["id"] == server.base


def test_rows_that_are_alike_are_one_request_with_a_seed_of_its_own(server, tmp_path):
    trainer = served(server, tmp_path)
    prompts, names = [[1, 4]] * 4 + [[1, 5]] * 2 + [[1, 5]] * 2, ["math"] * 6 + ["code"] * 2
    server.asked.clear()
    completions, logps = trainer.engine.generate(prompts, names)
    assert sorted(body["n"] for body in server.asked) == [2, 2, 4]
    assert len({body["seed"] for body in server.asked}) == 3
    assert [len(row) for row in completions] == [len(row) for row in logps] and logps[0][0] == -1.0
    assert len({tuple(row) for row in completions[:4]}) == 4
    greedy, _ = trainer.engine.generate(prompts, names, greedy=True)
    assert greedy[0] == greedy[3] and server.asked[-1]["n"] == 1 and server.asked[-1]["temperature"] == 0.0


def test_trl_corrects_for_what_the_engine_reports(server, tmp_path):
    """The ratio is exp(logp - reported), here cut off at 2; the fake reports -1 for every token."""
    trainer = served(
        server, tmp_path, max_steps=1, vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=2.0,
    )  # fmt: skip
    batches = []
    for branch in trainer.branches.values():
        original = branch._generate_and_score_completions
        branch._generate_and_score_completions = lambda rows, own=original: batches.append(own(rows)) or batches[-1]
    trainer.train()
    assert not hasattr(trainer, "vllm_generation"), "TRL started an engine of its own"
    for batch in batches:
        mask = batch["completion_mask"].bool()
        expected = (batch["old_per_token_logps"] + 1.0).exp().clamp(max=2.0)
        torch.testing.assert_close(batch["importance_sampling_ratio"][mask], expected[mask])
    assert any("math/sampling/importance_sampling_ratio/mean" in log for log in trainer.state.log_history)


# ---- Refused before the model is loaded -------------------------------------------------------------------------


SERVERS = {
    "another base": ({"base": "another/model"}, "serves 'another/model', but the run trains .*vllm serve"),
    "no adapters": ({"takes_adapters": False}, "takes no adapters.*VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve"),
    "trl vllm-serve": (
        {"models": (404, '{"detail": "Not Found"}')},
        "not a vLLM OpenAI server.*404.*vllm serve .*--enable",
    ),
    "a key is asked for": ({"models": (401, '{"error": "Unauthorized"}')}, "needs a key.*401.*vllm serve"),
    "a web page": ({"models": (200, "<html>")}, "not a vLLM OpenAI server.*200 '<html>'.*vllm serve"),
    "no models": ({"models": (200, '{"data": []}')}, "not a vLLM OpenAI server.*vllm serve"),
    "models of another form": ({"models": (200, '[{"id": "x"}]')}, "not a vLLM OpenAI server.*vllm serve"),
    "raw log-probabilities": ({"raw_logprobs": True}, "before temperature.*--logprobs-mode processed_logprobs"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_servers_that_cannot_serve_the_run(server, tmp_path, monkeypatch, case):
    attributes, message = SERVERS[case]
    base = server.base
    for name, value in attributes.items():
        setattr(server, name, value)
    monkeypatch.setattr("trl.GRPOTrainer.__init__", lambda *args, **kwargs: pytest.fail("the model was loaded"))
    with pytest.raises(ValueError, match=message):
        build_trainer(
            tmp_path, build_experts(2), base, use_vllm=True, vllm_mode="server", vllm_server_base_url=server.url
        )


@pytest.mark.parametrize("url", ["localhost:9", "localhost", "http://:80"])
def test_what_is_no_url_is_refused_at_once(tmp_path, base, url):
    with pytest.raises(
        ValueError, match=f"{url!r} is not a URL such as 'http://localhost:8000'.*vllm_server_base_url"
    ):
        build_trainer(tmp_path, build_experts(2), base, use_vllm=True, vllm_mode="server", vllm_server_base_url=url)


def test_a_server_that_was_never_there_is_told_how_to_start(server, tmp_path):
    server.down = True
    with pytest.raises(EngineUnavailable, match="answered 503.*Start it with `VLLM_ALLOW.* vllm serve ") as error:
        served(server, tmp_path, timeout=0.1)
    assert "resume" not in str(error.value)


def with_eval():
    return build_experts(3, eval_dataset=None)[:2] + [Expert("logic", rows(), letter_reward, eval_dataset=rows())]


REFUSED = {
    "model in memory": ({"model": tiny_model()}, "exists only in memory.*save_pretrained"),
    "IA3": ({"peft_config": IA3Config(target_modules=["k_proj"], feedforward_modules=[])}, "serves only LoRA"),
    "DoRA": ({"peft_config": lora(use_dora=True)}, "use_dora=True.*does not serve DoRA"),
    "whole modules": ({"peft_config": lora(modules_to_save=["norm"])}, "whole modules.*Leave it out"),
    "embedding": ({"peft_config": lora(target_modules=["q_proj", "embed_tokens"])}, "'embed_tokens'"),
    "rank": ({"peft_config": lora(r=8, rank_pattern={"q_proj": 600})}, "rank 600.*up to 512"),
    "rank of the merge": ({"topology": "mutual", "experts": with_eval(), "peft_config": lora(r=256)},
                          "merge of 3 experts, which has rank 768.*merge_method='linear'"),
    "mode": ({"vllm_mode": "remote"}, "'colocate' or 'server'"),
    "tensor parallel": ({"vllm_tensor_parallel_size": 2}, "vllm_mode='server'.*--tensor-parallel-size"),
    "sleep without a GPU": ({"vllm_enable_sleep_mode": True}, "without a GPU"),
    "VESPO": ({"loss_type": "vespo"}, "'token_truncate' or 'token_mask'"),
    "continuous batching in bf16": ({"use_vllm": False, "use_transformers_continuous_batching": True, "bf16": True},
                                    "casts the whole model"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_the_model_is_loaded(tmp_path, monkeypatch, case):
    options, message = REFUSED[case]
    monkeypatch.setattr(vllm_checks, "is_vllm_available", lambda: True)
    with pytest.raises(ValueError, match=message):
        build_trainer(tmp_path, **{"model": "/nowhere/no-model", "use_vllm": True, **options})


def test_a_base_that_vllm_would_not_quantise_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_checks, "is_vllm_available", lambda: True)
    in_8_bits = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    with pytest.raises(ValueError, match="BitsAndBytesConfig.*another base.*load_in_4bit"):
        build_trainer(tmp_path, model="/nowhere/no-model", use_vllm=True, model_init_kwargs=in_8_bits)


def test_a_trained_adapter_that_vllm_cannot_serve_is_refused(tmp_path, base):
    other = build_trainer(tmp_path / "other", build_experts(1), peft_config=lora(use_dora=True))
    adapters.save_adapter(other.peft_model, "math", tmp_path / "trained")
    experts = [Expert("math", rows(0, 20), letter_reward, adapter=tmp_path / "trained")]
    with pytest.raises(ValueError, match="The adapter of expert 'math'.*DoRA"):
        build_trainer(tmp_path, experts, "/nowhere/no-model", use_vllm=True)


def test_vllm_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_checks, "is_vllm_available", lambda: False)
    with pytest.raises(ImportError, match="not installed.*vllm_mode='server'"):
        build_trainer(tmp_path, model="/nowhere/no-model", use_vllm=True)


def test_a_recipe_without_vllm_builds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_checks, "is_vllm_available", lambda: False)
    for part in ("build_experts", "build_base"):
        monkeypatch.setattr(recipe, part, lambda *args: pytest.fail("something was built"))
    with pytest.raises(ImportError, match="not installed.*vllm_mode='server'"):
        recipe.main(["--use_vllm", "true", "--output_dir", str(tmp_path)])


@pytest.mark.parametrize(("rank", "merged", "expected"), [(4, 1, 8), (16, 1, 16), (16, 3, 64), (80, 4, 320)])
def test_vllm_is_given_the_next_of_its_ranks(rank, merged, expected):
    assert lora_rank({"a": lora(r=2), "b": lora(r=rank)}, merged) == expected


def test_the_merge_counts_only_where_it_is_evaluated():
    from trl_copd import CoPDConfig
    from trl_copd.engines.vllm_options import merged_experts

    experts = {expert.name: expert for expert in with_eval()}
    blind = {expert.name: expert for expert in build_experts(3)}
    mutual, student = (build_topology(kind, tuple(experts), None) for kind in ("mutual", "student"))
    args = CoPDConfig("out", topology="mutual", use_cpu=True, bf16=False)
    assert merged_experts(mutual, args, experts) == 3
    assert merged_experts(mutual, args, blind) == 1
    assert merged_experts(student, args, experts) == 1


# ---- transformers' continuous batching --------------------------------------------------------------------------


def test_continuous_batching_samples_what_the_grouped_generate_does(tmp_path):
    trainer = build_trainer(
        tmp_path, build_experts(2), topology="mutual", use_transformers_continuous_batching=True,
        transformers_continuous_batching_config={"num_blocks": 64, "max_batch_tokens": 64},
        peft_config=lora(init_lora_weights=False), max_steps=1, overlap_every=0,
    )  # fmt: skip
    prompts, names = [[1, 4 + i, 14, 5 + i] for i in range(6)], ["math"] * 3 + ["code"] * 2 + ["base"]
    packed, _ = trainer.engine.generate(prompts, names, greedy=True)
    trainer.use_transformers_continuous_batching = False
    assert packed == trainer.engine.generate(prompts, names, greedy=True)[0]
    trainer.use_transformers_continuous_batching = True
    trainer.train()
    assert trainer.state.global_step == 1


def two_processes(what, folder, server):
    script = Path(__file__).parent / "served_processes.py"
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script),
         what, str(folder), server.base, server.url],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_share_a_server(server, tmp_path):
    """The first sends each version once, both ask for rows of their own, and they end with the same weights."""
    two_processes("train", tmp_path, server)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["equal"] and set(result["held"]) == set(server.adapters)
    assert len(server.loaded) == len(set(server.loaded)), "a version was sent twice"
    asked = [(tuple(body["prompt"]), body["model"], body["seed"]) for body in server.asked if "seed" in body]
    assert len(asked) == len(set(asked)), "both processes asked for the same rows"


@pytest.mark.slow
def test_two_processes_end_together_when_one_has_lost_the_server(server, tmp_path):
    """Neither waits for ever: the script ends itself after 100 s."""
    two_processes("lose", tmp_path, server)
    for case in ("sync", "sample", "refused"):
        ends = [json.loads((tmp_path / f"{case}-{rank}.json").read_text()) for rank in range(2)]
        told = [end["error"].startswith("Another process failed: ") for end in ends]
        assert told == ([True, False] if case == "sample" else [False, True])
        checkpoint = checkpoints.last_checkpoint(tmp_path / case)
        if case == "refused":  # no outage: nobody saves
            assert [end["kind"] for end in ends] == ["ValueError", "RuntimeError"] and checkpoint is None
            continue
        assert [end["kind"] for end in ends] == ["EngineUnavailable"] * 2
        assert checkpoint == str(tmp_path / case / "checkpoint-1")  # complete, or it would not be found
        assert all(checkpoint in end["notes"][0] for end in ends)
        assert all((Path(checkpoint) / f"rng_state_{rank}.pth").is_file() for rank in range(2))
