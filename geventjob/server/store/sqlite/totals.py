"""Totals: how many documents there are by kind, state, action, acl and hour of `created`, kept with each write.

A count over nothing but these attributes sums totals instead of reading a million entries of an index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Union

from geventjob.server.store.attributes import Path

COUNTED: tuple[Path, ...] = (("state",), ("action",))
"""The attributes by which totals are kept, beside the acl and `created`."""
CREATED: Path = ("created",)
HOUR = len("2026-11-29T08")
"""Characters of a date that name the hour. In the totals, `created` has no more."""
SUMMED: Path = ("duration",)
"""The attribute whose number and sum of values are kept too: whole seconds, which add up exactly."""

Text = Union[str, None]
Group = tuple[str, Text, Text, str, Text]
"""Kind, state, action, id of the acl, `created`."""

_KEY = "kind, ifnull(created, 0), access, ifnull(state, 0), ifnull(action, 0)"
"""0 stands for a missing value: no text equals a number."""
_ADD = (
    "INSERT INTO totals (kind, state, action, access, created, n, timed, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    f"ON CONFLICT ({_KEY}) DO UPDATE SET n = n + excluded.n, timed = timed + excluded.timed, "
    "seconds = seconds + excluded.seconds"
)
_FORGET = (
    "DELETE FROM totals WHERE n = 0 AND kind = ? AND ifnull(state, 0) = ifnull(?, 0) AND ifnull(action, 0) = "
    "ifnull(?, 0) AND access = ? AND ifnull(created, 0) = ifnull(?, 0)"
)
TABLES = (
    "TABLE totals (kind TEXT, state TEXT, action TEXT, access TEXT, created TEXT, n INTEGER, timed INTEGER, "
    "seconds INTEGER)",
    f"UNIQUE INDEX totals_key ON totals ({_KEY})",
)


def group(kind: str, state: Text, action: Text, access: str, created: Text) -> Group:
    """Return the group of a document."""
    return kind, state, action, access, created[:HOUR] if created else created


class TotalsWriter:
    """The changes of the totals in one transaction, written at its end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changes: dict[Group, list[int]] = {}

    def add(self, group: Group, duration: object, number: int = 1) -> None:
        """Count a document of a group with this `duration`; `number` -1: no longer."""
        change = self._changes.setdefault(group, [0, 0, 0])
        change[0] += number
        if isinstance(duration, int):
            change[1] += number
            change[2] += number * duration

    def clear(self) -> None:
        """Forget the changes."""
        self._changes.clear()

    def write(self) -> None:
        """Write the changes."""
        changes = [(group, change) for group, change in self._changes.items() if any(change)]
        self._connection.executemany(_ADD, [(*group, *change) for group, change in changes])
        self._connection.executemany(_FORGET, [group for group, change in changes if change[0] < 0])
        self._changes.clear()


def hours(bounds: Iterable[str]) -> list[str]:
    """Return the hours in which these instants lie: of these, documents lie on both sides of a bound."""
    return sorted({bound[:HOUR] for bound in bounds})
