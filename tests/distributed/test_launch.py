"""How processes are asked for: accelerate's configuration files, and what is refused before a model is loaded."""

import logging

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_simple_launcher_cmd_env
from fsdp_on_cpu import RECIPES, environment
from tiny import settings

from trl_copd import CoPDConfig
from trl_copd.trainers.distribution_checks import check_distribution


@pytest.fixture
def args(tmp_path, monkeypatch):
    for variable in ("WORLD_SIZE", "MASTER_PORT", "ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(variable, raising=False)
    return CoPDConfig(**settings(tmp_path))


@pytest.fixture
def on_gpus(args, monkeypatch):
    """The same arguments in a process of several that have GPUs."""
    monkeypatch.setitem(args.distributed_state.__dict__, "distributed_type", DistributedType.MULTI_GPU)
    return args


def test_every_configuration_file_is_read_by_accelerate():
    """The files in recipes/accelerate say what they are for, as accelerate reads them."""
    kinds = {"multi_gpu.yaml": DistributedType.MULTI_GPU, "fsdp2.yaml": DistributedType.FSDP}
    assert {path.name for path in RECIPES.iterdir()} == set(kinds)
    for name, kind in kinds.items():
        config = load_config_from_file(str(RECIPES / name))
        assert config.distributed_type == kind and config.mixed_precision == "bf16" and not config.use_cpu
        assert config.num_processes > 1 and not config.deepspeed_config


def test_configuration_files_are_accepted(on_gpus, monkeypatch):
    """What `accelerate launch` makes of them passes the checks of CoPDTrainer."""
    variables = environment("fsdp2.yaml", "--num_processes", "4")
    assert variables["ACCELERATE_USE_FSDP"] == "true" and variables["FSDP_VERSION"] == "2"
    assert "ACCELERATE_USE_FSDP" not in environment("multi_gpu.yaml")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_distribution(on_gpus)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--fsdp_version", "1"), "fsdp_version: 2"),
        (("--fsdp_offload_params", "true"), "fsdp_offload_params=True"),
        (("--fsdp_activation_checkpointing", "true"), "gradient_checkpointing=True"),
    ],
)
def test_fsdp_settings_that_cannot_work_are_refused(on_gpus, monkeypatch, option, message):
    """FSDP1, offload and FSDP's own checkpointing are refused with what to set instead."""
    for name, value in environment("fsdp2.yaml", *option).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        check_distribution(on_gpus)


def test_fsdp_that_accelerate_would_ignore_is_refused(args, monkeypatch):
    """FSDP on a CPU, which accelerate ignores so that each process trains alone, is refused."""
    for name, value in environment("fsdp2.yaml").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="every process would train alone"):
        check_distribution(args)


def test_fsdp_of_the_arguments_is_seen(tmp_path):
    """`fsdp=True` in the configuration is checked like the launcher's."""
    args = CoPDConfig(**settings(tmp_path))
    args.fsdp, args.fsdp_plugin_args = True, {"fsdp_version": 2}
    with pytest.raises(ValueError, match="FSDP needs several GPUs"):
        check_distribution(args)


@pytest.mark.parametrize("asked", ["arguments", "launcher"])
def test_deepspeed_is_refused(args, monkeypatch, asked):
    """DeepSpeed is refused however it was asked for, with the reason and what to use instead."""
    if asked == "arguments":
        args.deepspeed = {"zero_optimization": {"stage": 2}}
    else:
        monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match="fsdp2.yaml"):
        check_distribution(args)


@pytest.mark.parametrize("count", [1, 2])
def test_processes_that_do_not_start_are_noticed(args, monkeypatch, caplog, count):
    """`accelerate launch --cpu --num_processes 2`, which runs one process, is warned about."""
    command = ["--cpu", "--num_processes", str(count), "--num_machines", "1", "script.py"]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    _, variables = prepare_simple_launcher_cmd_env(parsed)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING):
        check_distribution(args)
    assert ("one runs" in caplog.text) == (count == 2)
