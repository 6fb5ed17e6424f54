"""vLLM as a server of its own (`vllm_mode="server"`): adapters travel by file, rows by HTTP."""

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import requests
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list, gather_object
from peft import PeftModel
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema

from ..config import CoPDConfig
from ..run.folder import ROLLOUT_ADAPTERS
from .base import EngineUnavailable
from .multi_lora import HeldAdapter, MultiLoRAEngine
from .sampling import Sampling
from .vllm_options import sampling_options


logger = get_logger(__name__)

REQUESTS_AT_ONCE = 64  # as TRL's client
RETRY_SECONDS = 1.0
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class VLLMServer:
    """
    Client of `vllm serve`. A request that fails because the server is away, starting or out of memory is sent again
    until it has failed for `timeout` seconds.

    Args:
        url (`str`): Base URL.
        timeout (`float`): Seconds.
    """

    _advice = "Start it again and resume the run from its last checkpoint."

    def __init__(self, url: str, timeout: float):
        self.url, self.timeout = url.rstrip("/"), timeout
        self.session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=REQUESTS_AT_ONCE)
        # a machine that vanishes without a word is noticed while an answer is awaited
        adapter.poolmanager.connection_pool_kw["socket_options"] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
            (socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in KEEPALIVE if hasattr(socket, name)
        ]
        self.session.mount("http", adapter)
        self._away = False

    @classmethod
    def of(cls, args: CoPDConfig) -> "VLLMServer":
        url = args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}"
        return cls(url, args.vllm_server_timeout)

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        """The server's answer, with a status below 500."""
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> requests.Response:
        failing_since = None
        while True:
            try:
                # sampling may take as long as it takes: only the connection has a time limit
                response = self.session.request(method, self.url + path, json=body, timeout=(10, None))
                if response.status_code < 500:
                    self._away = False
                    return response
                failure = f"answered {response.status_code}: {response.text:.300}"
            except (InvalidSchema, InvalidURL, MissingSchema) as error:
                raise ValueError(
                    f"The vLLM server's address {self.url!r} is not a URL such as 'http://localhost:8000'. Correct "
                    "vllm_server_base_url."
                ) from error
            except requests.RequestException as error:
                failure = f"did not answer: {type(error).__name__}"
            failing_since = failing_since or time.monotonic()
            if not self._away:  # once, not once per request
                self._away = True
                logger.warning(f"The vLLM server at {self.url} {failure}. Waiting up to {self.timeout:.0f} s for it.")
            if time.monotonic() - failing_since >= self.timeout:
                raise EngineUnavailable(
                    f"The vLLM server at {self.url} {failure}, for {self.timeout:.0f} s "
                    f"(vllm_server_timeout). {self._advice}"
                )
            time.sleep(RETRY_SECONDS)

    def base(self) -> dict[str, Any]:
        """
        The base model's entry among those that are served.

        Raises:
            ValueError: What answers there is not vLLM's OpenAI server.
        """
        response = self._send("GET", "/v1/models", None)
        try:
            response.raise_for_status()
            return next(entry for entry in response.json()["data"] if entry["id"] and entry.get("parent") is None)
        except (requests.RequestException, LookupError, TypeError, AttributeError, StopIteration) as error:
            raise ValueError(
                f"The server at {self.url} is not a vLLM OpenAI server (`trl vllm-serve` is not one), or needs a key: "
                f"to /v1/models it says {response.status_code} {response.text[:100]!r}. {self._advice}"
            ) from error

    def check(self, model: str, command: str, correction: bool) -> None:
        """
        Refuse a server that cannot serve the run.

        Raises:
            EngineUnavailable: It is not up in time.
            ValueError: It is another kind of server, serves another base, takes no adapters, or reports
                log-probabilities before temperature.
        """
        self._advice = f"Start it with `{command}`."
        base = self.base()
        if base.get("root") != model:
            raise ValueError(
                f"The vLLM server at {self.url} serves {base.get('root')!r}, but the run trains {model!r}. "
                f"{self._advice}"
            )
        if self.post("/v1/load_lora_adapter", {}).status_code == 404:
            raise ValueError(f"The vLLM server at {self.url} takes no adapters while it runs. {self._advice}")
        # after top-k sampling with k = 1 the one token that is left has probability 1; raw log-probabilities show less
        probe = {"model": base["id"], "prompt": [1], "max_tokens": 1, "top_k": 1, "logprobs": 0, "ignore_eos": True}
        choice = self.post("/v1/completions", probe).json()["choices"][0]
        if correction and choice["logprobs"]["token_logprobs"][0] != 0.0:
            raise ValueError(
                f"The vLLM server at {self.url} reports log-probabilities before temperature and top-k, which biases "
                f"the importance-sampling correction. Start it with `{command}`, or set "
                "vllm_importance_sampling_correction=False."
            )


class VLLMServerEngine(MultiLoRAEngine):
    """
    Samples the rows of all adapters from one server, each with the name of its adapter as the model.

    Adapters are written below `output_dir`, which server and trainer must both see under one path. A server that has
    been restarted does not know them any more: they are loaded again from there. Of several processes the first one
    writes and loads, and each asks for its own rows; what one cannot do fails on all, so that none waits for another
    that has gone to save. So `sync` and `generate` must be called on all processes.

    Args:
        model, branches, sampling: See [`MultiLoRAEngine`].
        accelerator ([`~accelerate.Accelerator`]): The processes.
        server ([`VLLMServer`]): The client.
        output_dir (`str`): The run's folder.
    """

    def __init__(
        self,
        model: PeftModel,
        branches: Sequence[str],
        sampling: Sampling,
        accelerator: Accelerator,
        server: VLLMServer,
        output_dir: str,
    ):
        shared = Path(output_dir).absolute()
        shared.mkdir(parents=True, exist_ok=True)
        folder = [None]
        if accelerator.is_main_process:
            for left in shared.glob(f"{ROLLOUT_ADAPTERS}*"):  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            self._folder = tempfile.TemporaryDirectory(prefix=ROLLOUT_ADAPTERS, dir=shared)
            Path(self._folder.name).chmod(0o755)  # for a server that runs as another user
            folder = [self._folder.name]
        path = Path(broadcast_object_list(folder)[0])
        super().__init__(model, branches, sampling, path, label=path.name.rpartition("-")[2] + "-")
        self.accelerator, self.server = accelerator, server
        self._reloading = threading.Lock()
        self.sync(self.branches)  # an adapter that vLLM cannot serve fails before training

    def generate(self, prompt_ids, adapters, greedy=False):
        with self._together():  # also where no row falls to this process
            return super().generate(prompt_ids, adapters, greedy)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Wait for all processes, and raise on each of them if one has failed: the same kind of error everywhere."""
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
        failures = gather_object([error and (isinstance(error, EngineUnavailable), str(error))])
        failures = [failure for failure in failures if failure]
        if not failures:
            return
        unavailable, message = min(failures)  # what is no outage comes first: nobody saves then
        if error is None or isinstance(error, EngineUnavailable) != unavailable:
            error = (EngineUnavailable if unavailable else RuntimeError)(f"Another process failed: {message}")
        raise error

    def _write(self, name: str, folder: Path) -> int:
        with self._together():
            return super()._write(name, folder) if self.accelerator.is_main_process else 0

    def _load(self, adapter: HeldAdapter) -> None:
        with self._together():
            if self.accelerator.is_main_process:
                self._post_adapter(adapter)

    def _post_adapter(self, adapter: HeldAdapter) -> None:
        response = self.server.post(
            "/v1/load_lora_adapter", {"lora_name": adapter.name, "lora_path": str(adapter.folder)}
        )
        if response.status_code != 200 and "already been loaded" not in response.text:
            raise ValueError(f"The vLLM server did not load {adapter.folder}: {_message(response)}")

    def _unload(self, adapter: HeldAdapter) -> None:
        with self._together():
            if self.accelerator.is_main_process:  # a server that was restarted does not know it, which is fine
                self.server.post("/v1/unload_lora_adapter", {"lora_name": adapter.name})

    def _sample(self, prompt_ids, adapters, greedy):
        options = sampling_options(self.sampling, greedy)
        jobs = []
        # rows that are alike and follow each other are one request: each gets its own tokens, from one prefill
        for _, rows in groupby(zip(prompt_ids, adapters, strict=True), key=lambda row: (list(row[0]), row[1].name)):
            members = list(rows)
            jobs.append((*members[0], len(members)))
        seeds = torch.randint(2**31 - 1, (len(jobs),)).tolist()  # from the run's stream: a resumed run draws the same
        workers = min(REQUESTS_AT_ONCE, self.sampling.chunk_rows or REQUESTS_AT_ONCE)
        with ThreadPoolExecutor(workers) as pool:
            asked = [
                pool.submit(self._complete, *job, {"seed": seed} | options)
                for job, seed in zip(jobs, seeds, strict=True)
            ]
            try:
                answers = [future.result() for future in asked]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # those in line would wait for it, too
                raise
        choices = [choice for answer in answers for choice in answer]
        return [c["token_ids"] for c in choices], [c["logprobs"]["token_logprobs"] for c in choices]

    def _complete(self, prompt: list[int], adapter: HeldAdapter, count: int, options: dict) -> list[dict]:
        """`count` completions of a prompt."""
        greedy = options["temperature"] == 0.0  # vLLM answers once then, and all answers would be the same
        body = {
            "model": adapter.name,
            "prompt": list(prompt),
            "n": 1 if greedy else count,
            "return_token_ids": True,
            **options,
        }
        response = self.server.post("/v1/completions", body)
        if response.status_code == 404:
            with self._reloading:
                logger.warning(f"The vLLM server does not know {adapter.name!r}, as after a restart: loading it.")
                self._post_adapter(adapter)
            response = self.server.post("/v1/completions", body)
        if response.status_code != 200:
            raise ValueError(f"The vLLM server refused to sample: {_message(response)}")
        answer = response.json()
        if answer["model"] != adapter.name:
            raise RuntimeError(f"The vLLM server sampled from {answer['model']!r} instead of {adapter.name!r}.")
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        return choices * count if greedy else choices


def _message(response: requests.Response) -> str:
    """What the server says about a request that it refused."""
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text:.300}"
