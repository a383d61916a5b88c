"""Notes under the name of an election."""

from __future__ import annotations

from typing import cast

from geventjob.coordination.sqlite.database import Transaction


def load(tx: Transaction, election: str) -> str | None:
    """Return the note that was last saved, as JSON."""
    return cast("str | None", tx.value("SELECT note FROM note WHERE election = ?", election))


def save(tx: Transaction, election: str, note: str) -> None:
    """Save a note. Needs SYNC."""
    tx.change("INSERT OR REPLACE INTO note VALUES (?, ?)", election, note)
