"""
Merge the student, or an expert, into a plain checkpoint that needs neither PEFT nor this package:

    trl-copd export OUTPUT_DIR_OR_REPO [--expert NAME] [--revision REV] [--base BASE] --output DIR

The merge runs in float32, because merging in half precision rounds the base's own weights. The merged model is loaded
again and must give the adapter's greedy tokens before anything is written to DIR.
"""

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME

from .adapters import is_multimodal
from .run.card import COPD_CITATION, base_in_words, is_hub_id, package_version
from .spelling import Parser
from .topology import STUDENT


PROMPTS = ("12+34=", "The capital of France is", "def add(a, b):", "Question: what is 3 times 7? Answer:")
NEW_TOKENS = 24
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
DTYPES = ("float32", "bfloat16", "float16")


def export(
    source: str,
    output: str | Path,
    expert: str | None = None,
    revision: str | None = None,
    base: str | None = None,
    dtype: str = "float32",
) -> str:
    """
    Merge an adapter into its base and save the result as a plain checkpoint: tokenizer, generation config, card.

    Args:
        source (`str`): `output_dir` of a run, one of its checkpoints, or a repo on the Hub.
        output (`str` or `Path`): Folder that does not exist yet, or is empty.
        expert (`str`, *optional*): An expert instead of the student.
        revision (`str`, *optional*): Branch, tag or commit of the repo.
        base (`str`, *optional*): Id or folder of the base; by default the adapter's configuration names it.
        dtype (`str`, *optional*, defaults to `"float32"`): Of the saved copy: `"float32"`, `"bfloat16"`, `"float16"`.

    Returns:
        `str`: The result of the check.

    Raises:
        ValueError: The folder, repo, expert or base is missing or unusable, or `output` is not empty.
        RuntimeError: The merged model does not give the adapter's tokens; `output` is not written.
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{str(output)!r} exists and is not empty, and nothing is overwritten. Name another folder.")
    root = _find_run(source, revision)
    adapter = _find_adapter(root, source, expert)
    config = PeftConfig.from_pretrained(str(adapter))
    if base is not None:
        config.revision = None  # that of the base it was trained on
    base = base or config.base_model_name_or_path
    _check_base(base, config)
    tokenizer = _load_tokenizer(root, base)
    sees = is_multimodal(AutoConfig.from_pretrained(base, revision=config.revision))
    auto = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model = auto.from_pretrained(base, revision=config.revision, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(adapter)).eval()
    wanted = _greedy(model, tokenizer)
    model = model.merge_and_unload(safe_merge=True)
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.to(getattr(torch, dtype)).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for name in PROCESSOR_FILES if sees else ():  # as they are: loading a processor may need more packages
            file = next((folder / name for folder in (root, root.parent.parent) if (folder / name).is_file()), None)
            if file is not None:
                shutil.copy(file, partial / name)
        del model
        gc.collect()
        checked = _check(auto, partial, tokenizer, wanted, dtype)
        task = "image-text-to-text" if sees else "text-generation"
        _write_card(partial, source, expert, revision, base, dtype, checked, task)
        if output.exists():
            output.rmdir()
        os.replace(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return checked


def _find_run(source: str, revision: str | None) -> Path:
    if Path(source).is_dir():
        if revision is not None:
            raise ValueError(f"{source!r} is a folder and has no revisions. Leave --revision out.")
        return Path(source)
    if not is_hub_id(source):
        raise ValueError(f"There is no folder {source!r}. Pass a run's output_dir, a checkpoint, or a Hub repo.")
    try:
        ignored = ["checkpoint-*", "last-checkpoint/*", "completions/*", "figures/*", "runs/*"]
        return Path(snapshot_download(source, revision=revision, ignore_patterns=ignored))
    except RevisionNotFoundError as error:
        raise ValueError(f"The repo {source!r} has no revision {revision!r}.") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise ValueError(
            f"{source!r} is neither a folder here nor a repo on the Hub that can be reached. Check the name and the "
            "connection; a private repo needs `hf auth login` or HF_TOKEN."
        ) from error


def _find_adapter(root: Path, source: str, expert: str | None) -> Path:
    folder = root if expert is None else root / "experts" / expert
    missing = [name for name in (ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME) if not (folder / name).is_file()]
    if not missing:
        return folder
    if expert is not None:
        there = sorted(path.parent.name for path in root.glob(f"experts/*/{ADAPTER_CONFIG_NAME}"))
        raise ValueError(f"{source!r} has no expert {expert!r} (found: {', '.join(there) or 'none'}).")
    checkpoints = sorted(root.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    hint = f" Its newest checkpoint is {str(checkpoints[-1])!r}: pass that." if checkpoints else ""
    raise ValueError(f"{source!r} holds no student: it has no {' and no '.join(missing)}.{hint}")


def _check_base(base: str | None, config: PeftConfig) -> None:
    if not base:
        raise ValueError("The adapter does not name its base. Pass the base's id or folder with --base.")
    if not (is_hub_id(base) or Path(base).is_dir()):
        raise ValueError(f"The base {base!r} is neither a folder here nor a Hub id. Pass it with --base.")
    if config.is_prompt_learning:
        raise ValueError(f"An adapter of {type(config).__name__} changes no weights and cannot be merged.")
    quantised = getattr(AutoConfig.from_pretrained(base, revision=config.revision), "quantization_config", None)
    if quantised is not None:
        raise ValueError(
            f"{base!r} is quantised, and merging would round the adapter away. Name the original base with --base."
        )


def _load_tokenizer(root: Path, base: str) -> Any:
    for folder in (root, root.parent.parent):  # the second, where the folder of an expert was given
        if (folder / "tokenizer_config.json").is_file():
            return AutoTokenizer.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(base)


@torch.no_grad()
def _greedy(model: Any, tokenizer: Any) -> list[list[int]]:
    """`NEW_TOKENS` tokens for each prompt, always the most likely one."""
    sampling = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    completions = []
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        out = model.generate(**inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, **sampling)
        completions.append(out[0, inputs["input_ids"].size(1) :].tolist())
    return completions


def _check(auto: Any, folder: Path, tokenizer: Any, wanted: list[list[int]], dtype: str) -> str:
    """Load what was saved and compare it with the adapter; in a lower precision rounding may change some tokens."""
    model = auto.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise RuntimeError(f"Some weights are NaN or infinite in {dtype}. Use --dtype float32 or bfloat16.")
    pairs = [pair for a, b in zip(_greedy(model, tokenizer), wanted, strict=True) for pair in zip(a, b, strict=True)]
    equal = sum(one == other for one, other in pairs)
    if dtype == "float32" and equal < len(pairs):
        raise RuntimeError(
            f"Only {equal} of {len(pairs)} greedy tokens of the merged model equal the adapter's: it is not saved."
        )
    return f"{equal} of {len(pairs)} greedy tokens ({len(wanted)} prompts) equal the adapter's"


def _write_card(
    folder: Path, source: str, expert: str | None, revision: str | None, base: str, dtype: str, checked: str, task: str
) -> None:
    name = f"the expert `{expert}`" if expert else f"the {STUDENT}"
    origin = f"[{source}](https://huggingface.co/{source})" if is_hub_id(source) else f"a run in `{Path(source).name}`"
    at = f" at revision `{revision}`" if revision else ""
    data = ModelCardData(
        base_model=base if is_hub_id(base) else None,
        library_name="transformers",
        tags=["copd", "trl"],
        pipeline_tag=task,
    )
    versions = "\n".join(f"- {package} {package_version(package)}" for package in ("trl-copd", "transformers", "peft"))
    ModelCard(
        f"---\n{data.to_yaml()}\n---\n\n# {Path(source).name} {expert or STUDENT}, merged\n\n"
        f"{base_in_words(base)[:1].upper()}{base_in_words(base)[1:]} with {name} of {origin}{at}, trained by "
        "co-evolving policy distillation ([CoPD](https://arxiv.org/abs/2604.27083)), merged in float32 and saved in "
        f"{dtype} by `trl-copd export`. {checked}.\n\n## Versions\n\n{versions}\n\n"
        f"## Citation\n\n```bibtex\n{COPD_CITATION}\n```\n"
    ).save(folder / "README.md")


def main(argv: list[str] | None = None) -> None:
    parser = Parser(
        prog="trl-copd export",
        description="Merge the student, or an expert, into a checkpoint without adapters.",
    )
    parser.add_argument("source", help="output_dir of a run, one of its checkpoints, or a repo on the Hub")
    parser.add_argument("--output", required=True, help="folder to write; it must not exist, or be empty")
    parser.add_argument("--expert", help="an expert instead of the student")
    parser.add_argument("--revision", help="branch, tag or commit of the repo")
    parser.add_argument("--base", help="id or folder of the base, if the adapter's configuration does not name it")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="type of the saved copy")
    options = vars(parser.parse_args(argv))
    try:
        print(f"{export(**options)}; saved in {options['output']}")
    except RuntimeError as error:  # the merged model is not the adapter's
        parser.exit(1, f"{parser.prog}: {error}\n")
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
