"""vLLM for real, on the CPU. One engine, one server per session: starting either takes up to a minute."""

import os

import pytest
from vllm_process import RANK, SLOTS, Server


os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    from tiny import tiny_model, tiny_tokenizer

    folder = tmp_path_factory.mktemp("base")
    heads = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}  # of 32, which its kernels know
    tiny_model(**heads).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def engines():
    return {}


@pytest.fixture
def one_engine(engines, monkeypatch):
    """Let all trainers of the session share one `vllm.LLM`, with as many slots as any of them needs."""
    from trl_copd.engines import vllm

    real = vllm.LLM

    def shared(**options):
        assert options["max_loras"] <= SLOTS and options["max_lora_rank"] <= RANK
        if options["model"] not in engines:
            sizes = {"max_loras": SLOTS, "max_lora_rank": RANK, "max_num_seqs": 64, "max_model_len": 64}
            engines[options["model"]] = real(**options | sizes)
        return engines[options["model"]]

    monkeypatch.setattr(vllm, "LLM", shared)


@pytest.fixture(scope="session")
def server(base):
    process = Server(base, "--max-model-len", "64", "--max-num-batched-tokens", "512")
    process.start()
    yield process
    process.kill()
