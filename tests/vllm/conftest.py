"""vLLM for real, on the CPU. One engine, one server per session: starting either takes up to a minute."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests


os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
ROOT = Path(__file__).resolve().parent.parent.parent
SLOTS, RANK = 5, 16  # three experts, the student or their merge, the base


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
    from trl_copd.rollouts import vllm

    real = vllm.LLM

    def shared(**options):
        assert options["max_loras"] <= SLOTS and options["max_lora_rank"] <= RANK
        if options["model"] not in engines:
            sizes = {"max_loras": SLOTS, "max_lora_rank": RANK, "max_num_seqs": 64, "max_model_len": 64}
            engines[options["model"]] = real(**options | sizes)
        return engines[options["model"]]

    monkeypatch.setattr(vllm, "LLM", shared)


class Server:
    """vLLM's own server as a process that can be killed."""

    def __init__(self, model: str, *options: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # what `vllm serve` runs; the command itself looks for a distribution named vllm, which vllm-cpu is not
        self.command = [
            sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--port", str(self.port),
            "--enable-lora", "--max-loras", str(SLOTS), "--max-lora-rank", str(RANK),
            "--logprobs-mode", "processed_logprobs", "--dtype", "float32", "--enforce-eager", *options,
        ]  # fmt: skip
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, wait: bool = True) -> None:
        environment = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
        self.process = subprocess.Popen(
            self.command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        start = time.monotonic()
        while wait and time.monotonic() - start < 300:
            try:
                if requests.get(self.url + "/health", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(1)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # the engine is a child of the server
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def server(base):
    process = Server(base, "--max-model-len", "64", "--max-num-batched-tokens", "512")
    process.start()
    yield process
    process.kill()
