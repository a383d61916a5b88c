"""Writes: what each item asks of the cluster, step by step, and many items' steps taken in common requests.

Nothing is overwritten unseen: a write names the version that it follows, or that there must be none. Where it meets
another one, the document is read again and the change applied to what is there then. Each write leaves a mark in the
document, so that one whose answer was lost is known for one's own when it is met again.

Unique keys are documents of their own, whose id is derived from the key. A key that names a document which is not
there is free: its insert died half-way, or its owner was deleted by one who died half-way. It is taken over once that
document is made impossible, by a dead one in its place (docs/decisions/0006 tells why no less will do).
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any, Union

from geventjob.clock import cimi_time, now
from geventjob.server.store.base import (
    KINDS,
    Change,
    Document,
    Insert,
    Missing,
    StoreAway,
    StoreError,
    StoreRefused,
    Taken,
    Update,
)
from geventjob.server.store.elasticsearch.bulk import Documents, Put, Read, Remove, Write
from geventjob.server.store.elasticsearch.indexed import Claim, dead, decode, encode, held, source
from geventjob.server.store.elasticsearch.mapping import KEYS
from geventjob.server.store.elasticsearch.searching import Hit

CLAIMS = 5
"""Times that an insert tries to have a key which others want too."""


@dataclass(frozen=True)
class Sweep:
    """Delete a document if it still is as it was found; the result is the document, or None if it is not."""

    id: str
    hit: Hit


Item = Union[Insert, Update, Sweep]
Result = Union[Document, Exception, None]
Steps = Generator[Union[Read, Write], Any, Result]
"""Yields what it asks (bulk.py) and is sent the answer; an answer that is an exception is raised in it."""

_UNKNOWN = StoreAway("")


class Writer:
    """Carries out lists of items, each list's in order."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._marks = map(f"{secrets.token_hex(6)}-{{:x}}".format, count())

    def __call__(self, lists: Sequence[Sequence[Item]], until: float) -> list[list[Result] | StoreError]:
        """The results of each list, or StoreAway if they are not known of all its items."""
        results: list[Result] = [_UNKNOWN] * sum(map(len, lists))
        away = self._run([self._document(items, results) for items in _by_document(lists)], until)
        of_each = iter(results)
        portions = [[next(of_each) for _ in some] for some in lists]
        return [away if any(result is _UNKNOWN for result in some) else some for some in portions]

    def _run(self, all_steps: list[Generator[Any, Any, None]], until: float) -> StoreAway:
        """Take everybody's next step together, until nobody has one. What is answered is of use if some did not end."""
        away = _UNKNOWN
        asked = [(steps, ask) for steps in all_steps if (ask := next(steps, None)) is not None]
        while asked:
            try:
                answers = self._answers([ask for _, ask in asked], until)
            except StoreAway as error:
                return error
            following = []
            for (steps, _), answer in zip(asked, answers, strict=True):
                try:
                    ask = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
                    following.append((steps, ask))
                except StopIteration:
                    pass
                except StoreAway as error:
                    away = error
            asked = following
        return away

    def _answers(self, asks: list[Any], until: float) -> list[Any]:
        """What is read is as it was before what is written here."""
        reads = [ask for ask in asks if isinstance(ask, Read)]
        writes = [ask for ask in asks if not isinstance(ask, Read)]
        found = iter(self._documents.read(reads, until) if reads else ())
        written = iter(self._documents.write(writes, until) if writes else ())
        return [next(found if isinstance(ask, Read) else written) for ask in asks]

    # --- the steps of one document

    def _document(self, items: Sequence[tuple[int, Item]], results: list[Result]) -> Generator[Any, Any, None]:
        """Everything that is asked of one document, in order; updates in a row are one write."""
        waiting = deque(items)
        while waiting:
            run = [waiting.popleft()]
            while isinstance(run[0][1], Update) and waiting and isinstance(waiting[0][1], Update):
                run.append(waiting.popleft())
            try:
                outcomes = yield from self._outcomes([item for _, item in run])
            except StoreAway:
                raise
            except Exception as error:  # of these items alone
                outcomes = [error] * len(run)
            for (index, _), outcome in zip(run, outcomes, strict=True):
                results[index] = outcome

    def _outcomes(self, run: list[Any]) -> Generator[Any, Any, list[Result]]:
        first = run[0]
        kind = kind_of(id_of(first))
        if isinstance(first, Insert):
            return [(yield from self._insert(kind, first))]
        if isinstance(first, Sweep):
            return [(yield from self._sweep(kind, first.hit))]
        return (yield from self._update(kind, first.id, [item.change for item in run]))

    def _update(self, kind: str, id: str, changes: Sequence[Change]) -> Generator[Any, Any, list[Result]]:
        mark: str | None = None
        outcomes: list[Result] = []
        while True:
            found = yield Read(kind, id)
            if mark is not None and (found.source.mark if found else "") == mark:
                return outcomes  # written before, and the answer was lost
            if found is None or found.source.dead:
                return [Missing(id) for _ in changes]
            before = bytes(found.source.document)
            after, document, outcomes = _changed(before, id, changes)
            if after == before:
                return outcomes
            mark = next(self._marks) if after else ""
            try:
                if after is None:
                    done = yield Remove(kind, id, found.version)
                else:
                    done = yield Put(kind, id, source(document, after, found.source.key, mark), found.version)
            except (StoreRefused, ValueError) as error:
                return [outcome if isinstance(outcome, Exception) else error for outcome in outcomes]
            if done is not None:
                if after is None:
                    yield from _free(found.source.key)
                return outcomes

    def _sweep(self, kind: str, hit: Hit) -> Steps:
        if (yield Remove(kind, hit.id, hit.version)) is None:
            return None
        yield from _free(hit.source.key)
        return decode(hit.source.document)

    def _insert(self, kind: str, item: Insert) -> Steps:
        id, raw, mark = item.document["id"], encode(item.document), next(self._marks)
        claim = None
        if item.key is not None:
            claim = yield from self._claim(kind, item.key, id)
        made = source(item.document, raw, claim, mark)
        while True:
            try:
                done = yield Put(kind, id, made)
            except (StoreRefused, ValueError):
                yield from _free(claim)
                raise
            if done is not None:
                return item.document
            found = yield Read(kind, id)
            if found is None:
                continue
            if found.source.mark == mark:
                return item.document  # written before, and the answer was lost
            yield from _free(claim)
            if found.source.dead:
                raise StoreRefused("another insert has taken the unique key over: try again")
            raise Taken(decode(found.source.document))

    def _claim(self, kind: str, key: str, id: str) -> Generator[Any, Any, Claim]:
        """Have the key. Raises Taken, and StoreRefused if others fight for it, too."""
        place, content = place_of(kind, key), held(id, key)
        for _ in range(CLAIMS):
            version = yield Put(KEYS, place, content)
            if version is not None:
                return Claim(place, version)
            holder = yield Read(KEYS, place)
            if holder is None:
                continue
            if holder.source.id == id:  # claimed before, and the answer was lost
                return Claim(place, holder.version)
            other = yield Read(kind, holder.source.id)
            if other is None and (yield Put(kind, holder.source.id, dead(cimi_time(now())))) is None:
                continue  # it is there now
            if other is not None and not other.source.dead and owns(other.source.key, place):
                raise Taken(decode(other.source.document))
            version = yield Put(KEYS, place, content, holder.version)
            if version is not None:
                return Claim(place, version)
        raise StoreRefused("several inserts with one unique key are under way: try again")


def place_of(kind: str, key: str) -> str:
    """The id of the document of a unique key."""
    return f"{kind}/{blake2b(key.encode(), digest_size=24).hexdigest()}"


def owns(claim: Claim | None, place: str) -> bool:
    """Whether a document with this claim has the key of that place."""
    return claim is not None and claim.place == place


def id_of(item: Item) -> str:
    """Of the document that it is about."""
    return str(item.document["id"]) if isinstance(item, Insert) else item.id


def kind_of(id: str) -> str:
    """The kind of a document. Raises ValueError for an id of none."""
    kind = id.partition("/")[0]
    if kind not in KINDS:
        raise ValueError(f"{id[:60]!r} is the id of no kind of document: {', '.join(KINDS)}")
    return kind


def _free(claim: Claim | None) -> Generator[Any, Any, None]:
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
            outcomes.append(Missing(id))
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


def _by_document(lists: Sequence[Sequence[Item]]) -> Iterator[list[tuple[int, Item]]]:
    """All items, numbered, those of one document together."""
    found: dict[str, list[tuple[int, Item]]] = {}
    for number, item in enumerate(item for some in lists for item in some):
        found.setdefault(id_of(item), []).append((number, item))
    yield from found.values()
