"""Jobs whose actions note each step in a file (tests/actions/faults.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geventjob import Client

ACTIONS = Path(__file__).parents[1] / "actions" / "faults.py"


class Notes:
    """The file in which the actions leave their lines, and the gates at which some of them wait."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[tuple[int, str, str]]:
        split = (line.split() for line in self.path.read_text().splitlines())
        return [(int(pid), job, word) for pid, job, word in split]

    def count(self, word: str) -> int:
        return sum(said == word for _, _, said in self.lines())

    def jobs(self, word: str, pid: int | None = None) -> list[str]:
        return [job for who, job, said in self.lines() if said == word and pid in (None, who)]

    # --- gates

    def close(self, *executors: str) -> None:
        """Let the action `gated` wait in these executors until `open`."""
        for executor in executors:
            self._gate(executor).touch()

    def open(self, *executors: str) -> None:
        for executor in executors:
            self._gate(executor).unlink()

    def _gate(self, executor: str) -> Path:
        return self.path.with_name(f"{self.path.name}-{executor}")


def add(client: Client, notes: Notes, count: int, action: str, seconds: float = 0, **more: Any) -> list[str]:
    job = {"action": action, "payload": {"file": str(notes.path), "seconds": seconds}, **more}
    ids = [id for id in client.bulk_add([job] * count) if isinstance(id, str)]
    assert len(ids) == count
    return ids
