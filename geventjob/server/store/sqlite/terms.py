"""The index of terms: which rows have a term, or a term with a prefix (docs/decisions/0043-searches-read-indexes.md).

The column `terms` of a row is a list of two halves, separated by an empty text: the terms that seldom change, and those
of the status message. The index is an FTS5 table without content, in which each half is a document of its own, so that
a new message rewrites few words: the rows `2 * row` and `2 * row + 1`. A word of the index is the beginning of a term
in hexadecimal digits, which keeps the order and needs no tokenizer.

FTS5 writes a thousand rows for the price of some ten. So a write only notes its rows as stale, with the column `terms`
that the index knows. The index catches up in slices when writers do not queue, or when too many rows are stale; so a
job that is added and ends soon is indexed once. A search looks at the stale rows one by one.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import lru_cache
from typing import NamedTuple

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store.attributes import (
    PROSE,
    SHORT,
    SINGLE,
    WITHOUT_TERMS,
    own_terms,
    searched,
    term,
    word_terms,
)

INDEXED = ("job",)
"""The kinds with an index of terms."""
LONGEST = 100
"""Characters of a term that are in the index; longer terms are compared in the row."""
MESSAGE = "statusMessage"
TEXTS = ("name", MESSAGE)
"""Single attributes whose beginnings are in the index too, as they have no column."""
STALE = 2_000
"""Stale rows from which the index catches up after a small transaction, and most rows of a slice: some 20 ms."""
MOST_STALE = 20_000
"""Stale rows from which the index catches up after each transaction; a search reads them in some 50 ms."""
SMALL = 16
"""Most items of a transaction that shows that writers do not queue."""
HALVES = ""
"""The text between the halves."""

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class TermsOf(NamedTuple):
    """What the column `terms` of a document follows from, kept from changes in place."""

    rest: bytes
    """The JSON of the attributes with terms, but for the message."""
    message: str | None

    @classmethod
    def document(cls, document: Document) -> TermsOf:
        """Return what the terms of a document follow from."""
        rest = {name: value for name, value in document.items() if name not in _NO_WORDS}
        return cls(_encode(rest), _message(document))


def changed_column(column_before: str, before: TermsOf, after: Document) -> str:
    """Return the column `terms` of a changed document; computed only as far as the change concerns it."""
    now = TermsOf.document(after)
    if now.rest != before.rest:
        return column(after)
    if now.message == before.message:
        return column_before
    terms = _decode(column_before)
    return _joined(terms[: terms.index(HALVES)] if HALVES in terms else terms, now.message)


def column(document: Document) -> str:
    """Return the value of the column `terms`."""
    rest = own_terms(document, _PROSE)
    if isinstance(name := document.get("name"), str):
        rest.add(term(("name",), name)[:LONGEST])
    return _joined(list(rest), _message(document))


def _message(document: Document) -> str | None:
    message = document.get(MESSAGE)
    return message if isinstance(message, str) else None


def _joined(rest: list[str], message: str | None) -> str:
    if message is not None:
        terms = _of_message(message) if len(message) <= SHORT else _of_message.__wrapped__(message)
        rest = [*rest, HALVES, *terms.difference(rest)]
    return _encode(rest).decode()


@lru_cache(1024)
def _of_message(message: str) -> frozenset[str]:
    return frozenset([term((MESSAGE,), message)[:LONGEST], *word_terms(message)])


_PROSE = tuple(name for name in PROSE if name != MESSAGE)
_NO_WORDS = (WITHOUT_TERMS - {*PROSE, *TEXTS}) | {MESSAGE}


def word(term: str) -> str:
    """Return the word of the index for a term, or for the beginning of a term."""
    return term[:LONGEST].encode().hex()


def indexed(kind: str, path: tuple[str, ...]) -> bool:
    """Return whether the index has the terms of an attribute."""
    return kind in INDEXED and searched(path) and path[0] != "acl" and (path not in SINGLE or path[0] in TEXTS)


class TermWriter:
    """The rows that a transaction has changed, noted as stale at its end; and the index, which catches up."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changed: dict[str, list[tuple[int, str | None]]] = {kind: [] for kind in INDEXED}
        self._stale = {
            kind: int(connection.execute(f"SELECT count(*) FROM {kind}_stale").fetchone()[0]) for kind in INDEXED
        }

    def change(self, kind: str, row: int, before: str | None) -> None:
        """Note that the terms of a row change; `before`: the column `terms` until now, None for a new row."""
        if kind in INDEXED:
            self._changed[kind].append((row, before))

    def clear(self) -> None:
        """Forget the changes."""
        for changed in self._changed.values():
            changed.clear()

    def write(self) -> None:
        """Write the changes. A row that was stale before keeps the terms that the index knows."""
        for kind, changed in self._changed.items():
            if changed:
                note = f"INSERT OR IGNORE INTO {kind}_stale (row, terms) VALUES (?, ?)"
                self._stale[kind] += self._connection.executemany(note, changed).rowcount
        self.clear()

    def catch_up(self, items: int) -> None:
        """Index a slice of the stale rows in a transaction of its own, if it is time after one of so many items.

        Rows stay stale where that fails: searches then read more rows, until a later attempt.
        """
        for kind, stale in self._stale.items():
            if stale >= (STALE if items <= SMALL else MOST_STALE):
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    indexed = index(self._connection, kind, STALE)
                    self._connection.execute("COMMIT")
                    self._stale[kind] -= indexed
                except sqlite3.Error:
                    log.exception("the index of terms cannot be written")
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")


def index(connection: sqlite3.Connection, kind: str, limit: int) -> int:
    """Index stale rows of a kind, in the order of rows, as FTS5 begins a new segment at each step back.

    Return the number of rows, `limit` at most.
    """
    insert = f"INSERT INTO {kind}_terms (rowid, words) VALUES (?, ?)"
    delete = f"INSERT INTO {kind}_terms ({kind}_terms, rowid, words) VALUES ('delete', ?, ?)"
    rows = (
        f"SELECT s.row, s.terms, d.terms FROM {kind}_stale AS s LEFT JOIN {kind} AS d ON d.row = s.row "
        f"ORDER BY s.row LIMIT {limit}"
    )
    found = connection.execute(rows).fetchall()
    for row, known, terms in found:
        for half, (old, new) in enumerate(zip(_halves(known), _halves(terms), strict=True)):
            if old and old != new:
                connection.execute(delete, (2 * row + half, _words(old)))
            if new and old != new:
                connection.execute(insert, (2 * row + half, _words(new)))
    connection.execute(f"DELETE FROM {kind}_stale WHERE row <= ?", (found[-1][0] if found else 0,))
    return len(found)


def _halves(column: str | None) -> tuple[set[str], set[str]]:
    """Return the halves of a column `terms`."""
    terms = _decode(column) if column else []
    cut = terms.index(HALVES) if HALVES in terms else len(terms)
    return set(terms[:cut]), set(terms[cut + 1 :])


def _words(terms: set[str]) -> str:
    return " ".join([word(term) for term in terms])
