"""Drop-in files in the processes that multiprocessing starts anew, by `spawn` or `forkserver`.

Such a process imports the main module of its parent, and the modules of all functions and objects that the parent hands
over. This module replaces the main module of an executor, which would patch and load the whole engine, and it finds
the modules of drop-in files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from geventjob.plugins.dropins import finder

FOLDERS = "GEVENTJOB_PLUGIN_FOLDERS"
"""The environment variable with the drop-in folders, as a JSON list."""


def share(folders: Sequence[str]) -> None:
    """Let processes that multiprocessing starts from this one import the files of these drop-in folders."""
    os.environ[FOLDERS] = json.dumps([str(Path(folder).resolve()) for folder in folders])
    sys.modules["__main__"].__spec__ = find_spec("geventjob.plugins.spawned")


if __name__ == "__mp_main__":
    finder.open(map(Path, json.loads(os.environ.get(FOLDERS, "[]"))))
