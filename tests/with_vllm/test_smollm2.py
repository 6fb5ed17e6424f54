"""A full CoPD cycle on a real language model by the recipe, then another one after a resume, in both modes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


pytest.importorskip("vllm")

from vllm_process import Server


ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def smollm2():
    from trl_copd.recipes.smollm2 import build_smollm2

    return build_smollm2(ROOT / "runs" / "bases" / "smollm2-raw", [], steps=0)


def run_recipe(model: str, output_dir: Path, steps: int, *options: str) -> list[dict]:
    """Run the recipe in a process of its own; what it logged."""
    command = [
        sys.executable, "recipes/copd.py", "--config", "tests/with_vllm/smollm2.yaml", "--model_name_or_path", model,
        "--output_dir", str(output_dir), "--max_steps", str(steps), "--use_vllm", "true", *options,
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert run.returncode == 0, run.stderr[-3000:]
    state = json.loads((output_dir / f"checkpoint-{steps}" / "trainer_state.json").read_text())
    return state["log_history"]


def check_two_cycles(model: str, output_dir: Path, *options: str) -> None:
    run_recipe(model, output_dir, 2, *options)
    logs = run_recipe(model, output_dir, 4, "--resume_from_checkpoint", "true", *options)
    rounds = [log for log in logs if "phase" in log]
    assert [log["phase"] for log in rounds] == [0, 1, 0, 1]
    for log in rounds:
        for name in ("sums", "words"):
            assert log[f"{name}/sampling/sampling_logp_difference/max"] < 1e-2
    overlaps = [log["sums->words/opd/overlap"] for log in logs if "sums->words/opd/overlap" in log]
    assert overlaps and max(overlaps) <= 1
    matrix = json.loads((output_dir / "capability_matrix.json").read_text())
    assert list(matrix) == ["base", "sums", "words", "student"]
    assert (output_dir / "adapter_model.safetensors").is_file()


def test_colocate(smollm2, tmp_path):
    check_two_cycles(smollm2, tmp_path)


def test_server(smollm2, tmp_path):
    server = Server(smollm2, "--max-model-len", "256")
    server.start()
    try:
        options = ("--vllm_mode", "server", "--vllm_server_base_url", server.url, "--vllm_server_timeout", "60")
        check_two_cycles(smollm2, tmp_path, *options)
    finally:
        server.kill()
