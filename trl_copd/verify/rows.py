"""Rows of a file, one at a time, with the types that the file gives them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
BATCH = 64  # rows that are graded at once


def read_rows(path: Path) -> tuple[Iterator[dict[str, Any]], int | None]:
    """
    The rows of a file, one at a time, and their number where it is known beforehand.

    Values keep the types of the file; those of a CSV file are text, and an empty cell is `None`.

    Raises:
        ValueError: The file is missing, of another kind, or cannot be read; the message says which line.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"{str(path)!r} is not a data file: its name must end in one of {', '.join(ENDINGS)}.")
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r} (looked in {Path.cwd()}).")
    if path.suffix == ".parquet":
        from pyarrow import ArrowInvalid, parquet

        try:
            file = parquet.ParquetFile(path)
        except ArrowInvalid as error:
            raise ValueError(f"{str(path)!r} is not a Parquet file: {error}") from error
        return (row for batch in file.iter_batches(BATCH) for row in batch.to_pylist()), file.metadata.num_rows
    if path.suffix == ".jsonl":
        return _jsonl(path), sum(1 for line in path.open("rb") if line.strip())
    if path.suffix == ".csv":
        return _csv(path), None
    rows = _decode(path.read_text(encoding="utf-8-sig"), str(path))
    if not isinstance(rows, list):
        raise ValueError(f"{str(path)!r} holds a {type(rows).__name__}; a .json file must hold a list of rows.")
    return (_row(row, f"{path}, row {index}") for index, row in enumerate(rows, 1)), len(rows)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{path}, line {number}"
                yield _row(_decode(line, place), place)


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(2**31 - 1)  # a completion may be longer than Python's default of 128 KiB
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"{path}, line {reader.line_num}: the header names {len(reader.fieldnames or [])} columns, but "
                    "the row has more or fewer cells. A cell that holds a comma or a line break needs quotes."
                )
            yield {name: value or None for name, value in row.items()}


def _decode(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: this is not JSON: {error}") from error


def _row(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{place}: a row must be an object with named values, got {row!r:.80}.")
    return row
