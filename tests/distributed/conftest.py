"""Starts the processes, once for all tests of a kind, and says in the end what the tests have proved."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


WORKER = Path(__file__).parent / "worker.py"
RECIPE = Path(__file__).parent.parent.parent / "recipes" / "accelerate" / "fsdp2.yaml"


def launch(folder: Path, mode: str, names: list[str]) -> dict:
    """Run the named scenarios in two processes: `"ddp"` or `"fsdp"` over gloo, or FSDP2 on two GPUs (`"gpu"`)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    if mode == "gpu":
        launcher = ["accelerate.commands.launch", "--config_file", str(RECIPE), "--mixed_precision", "no"]
        launcher += ["--num_processes", "2"]
    else:  # `accelerate launch --cpu --num_processes 2` runs one process; the tests assert that there were two
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        environment["ACCELERATE_USE_CPU"] = "true"
    command = [sys.executable, "-m", *launcher, str(WORKER), str(folder), mode, *names]
    process = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert process.returncode == 0, process.stderr.partition("Traceback")[2][:5000]
    return {name: torch.load(folder / f"{name}.pt", weights_only=False) for name in names}


def wanted(request: pytest.FixtureRequest, mode: str) -> list[str]:
    """The scenarios that the selected tests ask this fixture for, in the order of the tests."""
    items = [item for item in request.session.items if mode in getattr(item, "fixturenames", ())]
    return list(dict.fromkeys(item.callspec.params.get("scenario", "components") for item in items))


@pytest.fixture(scope="session")
def single(tmp_path_factory):
    """Results of scenarios in this one process, run when asked for."""
    import scenarios

    results: dict = {}

    def get(name: str) -> dict:
        if name not in results:
            results[name] = scenarios.run(name, tmp_path_factory.mktemp(name))
        return results[name]

    return get


@pytest.fixture(scope="session")
def ddp(request, tmp_path_factory):
    return launch(tmp_path_factory.mktemp("ddp"), "ddp", wanted(request, "ddp"))


@pytest.fixture(scope="session")
def fsdp(request, tmp_path_factory):
    return launch(tmp_path_factory.mktemp("fsdp"), "fsdp", wanted(request, "fsdp"))


@pytest.fixture(autouse=True)
def proves(request, record_property):
    """A test's docstring is what it proves."""
    if request.function.__doc__:
        parameters = getattr(request.node, "callspec", None)
        case = f" [{parameters.id}]" if parameters else ""
        record_property("proves", " ".join(request.function.__doc__.split()) + case)


def pytest_terminal_summary(terminalreporter, config):
    if not all("distributed" in argument for argument in config.args):
        return
    terminalreporter.section("proved", sep="-")
    for report in terminalreporter.stats.get("passed", []):
        for key, value in report.user_properties:
            if key == "proves":
                terminalreporter.write_line(value)
