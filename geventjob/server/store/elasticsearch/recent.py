"""Documents that this server has written a moment ago, which the next write of the same document need not read.

A job is written several times within seconds, mostly through one server. A read by id of a document that was written
since the last refresh makes Elasticsearch refresh the index, which costs more than a write.
"""

from __future__ import annotations

from collections import OrderedDict

from geventjob.server.store.elasticsearch.bulk import StoredDocument

BYTES = 32 << 20
"""Most bytes of documents that are kept."""
AROUND = 600
"""Bytes that a kept document takes besides its JSON."""


class RecentDocuments:
    """The documents that were written last, as far as BYTES hold them.

    Another server may have written a document since. A write on a kept version is refused by Elasticsearch then; any
    other conclusion from a kept document needs a read.
    """

    def __init__(self) -> None:
        self._size = 0
        self._kept: OrderedDict[str, StoredDocument] = OrderedDict()

    def take(self, id: str) -> StoredDocument | None:
        """Remove and return a document; None for a document that is not kept."""
        found = self._kept.pop(id, None)
        if found is not None:
            self._size -= _size(found)
        return found

    def keep(self, id: str, document: StoredDocument) -> None:
        """Keep a document as it was written, in place of an earlier state; drop the oldest documents for it."""
        self.take(id)
        self._kept[id] = document
        self._size += _size(document)
        while self._size > BYTES:
            self.take(next(iter(self._kept)))


def _size(document: StoredDocument) -> int:
    return len(bytes(document.source.document)) + AROUND
