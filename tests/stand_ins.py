"""
What stands in for the Hub and for long runs when the pages' blocks are run. This file is the whole list: everything
else that a block names is the real thing.

- `MODELS`, `DATASETS`: Hub ids, put into a Hub cache of the tests' own, from which transformers and datasets load
  them offline as they load what was downloaded once.
- `SMALL`: arguments that every configuration of a Python block gets, whatever the block says.
- `SETUPS`: files that a block finds in its directory, by the name in its rule `setup`.
"""

import dataclasses
import functools
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import datasets
import huggingface_hub.constants
import tiny
from trl import GRPOConfig, RLOOConfig

from trl_copd import CoPDConfig


FOLDER = tempfile.TemporaryDirectory(prefix="docs-stand-ins-")  # removed when the tests end

# a random Llama of two layers, and a tokenizer of 30 tokens
MODELS = ("Qwen/Qwen3-0.6B",)

# id: {configuration: {split: rows}}
DATASETS = {
    "openai/gsm8k": {
        "main": {
            split: [{"question": f"What is {i} + {i}?", "answer": f"{i} + {i} = {2 * i}\n#### {2 * i}"} for i in span]
            for split, span in (("train", range(1000, 1100)), ("test", range(200)))
        }
    },
    "my/math-rows": {
        "default": {
            "train": [
                {"prompt": [{"role": "user", "content": f"What is {i} + {i}?"}], "solution": str(2 * i)}
                for i in range(100)
            ]
        }
    },
}

REVISION = "0" * 40

SMALL = {
    "max_steps": 2,
    "rlvr_steps": 1,
    "opd_steps": 1,
    "max_completion_length": 8,
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
}


# ---- The Hub ----------------------------------------------------------------------------------------------------


@functools.cache
def hub_home() -> Path:
    """A folder for `HF_HOME` that holds the stand-ins as if they had been downloaded."""
    home = Path(FOLDER.name, "hub-home")
    for repo in MODELS:
        add_model(home, repo, tiny_base())
    for repo, configurations in DATASETS.items():
        for configuration, splits in configurations.items():
            _add_dataset(home, repo, configuration, splits)
    return home


def add_model(home: Path, repo: str, source: Path) -> None:
    """Put a model's or an adapter's folder into the cache under a Hub id."""
    folder = home / "hub" / f"models--{repo.replace('/', '--')}"
    shutil.copytree(source, folder / "snapshots" / REVISION, dirs_exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs/main").write_text(REVISION)


def _add_dataset(home: Path, repo: str, configuration: str, splits: dict[str, list[dict]]) -> None:
    source = Path(FOLDER.name, "sources", repo, configuration)
    source.mkdir(parents=True)
    for split, rows in splits.items():
        _write_rows(source / f"{split}.jsonl", rows)
    files = {split: str(source / f"{split}.jsonl") for split in splits}
    owner, name = repo.split("/")
    builder = datasets.load_dataset_builder("json", configuration, data_files=files, cache_dir=str(source / "cache"))
    builder.dataset_name = builder.info.dataset_name = name
    builder.config.name = builder.info.config_name = configuration
    builder.download_and_prepare(str(home / "datasets" / f"{owner}___{name}" / configuration / "0.0.0" / REVISION))


@functools.cache
def tiny_base() -> Path:
    folder = Path(FOLDER.name, "tiny-base")
    tiny.tiny_model(max_position_embeddings=512).save_pretrained(folder)
    tiny.tiny_tokenizer().save_pretrained(folder)
    return folder


# ---- Short runs -------------------------------------------------------------------------------------------------


@contextmanager
def stand_ins(**overrides):
    """Let this process load the stand-ins, and let configurations take `SMALL` and `overrides`."""
    home = hub_home()
    with (
        mock.patch.object(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub")),
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", home / "datasets"),
        _shortened(CoPDConfig, SMALL | overrides),
        _shortened(GRPOConfig, SMALL | overrides),
        _shortened(RLOOConfig, SMALL | overrides),
    ):
        yield


def _shortened(config: type, arguments: dict):
    names = {field.name for field in dataclasses.fields(config)}
    mine = {name: value for name, value in arguments.items() if name in names}
    original = config.__init__

    @functools.wraps(original)
    def init(self, *args, **kwargs):
        original(self, *args, **{**kwargs, **mine})

    return mock.patch.object(config, "__init__", init)


# ---- Files ------------------------------------------------------------------------------------------------------


def _write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _words(folder: Path) -> None:
    """`words.jsonl` and `words_test.jsonl`, with `prompt` and `solution`."""
    for name, span in (("words.jsonl", range(100)), ("words_test.jsonl", range(100, 120))):
        _write_rows(folder / name, [{"prompt": f"Spell {i}:", "solution": chr(97 + i % 8)} for i in span])


def _demo_base(folder: Path) -> None:
    """The demonstration's base, hardly trained, where the recipe looks for it."""
    shutil.copytree(_hardly_trained(), folder / "runs/bases/demo-seed0", dirs_exist_ok=True)


@functools.cache
def _hardly_trained() -> Path:
    from trl_copd.recipes.demo_base import build_base

    folder = Path(FOLDER.name, "demo-base")
    build_base(folder, seed=0, steps=2)
    (folder / "done").touch()
    return folder


SETUPS = {"words": _words, "demo_base": _demo_base}
