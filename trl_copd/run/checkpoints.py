"""
When a checkpoint is complete: its manifest, written last, names every file with its size and checksum. No torch here.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from .folder import MANIFEST_FILE


logger = logging.getLogger(__name__)

CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def write_manifest(folder: str | Path, resumable: bool, expected: list[str]) -> None:
    """
    Declare a checkpoint complete: bring all of its files to the disk, then name them in the manifest, in one step.

    Args:
        folder (`str` or `Path`): The checkpoint, all of whose files are written.
        resumable (`bool`): Whether it holds the state of the run, or adapters alone (`save_only_model`).
        expected (`list[str]`): Files that must be there, such as each process's own.

    Raises:
        OSError: An expected file is missing, or the disk is full.
    """
    folder = Path(folder)
    missing = [name for name in expected if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {missing[0]!r}, which a process of the run should have written")
    files = {}
    for path in _files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())  # or a machine that stops could keep the manifest and lose what it names
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": checksum}
    for path in (folder, *filter(Path.is_dir, folder.rglob("*"))):
        _sync_folder(path)
    write_whole(folder / MANIFEST_FILE, {"resumable": resumable, "files": files})


def write_whole(path: Path, content: Any) -> None:
    """Write JSON so that a reader finds the old file or all of the new one, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def defect(folder: str | Path) -> str | None:
    """Why a checkpoint cannot be resumed from, or `None` if it is complete. Reads all of it, for the checksums."""
    folder = Path(folder)
    if not (folder / MANIFEST_FILE).is_file():
        return f"it has no {MANIFEST_FILE}, which is written last: the run ended while it was saved"
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        files = {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return f"its {MANIFEST_FILE} cannot be read ({error!r})"
    for name, (size, checksum) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name!r} is missing"
        if path.stat().st_size != size:
            return f"{name!r} has {path.stat().st_size} bytes instead of {size}"
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != checksum:
                return f"{name!r} is not what was written: its checksum differs"
    if not manifest.get("resumable"):
        return "it holds no state of the run, because save_only_model=True"
    return None


def last_checkpoint(output_dir: str | Path) -> str | None:
    """
    The newest complete checkpoint of a run, or `None`.

    A newer one that is torn is skipped, with a warning that says why.
    """
    for folder in reversed(list_checkpoints(output_dir)):
        reason = defect(folder)
        if reason is None:
            return str(folder)
        logger.warning(f"{folder} is skipped: {reason}.")
    return None


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """The `checkpoint-N` folders, complete or not, oldest first."""
    folders = [(CHECKPOINT.fullmatch(path.name), path) for path in Path(output_dir).glob("checkpoint-*")]
    return [path for _, path in sorted((int(m[1]), path) for m, path in folders if m is not None and path.is_dir())]


def warn_of_earlier(output_dir: str | Path) -> None:
    """Say that a run which starts anew has checkpoints of an earlier one in its folder."""
    earlier = list_checkpoints(output_dir)
    if earlier:
        logger.warning(
            f"{str(output_dir)!r} holds checkpoints of an earlier run, up to {earlier[-1].name}, and this run starts "
            "anew. It overwrites those of the same round. Resuming with True later takes the checkpoint of the "
            "highest round, from whichever run. Remove them, choose another output_dir, or resume with "
            "resume_from_checkpoint=True."
        )


def remove_torn(output_dir: str | Path) -> None:
    """Remove checkpoints that were never completed, so that rotation keeps none of them in a complete one's place."""
    for folder in list_checkpoints(output_dir):
        if not (folder / MANIFEST_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def remove(folder: str | Path) -> None:
    """Remove a checkpoint, if it is there; its manifest first, so that a half-removed one does not look complete."""
    (Path(folder) / MANIFEST_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_FILE)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot; the files themselves are on the disk
        pass
    finally:
        os.close(descriptor)
