"""Control groups (cgroup v2) for workers, where the service manager has delegated a part of the tree.

systemd delegates the group of a unit with `Delegate=yes`. A group with controllers for its children must hold no
process itself, so the processes of the unit move into a group `executor` beside those of the workers.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

OWN = "executor"
"""The group of all processes but workers."""
CONTROLLERS = "+memory +pids"
TASKS = 4096
"""Most processes and threads of a worker."""


class Groups:
    """The groups of workers below a group that is delegated to this process."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._left: set[Path] = set()

    @staticmethod
    def delegated() -> Groups | None:
        """Return the groups of this process, ready for use; None where none are delegated, or none can be used."""
        try:
            top = own_group()
            if top is not None and top.name == OWN:  # an executor that was started again, as by `geventjob up`
                top = top.parent
            if top is None or not may_use(top):
                return None
            found = Groups(top)
            found.prepare(CONTROLLERS)
        except OSError:
            return None
        return found

    def prepare(self, controllers: str) -> None:
        """Move all processes of the group into a group below, and let the kernel count for its children.

        Raises OSError.
        """
        own = self._top / OWN
        own.mkdir(exist_ok=True)
        while pids := (self._top / "cgroup.procs").read_text().split():
            for pid in pids:
                with suppress(ProcessLookupError):
                    (own / "cgroup.procs").write_text(pid)
        (self._top / "cgroup.subtree_control").write_text(controllers)

    def make(self, worker: int, memory: int | None) -> Path | None:
        """Make the group of a worker, and return its folder; None for a group that cannot bound the worker."""
        try:
            return self._made(self._folder(worker), memory)
        except OSError:
            return None

    def _made(self, folder: Path, memory: int | None) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "pids.max").write_text(str(TASKS))
        if memory is not None:
            (folder / "memory.max").write_text(str(memory))
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):  # not in each kernel
                with suppress(OSError):
                    (folder / name).write_text(value)
        return folder

    def end(self, worker: int, memory: int, cpu: float) -> tuple[int, float, bool]:
        """End the group of a worker with all that is left in it.

        Returns the most bytes, the seconds of CPU, and whether the memory was not enough; the first two as given where
        the kernel does not tell.
        """
        folder = self._folder(worker)
        with suppress(OSError):
            (folder / "cgroup.kill").write_text("1")
        with suppress(OSError, ValueError):
            memory = int((folder / "memory.peak").read_text())
        with suppress(OSError, KeyError):
            cpu = int(_values(folder / "cpu.stat")["usage_usec"]) / 1e6
        over = False
        with suppress(OSError, KeyError):
            over = int(_values(folder / "memory.events")["oom_kill"]) > 0
        self._left.add(folder)
        self.remove()
        return memory, cpu, over

    def _folder(self, worker: int) -> Path:
        return self._top / f"worker-{os.getpid()}-{worker}"

    def remove(self) -> None:
        """Remove the groups in which no process is left."""
        for folder in list(self._left):
            try:
                folder.rmdir()
            except OSError as error:
                if error.errno == errno.EBUSY:
                    continue
            self._left.discard(folder)


def own_group() -> Path | None:
    """Return the folder of this process's group; None without cgroup v2."""
    own = next((line[3:] for line in _lines("/proc/self/cgroup") if line.startswith("0::")), "/")
    mounts = (line.split(" ") for line in _lines("/proc/self/mountinfo"))
    place = next((fields[4] for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"), None)
    return Path(place) / own.lstrip("/") if place and own != "/" else None


def may_use(top: Path) -> bool:
    """Return whether a group was delegated to this process, with the control of memory."""
    if "memory" not in (top / "cgroup.controllers").read_text().split():
        return False
    if os.geteuid() and (top / "cgroup.procs").stat().st_uid == os.geteuid():
        return True
    for name in ("user.delegate", "trusted.delegate"):  # systemd's marks, of newer and of older versions
        with suppress(OSError):
            return os.getxattr(top, name) == b"1"
    return False


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _values(path: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in path.read_text().splitlines())
