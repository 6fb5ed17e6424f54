"""
Runs the tests in `cases/` in a process whose `huggingface_hub` talks to a local server: `python tests/hub/run_hub.py`.

Arguments go to pytest. The last lines say what was proved.
"""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from local_hub import WRITE_TOKEN


def environment(home: str) -> dict[str, str]:
    """What the client reads when it is imported."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dropped = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN_PATH", "NO_PROXY")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    client = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_DISABLE_XET": "1", "HF_HOME": home}
    return kept | client | {"HF_TOKEN": WRITE_TOKEN, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0"}


def run(arguments: list[str], **options) -> subprocess.CompletedProcess:
    cases = str(Path(__file__).parent / "cases")
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pytest", cases, *arguments]
        return subprocess.run(command, env=environment(home), cwd=Path(__file__).parents[2], **options)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]).returncode)
