"""Results on disk: one JSON object a line, each appended when its run is done."""

import json
import os
import threading
from pathlib import Path
from typing import Any


class Results:
    """
    A results file; a run is found in it by what was run and with which seed.

    Args:
        path (`Path`): The file; it need not be there. A line that was cut off counts as not there.
    """

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.Lock()
        self.records: dict[tuple[str, int], dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.records[record["key"], record["seed"]] = record

    def get(self, key: str, seed: int) -> dict[str, Any] | None:
        return self.records.get((key, seed))

    def add(self, record: dict[str, Any]) -> None:
        """Append a record, on disk before this returns; a line that was cut off before it stays by itself."""
        with self._lock:
            self.records[record["key"], record["seed"]] = record
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and self.path.stat().st_size > 0 and self.path.read_bytes()[-1:] != b"\n"
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" * torn + json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
