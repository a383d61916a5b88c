"""Notes of jobs that hold up their executor in a call that cannot be interrupted, for the next executor of each job.

An executor that is held up can send nothing: its hub does not run, and its lease ends before the hub runs again. So the
note is a file in the data folder, which the executors of a machine share. The executor that takes the job next runs it
apart from others, and writes the call into the job's message, where other machines find it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from geventjob.ownership import open_private, private_folder

KEPT = 7 * 86400.0
"""Seconds after which a note is removed if the job did not come back."""
LONGEST = 2000
"""Characters of a note."""


class Culprits:
    """The notes in one folder. Safe from any native thread and process; a folder that cannot be used has no notes."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        with suppress(OSError):
            for note in self._folder.iterdir():
                if note.stat().st_mtime < time.time() - KEPT:
                    note.unlink()

    def note(self, job_id: str, call: str) -> None:
        """Note the call in which this job (an id, `job/…`) holds up its executor."""
        path = self._path(job_id)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(OSError):
            private_folder(self._folder)
            with open(open_private(new), "wb") as file:
                file.write(call[:LONGEST].encode(errors="backslashreplace"))
            new.replace(path)

    def forget(self, job_id: str) -> None:
        """Remove the note: the call has returned, or the job has ended."""
        with suppress(OSError):
            self._path(job_id).unlink()

    def of(self, job_id: str) -> str:
        """Return the call that was noted for this job; empty if none was.

        Asked for each job, of which nearly none has a note: a `Path` that cannot be opened takes ten times as long.
        """
        path = f"{self._folder}/{job_id.rpartition('/')[2]}"
        if not os.path.exists(path):
            return ""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _path(self, job_id: str) -> Path:
        return self._folder / job_id.rpartition("/")[2]
