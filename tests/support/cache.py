"""Files that take long to make and serve all later test runs, in the cache folder of the user."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cached(name: str, make: Callable[[Path], object]) -> Path:
    """Return the cached file or folder of this name, made by `make` on the first call; safe beside other test runs.

    `make` gets a path in an empty folder, which is deleted afterwards.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geventjob"
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / name
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                make(Path(folder) / name)
                (Path(folder) / name).rename(made)
    return made
