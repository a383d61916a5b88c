"""Access control lists, each kept once: a row has the id of its list, and the table `access` who may see it."""

from __future__ import annotations

import hashlib
import sqlite3

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store.attributes import SHORT, acl_terms, readers

NONE = "0"
"""The id of the list of documents without an acl."""
CACHED = 1024

_encode = msgspec.json.Encoder().encode


class AccessLists:
    """The ids of lists, for the connection that writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[bytes, str] = {}

    def id_of(self, document: Document) -> str:
        """Return the id of a document's list, which is added if it is new."""
        if "acl" not in document:
            return NONE
        acl = _encode(document["acl"])
        if acl not in self._ids:
            if len(self._ids) >= CACHED:
                self._ids.clear()
            if len(acl) > SHORT * 16:
                return self._found(acl, document)
            self._ids[acl] = self._found(acl, document)
        return self._ids[acl]

    def clear(self) -> None:
        """Forget the lists, of which a transaction that failed may have added some."""
        self._ids.clear()

    def _found(self, acl: bytes, document: Document) -> str:
        digest = hashlib.blake2b(acl, digest_size=16).digest()
        found = self._connection.execute("SELECT id FROM access WHERE digest = ?", (digest,)).fetchone()
        if found:
            return str(found[0])
        (id,) = self._connection.execute("SELECT CAST(count(*) AS TEXT) FROM access").fetchone()
        texts = "".join(map(reader_text, readers(document))), _encode(sorted(acl_terms(document))).decode()
        self._connection.execute(
            "INSERT INTO access (id, readers, terms, digest) VALUES (?, ?, ?, ?)", (id, *texts, digest)
        )
        return str(id)


def reader_text(reader: str) -> str:
    """Return the form of a reader in the column `readers`, delimited so that no reader matches a part of another."""
    escaped = reader.replace("\\", "\\\\").replace("\n", "\\n")
    return f"\n{escaped}\n"
