"""
A stand-in for `vllm serve` that runs in the test's own process: it keeps adapters by name, as vLLM does, and answers
with tokens that depend on the prompt, the seed and the adapter's weights alone.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch


class FakeVLLM:
    """
    Args:
        base (`str`): What it says it serves.
        logps (`float`): Log-probability that it reports for every token.
    """

    def __init__(self, base: str, logps: float = -1.0):
        self.base, self.logps = base, logps
        self.adapters: dict[str, bytes] = {}  # name -> weights file as it was when it was loaded
        self.loaded: list[str] = []  # every name that was ever loaded
        self.asked: list[dict] = []
        self.takes_adapters, self.raw_logprobs, self.down = True, False, False
        self.models: tuple[int, str] | None = None  # status and body of /v1/models, where another server answers
        self.before_answer: Callable[[dict, bytes], None] = lambda body, weights: None
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def restart(self) -> None:
        """Forget every adapter."""
        self.adapters.clear()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def complete(self, body: dict) -> tuple[int, dict]:
        probing = body["model"] == self.base and body.get("top_k") == 1
        if body["model"] not in self.adapters and not probing:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        weights = self.adapters.get(body["model"], b"")
        with self.lock:
            self.asked.append(body)
            if not probing:
                self.before_answer(body, weights)
        choices = []
        for index in reversed(range(body.get("n", 1))):  # in no order, as a server may
            seed = zlib.crc32(weights + repr((body["prompt"], body.get("seed"), index)).encode())
            generator = torch.Generator().manual_seed(seed)
            length = int(torch.randint(2, body["max_tokens"] + 1, (), generator=generator)) if not probing else 1
            tokens = torch.randint(4, 30, (length,), generator=generator).tolist()
            logps = [0.0 if probing and not self.raw_logprobs else self.logps] * length
            choices.append({"index": index, "token_ids": tokens, "logprobs": {"token_logprobs": logps}})
        return 200, {"model": body["model"], "choices": choices}


class _Handler(BaseHTTPRequestHandler):
    fake: FakeVLLM

    def log_message(self, *args):
        pass

    def _answer(self, status: int, body: dict | str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.fake.down:
            return self._answer(503, {})
        if self.fake.models is not None:
            return self._answer(*self.fake.models)
        self._answer(200, {"data": [{"id": self.fake.base, "root": self.fake.base, "parent": None}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake = self.fake
        if fake.down:
            return self._answer(500, {"error": {"message": "EngineCore is out of memory"}})
        if self.path == "/v1/completions":
            return self._answer(*fake.complete(body))
        if not fake.takes_adapters or not self.path.startswith("/v1/"):
            return self._answer(404, {"detail": "Not Found"})
        name = body.get("lora_name")
        if name is None:
            return self._answer(400, {"error": {"message": "lora_name: Field required"}})
        if self.path == "/v1/unload_lora_adapter":
            fake.adapters.pop(name, None)
        elif name in fake.adapters:
            return self._answer(400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}})
        else:
            fake.adapters[name] = (Path(body["lora_path"]) / "adapter_model.safetensors").read_bytes()
            fake.loaded.append(name)
        self._answer(200, {})
