"""What a submission's interpreter may read."""

import glob
import os
import sys
import sysconfig
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
    site = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    names = [name for package in packages for name in (package, f"{package}.libs", f"{package}.py")]
    shown = [os.path.realpath(os.path.join(place, name)) for place in site for name in names]
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
        "paths": [os.path.realpath(path) for path in site],
    }


def _around(path: str, hidden: set[str]) -> list[str]:
    """`path`, or what is in it but for the hidden directories: Landlock can allow, not forbid."""
    if path in hidden:
        return []
    if not any(place.startswith(path.rstrip("/") + "/") for place in hidden) or not os.path.isdir(path):
        return [path]
    return [rule for entry in os.scandir(path) for rule in _around(entry.path, hidden)]
