"""What is remembered under an election's name."""

from __future__ import annotations

from typing import cast

from geventjob.coordination.sqlite.database import Transaction


def load(tx: Transaction, election: str) -> str | None:
    """The note last remembered, as JSON."""
    return cast("str | None", tx.value("SELECT note FROM note WHERE election = ?", election))


def save(tx: Transaction, election: str, note: str) -> None:
    """Needs SYNC."""
    tx.change("INSERT OR REPLACE INTO note VALUES (?, ?)", election, note)
