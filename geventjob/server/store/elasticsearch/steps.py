"""The steps of each write: generators that yield requests to the cluster and receive the answers.

Optimistic concurrency: a write names the version that it replaces, or requires that no document exists. On a conflict
the document is read again, and the change is applied to the new state. What this server has written a moment ago is not
read before the next write (recent.py). Each write leaves a unique mark in the document:
after a lost answer, the mark shows that the write was done.

A unique key is a document in the index of keys, whose id is derived from the key, and which names the document that
claims the key. A claim of a missing document is left over from a server that died between two steps of an insert or of
a delete. Another insert may take such a claim over, after putting a tombstone in the place of the missing document
(docs/decisions/0008-a-unique-key-is-a-claim.md).
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar, Union

import msgspec

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.store.base import Change, DuplicateKey, Insert, NoSuchDocument, StoreRefused
from geventjob.server.store.elasticsearch.bulk import Put, Read, Remove, StoredDocument, Write
from geventjob.server.store.elasticsearch.indexed import (
    IndexedSource,
    KeyClaim,
    decode,
    encode,
    key_entry,
    source,
    tombstone,
)
from geventjob.server.store.elasticsearch.mapping import KEYS
from geventjob.server.store.elasticsearch.recent import RecentDocuments
from geventjob.server.store.elasticsearch.searching import Hit

CLAIMS = 5
"""Attempts of an insert to claim a key against competing inserts."""

Result = Union[Document, Exception, None]
Outcome = TypeVar("Outcome")
Asking = Generator[Union[Read, Write], Any, Outcome]
"""Generator that yields requests of bulk.py and receives the answers; an exception as answer is thrown in."""


class Steps:
    """The steps of each kind of item. An error that leaves the steps means that nothing was written."""

    def __init__(self) -> None:
        self._recent = RecentDocuments()
        self._marks = map(f"{secrets.token_hex(6)}-{{:x}}".format, count())

    def update(self, kind: str, id: str, changes: Sequence[Change]) -> Asking[list[Result]]:
        """Apply changes to a document in one write, and return their results."""
        mark: str | None = None
        outcomes: list[Result] = []
        recent = self._recent.take(id)
        while True:
            found = recent or (yield Read(kind, id))
            if mark is not None and (found.source.mark if found else "") == mark:
                return outcomes  # an earlier write was done, and its answer lost
            if found is None or found.source.dead:
                return [NoSuchDocument(id) for _ in changes]
            before = bytes(found.source.document)
            after, document, outcomes = _changed(before, id, changes)
            was_recent, recent = recent is not None, None
            if after == before and was_recent:
                continue  # only a write proves that another server has not written since
            if after == before:
                return outcomes
            mark = next(self._marks) if after else ""
            try:
                if after is None:
                    done = yield Remove(kind, id, found.version)
                else:
                    was = IndexedSource(msgspec.Raw(after), found.source.key, found.source.born, mark)
                    done = yield Put(kind, id, source(document, was), found.version)
            except (StoreRefused, ValueError) as error:
                return [outcome if isinstance(outcome, Exception) else error for outcome in outcomes]
            if done is not None:
                if after is None:
                    yield from _free(found.source.key)
                else:
                    self._recent.keep(id, StoredDocument(was, done))
                return outcomes

    def delete(self, kind: str, hit: Hit) -> Asking[Result]:
        """Delete a match in the version that was found, and return the document; None if the document has changed."""
        if (yield Remove(kind, hit.id, hit.version)) is None:
            return None
        yield from _free(hit.source.key)
        return decode(hit.source.document)

    def insert(self, kind: str, item: Insert) -> Asking[Result]:
        """Insert a document, and return the document. Raises DuplicateKey, StoreRefused."""
        id, raw, mark = item.document["id"], encode(item.document), next(self._marks)
        claim = None
        if item.key is not None:
            claim = yield from self._claim(kind, item.key, id)
        new = IndexedSource(msgspec.Raw(raw), claim, mark, mark)
        try:
            done = yield Put(kind, id, source(item.document, new))
        except (StoreRefused, ValueError):
            yield from _free(claim)
            raise
        if done is not None:
            self._recent.keep(id, StoredDocument(new, done))
            return item.document
        found = yield Read(kind, id)
        if found is not None and found.source.born == mark:
            return item.document  # an earlier write was done, and its answer lost
        yield from _free(claim)
        if found is None or found.source.dead:  # another attempt would rely on a claim that may be lost by now
            raise StoreRefused("another write interrupted the insert: try again")
        raise DuplicateKey(decode(found.source.document))

    def _claim(self, kind: str, key: str, id: str) -> Asking[KeyClaim]:
        """Claim a unique key. Raises DuplicateKey, and StoreRefused after CLAIMS attempts against other inserts."""
        place, content = place_of(kind, key), key_entry(id, key)
        for _ in range(CLAIMS):
            version = yield Put(KEYS, place, content)
            if version is not None:
                return KeyClaim(place, version)
            holder = yield Read(KEYS, place)
            if holder is None:
                continue
            if holder.source.id == id:  # an earlier attempt of this insert was done
                return KeyClaim(place, holder.version)
            other = yield Read(kind, holder.source.id)
            if other is None and (yield Put(kind, holder.source.id, tombstone(cimi_time(now())))) is None:
                continue  # the document exists by now
            if other is not None and not other.source.dead and owns(other.source.key, place):
                raise DuplicateKey(decode(other.source.document))
            version = yield Put(KEYS, place, content, holder.version)
            if version is not None:
                return KeyClaim(place, version)
        raise StoreRefused("other inserts claim the same unique key: try again")


def place_of(kind: str, key: str) -> str:
    """Return the id of the document that claims a unique key."""
    return f"{kind}/{blake2b(key.encode(), digest_size=24).hexdigest()}"


def owns(claim: KeyClaim | None, place: str) -> bool:
    """Return whether a claim is of the key at `place`."""
    return claim is not None and claim.place == place


def _free(claim: KeyClaim | None) -> Asking[None]:
    """Give up a claim. A claim that stays behind is taken over by the next insert of the key."""
    if claim is not None:
        with suppress(StoreRefused):
            yield Remove(KEYS, claim.place, claim.version)


def _changed(raw: bytes, id: str, changes: Sequence[Change]) -> tuple[bytes | None, Document, list[Result]]:
    """Apply changes in turn; return the final document as JSON (None: deleted) and decoded, and each result."""
    document: Document = {}
    current: bytes | None = raw
    outcomes: list[Result] = []
    for change in changes:
        if current is None:
            outcomes.append(NoSuchDocument(id))
            continue
        try:
            changed = change(decode(current))
            if changed is not None and changed["id"] != id:
                raise ValueError(f"a change of {id} changed the id to {changed['id']}")
            current = None if changed is None else encode(changed)
            document = changed or {}
            outcomes.append(changed)
        except Exception as error:
            outcomes.append(error)
    return current, document, outcomes
