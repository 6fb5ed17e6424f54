"""Files of a program that had a directory of its own on a real disk: how much it holds, and how to be rid of it."""

import errno
import os
import stat
from collections.abc import Iterable


MOST_FILES = 4096  # in a sandbox, directories included
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove(folder: str) -> None:
    """
    Delete a directory and all that is in it, whatever modes, names and depths a program gave it.

    Raises:
        OSError: Something is still there.
    """
    empty(folder)
    os.rmdir(folder)


def empty(folder: str) -> None:
    """
    Delete what is in a directory. Directories get their owner's rights back first; none is too deep, as each is opened
    from the one above it or below it. Nothing else may work in them meanwhile. What is mounted below the directory,
    such as a virtual environment under /tmp, stays, with the directories that lead to it.

    Raises:
        OSError: Something is still there.
    """
    os.chmod(folder, 0o700)
    here = os.open(folder, _DIRECTORY)
    device = os.fstat(here).st_dev
    try:
        directories, mounted = _delete_files(here, device)
        # of the directories from the top to here: names, what is still to delete, what stays
        names, pending, staying = [""], [directories], [mounted]
        while True:
            if pending[-1]:
                names.append(pending[-1].pop())
                os.chmod(names[-1], 0o700, dir_fd=here)
                here = _move(here, names[-1])
                directories, mounted = _delete_files(here, device)
                pending.append(directories)
                staying.append(mounted)
            elif len(names) > 1:
                pending.pop()
                here, name = _move(here, ".."), names.pop()
                if staying.pop():
                    staying[-1].add(name)
                else:
                    os.rmdir(name, dir_fd=here)
            else:
                break
        if left := sorted(set(os.listdir(here)) - staying[0]):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), f"{folder}: {left[:3]}")
    finally:
        os.close(here)


def _delete_files(folder: int, device: int) -> tuple[list[str], set[str]]:
    """Deletes all but directories, whose names are returned, and what is mounted there: names that stay."""
    directories, mounted = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_dev != device:
                mounted.add(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return directories, mounted


def _move(folder: int, name: str) -> int:
    other = os.open(name, _DIRECTORY, dir_fd=folder)
    os.close(folder)
    return other


def held(folder: str, pids: Iterable[int], most: int) -> tuple[int, set[int]]:
    """
    Bytes on the disk that a program holds: what is in its directory, and files that have no name any more but are open
    or mapped in its processes. Also which of these could not be looked at.

    Args:
        folder (`str`): The directory.
        pids (`Iterable[int]`): Processes of the program.
        most (`int`): What it may hold. More than this is returned where it cannot be counted: too many files, or a
            directory that cannot be listed.
    """
    sizes: dict[tuple[int, int], int] = {}
    closed: set[int] = set()
    if not _add_tree(sizes, folder):
        return most + 1, closed
    for pid in pids:
        try:
            _add_nameless(sizes, pid, folder, most)
        except PermissionError:
            closed.add(pid)
        except (OSError, ValueError):  # it ended meanwhile
            continue
    return sum(sizes.values()), closed


def _add_tree(sizes: dict[tuple[int, int], int], folder: str) -> bool:
    """All that is in a directory; whether it can be counted."""
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    try:
                        _add(sizes, found := entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        pending.append(entry.path)
                    if len(sizes) > MOST_FILES:
                        return False
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError:
            return False
    return True


def _add(sizes: dict[tuple[int, int], int], found: os.stat_result) -> None:
    sizes[found.st_dev, found.st_ino] = 512 * found.st_blocks


def _add_nameless(sizes: dict[tuple[int, int], int], pid: int, folder: str, most: int) -> None:
    """Files that are open, then those that are mapped: of these the kernel tells all but the size."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found = os.stat(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and not found.st_nlink:
            _add(sizes, found)
    with open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            if line.endswith(b"(deleted)\n") and os.fsencode(folder) in line:
                _, _, _, device, inode, _ = line.split(maxsplit=5)
                major, minor = device.split(b":")
                sizes.setdefault((os.makedev(int(major, 16), int(minor, 16)), int(inode)), most)
