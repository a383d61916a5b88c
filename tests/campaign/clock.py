"""A wall clock for each process, which a fault sets: `clock.c`, preloaded into the process.

libfaketime is no such clock: where it leaves the monotonic clock alone, `time.sleep` fails with EINVAL
(findings/libfaketime-sleep-without-fake-monotonic.sh).
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class WallClock:
    """The wall clock of one process."""

    def __init__(self, path: Path) -> None:
        """Make the file that holds how far the clock is off."""
        self.path = path
        path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)

    def set(self, seconds: float) -> None:
        """Let the clock be off by so many seconds from now on."""
        self._page[:] = struct.pack("d", seconds)

    def environment(self, library: Path | None) -> dict[str, str]:
        """Return the variables with which the process has this clock."""
        return {"LD_PRELOAD": str(library), "CAMPAIGN_CLOCK": str(self.path)} if library else {}


@cache
def library(folder: Path) -> Path | None:
    """Compile the clock into a folder; return None on a machine without a C compiler."""
    made = folder / "clock.so"
    if shutil.which("cc") is None:
        return None
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(made), str(SOURCE), "-ldl", "-lm"]
    return made if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0 else None
