"""How an old distributor started itself."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

from geventjob.cli.isolated import isolated

PREFIX = "job_distributor_"


def main(command: type) -> None:
    """Become `geventjob-distributor` for the distributor of this class, with the options that the script was given.

    It finds all that lies in the script's folder, and refuses two of one name.
    """
    script = Path(inspect.getfile(command)).resolve()
    found = ["--distributors-dir", str(script.parent), script.stem.removeprefix(PREFIX)]
    os.execv(sys.executable, isolated("geventjob.cli.distributor", *sys.argv[1:], *found))  # noqa: S606
