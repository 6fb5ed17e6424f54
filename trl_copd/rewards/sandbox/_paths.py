"""What a submission's interpreter may read."""

import glob
import importlib.util
import os
import sys
from collections.abc import Sequence

from ._confine import SYSTEM


_SITES = ("/usr/lib*/python3*/site-packages", "/usr/lib*/python3*/dist-packages", "/usr/local/lib/python3*/*-packages")


def python_paths(packages: Sequence[str]) -> dict[str, list[str]]:
    """
    What a submission's interpreter may read: the standard library, and the named packages of this environment. Not all
    of site-packages, nor of another interpreter's: they may hold the data set, with tests and solutions, that the
    model is trained on.
    """
    library = os.path.dirname(os.__file__)
    site = sorted(place for place in map(_place, packages) if place)
    names = [name for package in packages for name in (package, f"{package}.libs", f"{package}.py")]
    shown = [os.path.realpath(os.path.join(place, name)) for place in dict.fromkeys(site) for name in names]
    hidden = {os.path.realpath(path) for pattern in _SITES for path in glob.glob(pattern)}
    hidden |= {os.path.join(os.path.realpath(library), name) for name in ("site-packages", "dist-packages", "test")}
    readable = [os.path.realpath(path) for path in (library, *glob.glob(os.path.join(sys.base_prefix, "lib", "lib*")))]
    packages = [path for path in shown if os.path.exists(path)]
    rules = [rule for path in (*SYSTEM, *readable) for rule in _around(os.path.realpath(path), hidden)]
    return {
        "readable": sorted(set(readable)),
        "hidden": sorted(hidden),
        "packages": packages,
        "rules": sorted({*rules, *packages}),
        "paths": [os.path.realpath(path) for path in dict.fromkeys(site)],
    }


def _place(package: str) -> str | None:
    """The folder that a package is imported from: site-packages, or any other on the path of this interpreter."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not (spec.submodule_search_locations or spec.has_location):
        return None
    where = next(iter(spec.submodule_search_locations or [spec.origin or ""]))
    return os.path.dirname(where)


def _around(path: str, hidden: set[str]) -> list[str]:
    """`path`, or what is in it but for the hidden directories: Landlock can allow, not forbid."""
    if path in hidden:
        return []
    if not any(place.startswith(path.rstrip("/") + "/") for place in hidden) or not os.path.isdir(path):
        return [path]
    return [rule for entry in os.scandir(path) for rule in _around(entry.path, hidden)]
