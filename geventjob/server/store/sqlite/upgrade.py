"""Rows of older versions: their columns are computed anew from the documents, some thousands in each transaction."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from geventjob.server.store.sqlite.access import AccessLists
from geventjob.server.store.sqlite.rows import NAMES, PARTS, document, values
from geventjob.server.store.sqlite.terms import INDEXED, TermWriter, column, index
from geventjob.server.store.sqlite.totals import TotalsWriter, group

BATCH = 5_000
"""Rows of a transaction, some 200 ms."""
TOLD = 5.0
"""Seconds between two lines of the log."""

log = logging.getLogger(__name__)


class Progress:
    """Words about an upgrade, for the log and for the service manager."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._begun = self._told = time.monotonic()

    def __call__(self, what: str, *, first: bool = False) -> None:
        """Tell what is done now, unless words were told less than TOLD seconds ago; the `first` words always."""
        moment = time.monotonic()
        if first or moment - self._told > TOLD:
            self._told = moment
            words = f"upgrade of the store: {what}, {moment - self._begun:.0f} s"
            log.info("%s", words)
            self._tell(words)


def upgrade(connection: sqlite3.Connection, kind: str, progress: Progress) -> None:
    """Upgrade the rows whose column `access` still holds the readers, which begin with a line break or are empty."""
    rows = RowUpgrade(connection, kind)
    (last,) = connection.execute(f"SELECT max(row) FROM [{kind}]").fetchone()
    row = 0
    while row < (last or 0):
        progress(f"{kind} {row} of {last}", first=row == 0)
        row = rows.after(row)


class RowUpgrade:
    """The upgrade of the rows of one kind."""

    def __init__(self, connection: sqlite3.Connection, kind: str) -> None:
        self._connection = connection
        self._kind = kind
        self._access = AccessLists(connection)
        self._terms = TermWriter(connection)
        self._totals = TotalsWriter(connection)

    def after(self, row: int) -> int:
        """Upgrade a batch of the rows above this number, and return the last number of the batch."""
        columns = ", ".join(f'"{name}"' for name in NAMES)
        self._connection.execute("BEGIN IMMEDIATE")
        found = self._connection.execute(
            f"SELECT row, access < '0', {columns} FROM [{self._kind}] WHERE row > ? ORDER BY row LIMIT {BATCH}", (row,)
        ).fetchall()
        for number, is_old, *old in found:
            if is_old:
                self._renew(number, old)
        self._terms.write()
        self._totals.write()
        if self._kind in INDEXED:
            index(self._connection, self._kind, BATCH)
        self._connection.execute("COMMIT")
        return int(found[-1][0])

    def _renew(self, row: int, old: list[Any]) -> None:
        """Write the columns of a row that differ: SQLite writes the indexes of each column that is named."""
        state = document(*old[-len(PARTS) :])
        new = values(state, self._access.id_of(state), column(state))
        different = {name: is_ for name, was, is_ in zip(NAMES, old, new, strict=True) if was != is_}
        assignments = ", ".join(f'"{name}" = ?' for name in different)
        self._connection.execute(f"UPDATE [{self._kind}] SET {assignments} WHERE row = ?", (*different.values(), row))
        by_name = dict(zip(NAMES, new, strict=True))
        known = (by_name[name] for name in ("state", "action", "access", "created"))
        self._totals.add(group(self._kind, *known), state.get("duration"))  # type: ignore[arg-type]
        self._terms.change(self._kind, row, None)
