"""From a domain's `dataset` to rows with a `prompt`, a `solution` and the dataset's other columns."""

import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, Value, load_dataset
from datasets.exceptions import DatasetGenerationError

from ..pictures import COLUMNS


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
        if "eval_dataset" not in domain and Path(source).is_file():
            raise ValueError(
                f"Domain {name!r}: a file has no splits, so eval_split of {source!r} would be the training rows. Name "
                "another file in `eval_dataset`, or leave both out to hold out n_eval rows."
            )
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


def _load(domain: dict[str, Any], source: str, split: str) -> Dataset:
    path = Path(source)
    kind = FILES.get(path.suffix[1:])
    if kind is not None and path.is_file():
        try:
            return load_dataset(kind, data_files={split: source}, split=split)
        except DatasetGenerationError as error:
            raise ValueError(
                f"Domain {domain['name']!r}: {source!r} cannot be read as {kind}: {error.__cause__}."
            ) from error
    if kind is not None or path.is_file():
        found = "is of another kind" if path.is_file() else f"is not there (looked in {Path.cwd()})"
        raise ValueError(
            f"Domain {domain['name']!r}: the file {source!r} {found}. A dataset is a file that ends in "
            f"{', '.join('.' + ending for ending in FILES)}, a folder, or a Hub id."
        )
    return load_dataset(source, domain.get("subset"), split=split)


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
        return {"prompt": prompt} | ({"solution": fill_solution(row)} if fill_solution else {})

    return shape


def _filler(domain: dict[str, Any], key: str, dataset: Dataset) -> Callable[[dict[str, Any]], str | None]:
    """A function that fills the template `domain[key]`, by default the column `key`; `None` where a column is."""
    template = domain.get(key, f"{{{key}}}")
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        names = {re.split(r"[.\[]", field)[0] for field in fields}
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
        return None if any(value is None for value in values.values()) else template.format(**values)

    return fill
