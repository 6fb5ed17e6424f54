"""The real client against `local_hub.py`: `run_hub.py` starts these tests, with what the client reads on import."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest


HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
ENDPOINT = os.environ.get("HF_ENDPOINT", "")
if not ENDPOINT.startswith("http://127.0.0.1:"):  # the client reads it when it is imported, so it is too late here
    collect_ignore_glob = ["test_*.py"]
PROVED: list[str] = []


@pytest.fixture(scope="session")
def server():
    from local_hub import LocalHub

    return LocalHub(int(ENDPOINT.rsplit(":", 1)[1]))


@pytest.fixture
def hub(server, monkeypatch):
    """The server, without what earlier tests left; waits between attempts are short."""
    from trl_copd.run import hub as pushing

    monkeypatch.setattr(pushing, "WAITS", (0.05, 0.05))
    instant = SimpleNamespace(sleep=lambda seconds: None, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.utils._http.time", instant)
    server.repos.clear(), server.blobs.clear(), server.requests.clear(), server.faults.clear(), server.errors.clear()
    yield server
    assert not server.errors, server.errors[0]


@pytest.fixture
def proved():
    """Collects the lines that `make test-hub` ends with."""
    return PROVED.append


def pytest_terminal_summary(terminalreporter):
    for line in PROVED:
        terminalreporter.write_line(f"proved: {line}")
