"""Drop-in files in the processes that multiprocessing starts anew, by `spawn` or `forkserver`.

Such a process imports what its parent names: the main module, and that of each function and object that is handed
over. This module stands in for the main module of an executor, which would patch and load the whole engine, and finds
the modules of drop-in files, which lie in no package.
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
"""The environment variable that tells them the drop-in folders, as a JSON list."""


def share(folders: Sequence[str]) -> None:
    """Let processes that multiprocessing starts from here import the files of these drop-in folders."""
    os.environ[FOLDERS] = json.dumps([str(Path(folder).resolve()) for folder in folders])
    sys.modules["__main__"].__spec__ = find_spec("geventjob.plugins.spawned")


if __name__ == "__mp_main__":
    finder.open(map(Path, json.loads(os.environ.get(FOLDERS, "[]"))))
