"""Writes, step by step: what one item asks of the cluster, and what it makes of each answer.

Nothing is overwritten unseen: a write names the version that it follows, or that there must be none. Where it meets
another one, the document is read again and the change applied to what is there then. Each write leaves a mark in the
document, so that one which was done and is done again, its answer lost, is known for one's own.

Unique keys are documents of their own, whose id is derived from the key. A key that names a document which is not
there is free: its insert died half-way, or its owner was deleted by one who died half-way. It is taken over once that
document is made impossible, by a dead one in its place (docs/decisions/0008 tells why no less will do).
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar, Union

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.store.base import Change, DuplicateKey, Insert, NoSuchDocument, StoreRefused
from geventjob.server.store.elasticsearch.bulk import Put, Read, Remove, Write
from geventjob.server.store.elasticsearch.indexed import KeyClaim, decode, encode, key_entry, source, tombstone
from geventjob.server.store.elasticsearch.mapping import KEYS
from geventjob.server.store.elasticsearch.searching import Hit

CLAIMS = 5
"""Times that an insert tries to have a key which others want too."""

Result = Union[Document, Exception, None]
Outcome = TypeVar("Outcome")
Asking = Generator[Union[Read, Write], Any, Outcome]
"""Yields what it asks and is sent the answer (bulk.py); an answer that is an exception is raised in it."""


class Steps:
    """The steps of each kind of item. All of them raise what is certain, and nothing was written then."""

    def __init__(self) -> None:
        self._marks = map(f"{secrets.token_hex(6)}-{{:x}}".format, count())

    def update(self, kind: str, id: str, changes: Sequence[Change]) -> Asking[list[Result]]:
        mark: str | None = None
        outcomes: list[Result] = []
        while True:
            found = yield Read(kind, id)
            if mark is not None and (found.source.mark if found else "") == mark:
                return outcomes  # it was done before, and its answer was lost
            if found is None or found.source.dead:
                return [NoSuchDocument(id) for _ in changes]
            before = bytes(found.source.document)
            after, document, outcomes = _changed(before, id, changes)
            if after == before:
                return outcomes
            mark = next(self._marks) if after else ""
            try:
                if after is None:
                    done = yield Remove(kind, id, found.version)
                else:
                    was = found.source
                    done = yield Put(kind, id, source(document, after, was.key, was.born, mark), found.version)
            except (StoreRefused, ValueError) as error:
                return [outcome if isinstance(outcome, Exception) else error for outcome in outcomes]
            if done is not None:
                if after is None:
                    yield from _free(found.source.key)
                return outcomes

    def sweep(self, kind: str, hit: Hit) -> Asking[Result]:
        if (yield Remove(kind, hit.id, hit.version)) is None:
            return None
        yield from _free(hit.source.key)
        return decode(hit.source.document)

    def insert(self, kind: str, item: Insert) -> Asking[Result]:
        id, raw, mark = item.document["id"], encode(item.document), next(self._marks)
        claim = None
        if item.key is not None:
            claim = yield from self._claim(kind, item.key, id)
        try:
            done = yield Put(kind, id, source(item.document, raw, claim, mark, mark))
        except (StoreRefused, ValueError):
            yield from _free(claim)
            raise
        if done is not None:
            return item.document
        found = yield Read(kind, id)
        if found is not None and found.source.born == mark:
            return item.document  # it was done before, and its answer was lost
        yield from _free(claim)
        if found is None or found.source.dead:  # once more would be with a claim that others may have by now
            raise StoreRefused("something came between: try again")
        raise DuplicateKey(decode(found.source.document))

    def _claim(self, kind: str, key: str, id: str) -> Asking[KeyClaim]:
        """Have the key. Raises DuplicateKey, and StoreRefused if others fight for it, too."""
        place, content = place_of(kind, key), key_entry(id, key)
        for _ in range(CLAIMS):
            version = yield Put(KEYS, place, content)
            if version is not None:
                return KeyClaim(place, version)
            holder = yield Read(KEYS, place)
            if holder is None:
                continue
            if holder.source.id == id:  # so it was done before
                return KeyClaim(place, holder.version)
            other = yield Read(kind, holder.source.id)
            if other is None and (yield Put(kind, holder.source.id, tombstone(cimi_time(now())))) is None:
                continue  # it is there now
            if other is not None and not other.source.dead and owns(other.source.key, place):
                raise DuplicateKey(decode(other.source.document))
            version = yield Put(KEYS, place, content, holder.version)
            if version is not None:
                return KeyClaim(place, version)
        raise StoreRefused("others insert with the same unique key: try again")


def place_of(kind: str, key: str) -> str:
    """The id of the document of a unique key."""
    return f"{kind}/{blake2b(key.encode(), digest_size=24).hexdigest()}"


def owns(claim: KeyClaim | None, place: str) -> bool:
    """Whether a document with this claim has the key of that place."""
    return claim is not None and claim.place == place


def _free(claim: KeyClaim | None) -> Asking[None]:
    """Give up a key. One that is left is taken over when it is wanted."""
    if claim is not None:
        with suppress(StoreRefused):
            yield Remove(KEYS, claim.place, claim.version)


def _changed(raw: bytes, id: str, changes: Sequence[Change]) -> tuple[bytes | None, Document, list[Result]]:
    """What a document becomes (None: deleted), as JSON and as such, and the outcome of each change."""
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
                raise ValueError(f"a change of {id} made it {changed['id']}")
            current = None if changed is None else encode(changed)
            document = changed or {}
            outcomes.append(changed)
        except Exception as error:
            outcomes.append(error)
    return current, document, outcomes
