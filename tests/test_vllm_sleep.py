"""vLLM's sleep mode, on a stand-in for vLLM: asleep after every call, with rows or without, and whatever it raises."""

import importlib
import sys
import types
from types import SimpleNamespace

import pytest


class LLM:
    """Notes whether it was awake when it was asked for something."""

    def __init__(self):
        self.asleep, self.log = False, []
        self.llm_engine = SimpleNamespace(
            is_sleeping=lambda: self.asleep,
            add_lora=lambda request: self.use("load"),
            remove_lora=lambda number: self.use("unload"),
        )

    def use(self, what):
        assert not self.asleep, f"{what} while asleep"
        self.log.append(what)

    def wake_up(self):
        self.asleep = False

    def sleep(self, level):
        assert level == 1
        self.asleep = True

    def reset_prefix_cache(self):
        self.use("reset")

    def generate(self, prompts, *args, **kwargs):
        self.use("generate")
        if len(prompts) > 1:
            raise MemoryError("no room for the cache")
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[5])])]


@pytest.fixture
def engine(monkeypatch, tmp_path):
    importlib.import_module("trl.generation.vllm_generation")  # before the stand-in is there: TRL looks for vLLM
    importlib.import_module("trl_copd.engines")
    names = ("vllm", "vllm.lora", "vllm.lora.request", "vllm.sampling_params")
    for name in names:
        module = types.ModuleType(name)
        module.LLM, module.SamplingParams = LLM, dict
        module.LoRARequest = lambda name, number, path: SimpleNamespace(lora_int_id=number)
        module.StructuredOutputsParams = object
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "trl_copd.engines.vllm", raising=False)
    vllm = importlib.import_module("trl_copd.engines.vllm")
    monkeypatch.setattr(vllm, "empty_cache", lambda: None)
    monkeypatch.setattr(vllm, "extract_logprobs", lambda outputs: ([[[-1.0]] for _ in outputs], None))
    monkeypatch.setattr(vllm, "sampling_options", lambda sampling, greedy: {})
    made = vllm.VLLMEngine.__new__(vllm.VLLMEngine)
    made._sleeps, made.llm, made._requests, made.held, made._versions = True, LLM(), {}, {}, 0
    made.branches, made.sampling, made.label, made.bytes_sent = ("math",), None, "", 0
    made.folder, made.weights = tmp_path, 1
    monkeypatch.setattr(vllm.VLLMEngine, "_digest", lambda self, name: str(self.weights))
    monkeypatch.setattr(vllm.VLLMEngine, "_write", lambda self, name, folder: 8)
    yield made
    sys.modules.pop("trl_copd.engines.vllm", None)  # that of the stand-in


def test_the_engine_sleeps_after_every_call(engine):
    engine.sync(["math"])
    assert engine.llm.asleep and engine.llm.log == ["load"]
    assert engine.generate([], []) == ([], [])
    assert engine.llm.asleep
    assert engine.generate([[4]], ["math"]) == ([[5]], [[-1.0]])
    assert engine.llm.asleep and engine.llm.log == ["load", "reset", "generate"]
    engine.weights = 2
    engine.sync(["math"])
    assert engine.llm.asleep and engine.llm.log[-2:] == ["load", "unload"]
    with pytest.raises(MemoryError):
        engine.generate([[4], [4]], ["math", "math"])
    assert engine.llm.asleep


def test_without_sleep_mode_nothing_sleeps(engine):
    engine._sleeps = False
    engine.sync(["math"])
    engine.generate([[4]], ["math"])
    assert not engine.llm.asleep
