"""Writes of many callers in shared requests: the next steps of all writes go out together."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Union

from geventjob.server.store.base import Insert, StoreAway, StoreError, Update, kind_of
from geventjob.server.store.elasticsearch.bulk import Documents, Read
from geventjob.server.store.elasticsearch.searching import Hit
from geventjob.server.store.elasticsearch.steps import Asking, Result, Steps
from geventjob.server.store.elasticsearch.turns import with_turns


@dataclass(frozen=True)
class DeleteHit:
    """Delete a match if unchanged; the result is the document, or None if the document has changed."""

    id: str
    hit: Hit


Item = Union[Insert, Update, DeleteHit]
_UNKNOWN = StoreAway("")


class BulkWriter:
    """Writer of lists of items; the items of one document are carried out in order."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._steps = Steps()

    def __call__(self, lists: Sequence[Sequence[Item]], until: float) -> list[list[Result] | StoreError]:
        """Return the results of each list, or StoreAway for a list with an unknown outcome. `until`: see Documents."""
        results: list[Result] = [_UNKNOWN] * sum(map(len, lists))
        away = self._run([self._document(items, results) for items in _by_document(lists)], until)
        of_each = iter(results)
        portions = [[next(of_each) for _ in some] for some in lists]
        return [away if any(result is _UNKNOWN for result in some) else some for some in portions]

    def _run(self, all_steps: list[Generator[Any, Any, None]], until: float) -> StoreAway:
        """Take the next steps of all writes together until all end. Return the error of the writes that did not end."""
        away = _UNKNOWN
        asked = [(steps, ask) for steps in with_turns(all_steps) if (ask := next(steps, None)) is not None]
        while asked:
            try:
                answers = self._answers([ask for _, ask in asked], until)
            except StoreAway as error:
                return error
            following = []
            for (steps, _), answer in with_turns(zip(asked, answers, strict=True)):
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
        """Return the answers in order; reads go out before the writes of the same round."""
        reads = [ask for ask in asks if isinstance(ask, Read)]
        writes = [ask for ask in asks if not isinstance(ask, Read)]
        found = iter(self._documents.read(reads, until) if reads else ())
        written = iter(self._documents.write(writes, until) if writes else ())
        return [next(found if isinstance(ask, Read) else written) for ask in asks]

    # --- the steps of one document

    def _document(self, items: Sequence[tuple[int, Item]], results: list[Result]) -> Generator[Any, Any, None]:
        """Carry out all items of one document in order; updates in a row become one write."""
        waiting = deque(items)
        while waiting:
            run = [waiting.popleft()]
            while isinstance(run[0][1], Update) and waiting and isinstance(waiting[0][1], Update):
                run.append(waiting.popleft())
            try:
                outcomes = yield from self._outcomes([item for _, item in run])
            except StoreAway:
                raise
            except Exception as error:  # an error of these items alone
                outcomes = [error] * len(run)
            for (index, _), outcome in zip(run, outcomes, strict=True):
                results[index] = outcome

    def _outcomes(self, run: list[Any]) -> Asking[list[Result]]:
        first = run[0]
        kind = kind_of(id_of(first))
        if isinstance(first, Insert):
            return [(yield from self._steps.insert(kind, first))]
        if isinstance(first, DeleteHit):
            return [(yield from self._steps.delete(kind, first.hit))]
        return (yield from self._steps.update(kind, first.id, [item.change for item in run]))


def id_of(item: Item) -> str:
    """Return the id of the document of an item."""
    return str(item.document.get("id")) if isinstance(item, Insert) else item.id


def _by_document(lists: Sequence[Sequence[Item]]) -> Iterator[list[tuple[int, Item]]]:
    """Group all items by document, each with its number."""
    found: dict[str, list[tuple[int, Item]]] = {}
    for number, item in enumerate(item for some in lists for item in some):
        found.setdefault(id_of(item), []).append((number, item))
    yield from found.values()
