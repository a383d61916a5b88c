"""The start of an old distributor as a script."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

from geventjob.isolated import isolated

PREFIX = "job_distributor_"


def main(command: type) -> None:
    """Replace this process by `geventjob-distributor` for the distributor of a class, with the script's options.

    The command finds all files in the script's folder, and refuses two distributors of one name.
    """
    script = Path(inspect.getfile(command)).resolve()
    found = ["--distributors-dir", str(script.parent), script.stem.removeprefix(PREFIX)]
    os.execv(sys.executable, isolated("geventjob.cli.distributor", *sys.argv[1:], *found))  # noqa: S606
