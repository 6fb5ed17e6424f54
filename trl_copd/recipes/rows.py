"""From a domain's `dataset` to rows with a `prompt`, a `solution` and the dataset's other columns."""

import csv
import itertools
import os
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, ReadInstruction, Value, concatenate_datasets, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError

from ..pictures import COLUMNS


# What pandas reads as a missing cell
MISSING = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
]  # fmt: skip
FILES = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet"}  # ending: builder of `datasets`


def load_rows(domain: dict[str, Any], n_train: int, n_eval: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    Rows to train on and held-out rows of a domain that names a `dataset`.

    Raises:
        ValueError: No such file, no such column, or too few rows; the message names the domain and what to change.
    """
    name, source = domain["name"], domain["dataset"]
    rows = _load(domain, source, domain.get("split", "train"))
    if "eval_dataset" in domain or "eval_split" in domain:
        _check_apart(domain, rows)
        held_out = _load(domain, domain.get("eval_dataset", source), domain.get("eval_split", "train"))
    else:
        if len(rows) <= n_eval:
            raise ValueError(
                f"Domain {name!r}: {source!r} has {len(rows)} rows; holding out n_eval={n_eval} would leave none to "
                "train on. Lower n_eval, or name an eval_split or an eval_dataset."
            )
        parts = rows.train_test_split(test_size=n_eval, seed=0)  # the same held-out rows for every seed
        rows, held_out = parts["train"], parts["test"]
    rows = rows.shuffle(seed=seed).take(min(n_train, len(rows)))
    held_out = held_out.take(min(n_eval, len(held_out)))
    return _shape(domain, rows), _shape(domain, held_out)


def _check_apart(domain: dict[str, Any], rows: Dataset) -> None:
    """Refuse held-out rows that are training rows."""
    source, other = domain["dataset"], domain.get("eval_dataset", domain["dataset"])
    if Path(source).expanduser().resolve() != Path(other).expanduser().resolve():
        return
    split, held_out = (domain.get(key, "train") for key in ("split", "eval_split"))
    kind, sizes = source_kind(source), _sizes(source, rows)
    # whatever a file's or a saved data set's only split is called, it is all of it
    single = kind in ("file", "saved")
    parts = [re.sub(r"^[^\[]*", next(iter(sizes)), one) if single and sizes else one for one in (split, held_out)]
    if _overlap(*parts, sizes):
        raise ValueError(
            f"Domain {domain['name']!r}: held-out rows of {source!r} would be the training rows: split={split!r} "
            f"and eval_split={held_out!r} share some{' (it has no splits)' if single else ''}. Name another split, or "
            "other rows in `eval_dataset`, or leave both out to hold out n_eval rows."
        )


def _sizes(source: str, rows: Dataset) -> dict[str, int]:
    """Rows of each split of a source, as far as they were recorded."""
    kind = source_kind(source)
    if kind in ("saved", "splits"):
        saved = load_from_disk(os.path.expanduser(source))
        return {str(name): len(part) for name, part in _splits_of(saved).items()}
    return {str(name): info.num_examples for name, info in (rows.info.splits or {}).items()}


def _splits_of(saved: Dataset | DatasetDict) -> DatasetDict:
    return saved if isinstance(saved, DatasetDict) else DatasetDict(train=saved)


def _overlap(split: str, other: str, sizes: dict[str, int]) -> bool:
    """Whether two splits, such as `train[:10%]`, have a row in common; by their names alone where no size is known."""
    try:
        ranges = [ReadInstruction.from_spec(spec).to_absolute(sizes) for spec in (split, other)]
    except (ValueError, AssertionError):  # sizes were not recorded, or there is no such split, which `_load` says
        return split == other
    return any(
        one.splitname == two.splitname and max(one.from_, two.from_) < min(one.to, two.to)
        for one, two in itertools.product(*ranges)
    )


def source_kind(source: str) -> str:
    """What `dataset` names: a `"file"`, a folder of `save_to_disk` with one data set (`"saved"`) or with several
    (`"splits"`), or `"other"`: a folder of files, or a Hub id."""
    path = Path(source).expanduser()
    if path.is_file() or path.suffix[1:].lower() in FILES:
        return "file"
    markers = {"dataset_dict.json": "splits", "state.json": "saved"}
    return next((kind for marker, kind in markers.items() if (path / marker).is_file()), "other")


def _load(domain: dict[str, Any], source: str, split: str) -> Dataset:
    source = os.path.expanduser(source)
    path = Path(source)
    kind = FILES.get(path.suffix[1:].lower())
    if (kind is not None or path.is_file()) and not (kind is not None and path.is_file()):
        found = "is of another kind" if path.is_file() else f"is not there (looked in {Path.cwd()})"
        raise ValueError(
            f"Domain {domain['name']!r}: the file {source!r} {found}. A dataset is a file that ends in "
            f"{', '.join('.' + ending for ending in FILES)}, a folder, or a Hub id."
        )
    try:
        if kind is not None:
            options = _texts_of_csv(domain, source) if kind == "csv" else {}
            named = split.partition("[")[0]  # a file is its only split; `train[:100]` is a part of it
            return load_dataset(kind, data_files={named: source}, split=split, **options)
        if source_kind(source) in ("saved", "splits"):
            splits = _splits_of(load_from_disk(source))
            sizes = {str(name): len(part) for name, part in splits.items()}
            parts = ReadInstruction.from_spec(split).to_absolute(sizes)
            return concatenate_datasets([splits[part.splitname].select(range(part.from_, part.to)) for part in parts])
        return load_dataset(source, domain.get("subset"), split=split)
    except DatasetGenerationError as error:
        reason, cause = f"cannot be read as {kind or 'a dataset'}: {error.__cause__}", error
    except StopIteration as error:
        reason, cause = "is empty", error
    except (OSError, ValueError, KeyError) as error:  # no such folder, id, subset or split, or no network
        reason, cause = f"cannot be loaded: {error}", error
    raise ValueError(f"Domain {domain['name']!r}: {source!r} {reason.rstrip('.')}.") from cause


def _texts_of_csv(domain: dict[str, Any], source: str) -> dict[str, Any]:
    """
    Options with which pandas leaves the texts of a domain as they stand: elsewhere it takes `007` for 7, and `None`
    for a missing cell.
    """
    texts = _text_columns(domain)
    with open(source, newline="", encoding="utf-8-sig") as file:
        missing = {name: [""] if name in texts else MISSING for name in next(csv.reader(file))}
    return {"converters": dict.fromkeys(texts, str), "keep_default_na": False, "na_values": missing}


def _text_columns(domain: dict[str, Any]) -> set[str]:
    """The columns that the domain's `prompt` and `solution` are made of."""
    templates = [domain.get(key, f"{{{key}}}") for key in ("prompt", "solution")]
    try:
        return {name for template in templates for name in _names(template)}
    except ValueError:  # `_filler` says what is wrong
        return set()


def _names(template: str) -> set[str]:
    """The columns that a template names; ValueError for one that is none."""
    fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    return {re.split(r"[.\[]", field)[0] for field in fields}


def _shape(domain: dict[str, Any], dataset: Dataset) -> Dataset:
    for name in ("prompt", "solution"):
        if isinstance(dataset.features.get(name), Value):  # `map` would make a number of a number's text again
            dataset = dataset.cast_column(name, Value("string"))
    return dataset.map(_row_shaper(domain, dataset))


def _row_shaper(domain: dict[str, Any], dataset: Dataset) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Fill the domain's templates, `prompt` and `solution`, with the columns of a row."""
    fill_prompt = _filler(domain, "prompt", dataset)
    # a verifier that reads other columns, such as `tests`, needs no solution
    has_solution = "solution" in domain or "solution" in dataset.column_names
    fill_solution = _filler(domain, "solution", dataset) if has_solution else None
    pictured = any(name in dataset.column_names for name in COLUMNS)
    chat = domain.get("chat", True)
    if not chat and "system" in domain:
        raise ValueError(f"Domain {domain['name']!r}: `system` is a message, so it needs chat: true.")
    system = [{"role": "system", "content": domain["system"]}] if "system" in domain else []

    def shape(row: dict[str, Any]) -> dict[str, Any]:
        if "prompt" not in domain and isinstance(row["prompt"], list):
            prompt = system + row["prompt"]
        else:
            prompt = fill_prompt(row)
            if prompt is not None and pictured:  # a picture's place, as many datasets mark it; it comes first here
                prompt = prompt.replace("<image>", "").strip()
            if prompt is None:
                raise ValueError(f"Domain {domain['name']!r}: a row has no question: {row!r:.200}. Leave it out.")
            prompt = [*system, {"role": "user", "content": prompt}] if chat else prompt
        if fill_solution is None or ("solution" not in domain and isinstance(row["solution"], list | dict)):
            return {"prompt": prompt}  # a verifier that takes several letters, or a mapping, reads them as they stand
        return {"prompt": prompt, "solution": fill_solution(row)}

    return shape


def _filler(domain: dict[str, Any], key: str, dataset: Dataset) -> Callable[[dict[str, Any]], str | None]:
    """A function that fills the template `domain[key]`, by default the column `key`; `None` where a column is."""
    template = domain.get(key, f"{{{key}}}")
    try:
        names = _names(template)
    except ValueError as error:
        names = set()
        problem = str(error)
    else:
        problem = ", ".join(f"no column {name!r}" for name in sorted(names - set(dataset.column_names)))
    if problem:
        raise ValueError(
            f"Domain {domain['name']!r}: `{key}` is {template!r}, but: {problem} (found: "
            f"{', '.join(dataset.column_names)}). Set `{key}` to a template over the columns, such as "
            f"'{{{dataset.column_names[0]}}}'; double a literal brace."
        )

    def fill(row: dict[str, Any]) -> str | None:
        values = {name: row[name] for name in names}  # no others: to read a picture is to decode it
        if any(value is None for value in values.values()):
            return None
        try:
            return template.format(**values)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(
                f"Domain {domain['name']!r}: `{key}` is {template!r}, which cannot be filled with {values!r:.200}: "
                f"{error}. Mend the template."
            ) from error

    return fill
