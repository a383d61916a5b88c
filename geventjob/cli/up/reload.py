"""Changes of action and distributor files, for `geventjob up --reload`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from geventjob import config


class FileChanges:
    """The files that each child reads at its start, compared from call to call."""

    def __init__(self, settings: config.Settings) -> None:
        """Note the files as they are now."""
        self._folders = {"executor": settings.actions_dir, "distributor": settings.distributors_dir}
        self._known = {name: self._files(name) for name in self._folders}

    def found(self) -> list[str]:
        """Return the names of the children whose files have changed since the last call."""
        now = {name: self._files(name) for name in self._folders}
        changed = [name for name, files in now.items() if files != self._known[name]]
        self._known = now
        return changed

    def _files(self, name: str) -> dict[str, tuple[int, int]]:
        """Return file → time of its last change in nanoseconds, and size in bytes."""
        found = {}
        for folder in self._folders[name]:
            for file in Path(folder).glob("*.py"):
                with suppress(OSError):
                    status = file.stat()
                    found[str(file)] = (status.st_mtime_ns, status.st_size)
        return found
