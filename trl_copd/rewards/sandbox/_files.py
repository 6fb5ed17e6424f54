"""Files of a program that had a directory of its own on a real disk: how much it holds, and how to be rid of it."""

import errno
import os
import stat
from collections.abc import Iterable


MOST_FILES = 4096  # in a sandbox, directories included
_ROUNDS = 1 << 17  # levels of directories; nothing that lives adds to them
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
    Delete what is in a directory. Directories are moved up before they are emptied, so that none is too deep for a
    path, and get their owner's rights back first. Nothing else may work in them meanwhile.

    Raises:
        OSError: Something is still there.
    """
    os.chmod(folder, 0o700)
    mark, moved = os.urandom(8).hex(), 0
    top = os.open(folder, _DIRECTORY)
    try:
        for _ in range(_ROUNDS):
            names = os.listdir(top)
            if not names:
                return
            for name in names:
                if not _is_directory(name, top):
                    os.unlink(name, dir_fd=top)
                    continue
                inner = _open(name, top)
                try:
                    for child in os.listdir(inner):
                        if _is_directory(child, inner):
                            os.close(_open(child, inner))
                            os.rename(child, f"{mark}-{moved}", src_dir_fd=inner, dst_dir_fd=top)
                            moved += 1
                        else:
                            os.unlink(child, dir_fd=inner)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), folder)
    finally:
        os.close(top)


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open(name: str, parent: int) -> int:
    os.chmod(name, 0o700, dir_fd=parent)  # one without the right to list or to enter it could not be emptied
    return os.open(name, _DIRECTORY, dir_fd=parent)


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
    closed = set()
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
