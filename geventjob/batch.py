"""Natural batching: items are collected while batches are in flight, and sent as the next batch when one returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar, Generic, TypeVar, cast

import gevent
from gevent.event import AsyncResult, Event

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Sends the items of many callers in batches; each caller gets the result of its own item.

    There are no timers: a single item is not delayed, and under load a round trip serves many items. The item of a
    caller that is killed while it waits is sent nevertheless.
    """

    measure: ClassVar[Callable[[str, int], None] | None] = None
    """Called with name and number of items of each batch that is sent, but of batchers without a name."""

    def __init__(
        self,
        send: Callable[[list[Item]], Sequence[Result | BaseException]],
        *,
        name: str = "",
        count: int = 1000,
        size: Callable[[Item], int] | None = None,
        limit: int = 1 << 20,
        flights: int = 1,
        worth: int = 1,
        order: Callable[[Item], Hashable] | None = None,
        first: Callable[[Item], bool] | None = None,
    ) -> None:
        """Set the sender: `send` returns a result or an exception for each item of its argument.

        An exception that `send` raises is raised in every caller of the batch. A batch ends at `count` items, or where
        the sum of `size(item)` would exceed `limit`; a larger item is sent alone. `flights`: most batches in flight at
        once; with more than one, a later item may arrive before an earlier one. `worth`: items that must wait for a
        batch to leave beside another. `order(item)`: a key; items with one key arrive in their order. `first(item)`:
        whether the item goes before others that wait; it must be the first of its key.
        `name`: in the metrics of batches.
        """
        self._send = send
        self._name = name
        self._count = count
        self._size = size
        self._limit = limit
        self._waiting: deque[tuple[Item, AsyncResult[Result]]] = deque()
        self._first = first
        self._ahead: deque[tuple[Item, AsyncResult[Result]]] = deque()
        """Items that go before those in `_waiting`."""
        self._flights = flights
        self._worth = worth
        self._order = order
        self._in_flight: dict[Hashable, int] = {}
        """Items in flight, by their keys."""
        self._senders = 0
        self._idle = Event()
        self._idle.set()

    def __call__(self, item: Item) -> Result:
        """Send an item, together with others that wait; return its result or raise its error."""
        return cast(Result, self.submit(item).get())

    def submit(self, item: Item) -> AsyncResult[Result]:
        """Hand in an item without waiting for its result."""
        answer: AsyncResult[Result] = AsyncResult()
        (self._ahead if self._first and self._first(item) else self._waiting).append((item, answer))
        if not self._senders or (self._senders < self._flights and self._is_worth()):
            self._senders += 1
            self._idle.clear()
            # By the hub: a greenlet spawned here would be a child of the caller's action, and end with the action.
            gevent.get_hub().loop.run_callback(gevent.spawn, self._run)
        return answer

    def finish(self) -> None:
        """Wait until all items are answered."""
        self._idle.wait()

    def _is_worth(self) -> bool:
        return len(self._ahead) + len(self._waiting) >= self._worth

    def _run(self) -> None:
        try:
            while (self._senders == 1 or self._is_worth()) and (batch := self._next()):
                self._send_one(batch)
        finally:
            self._senders -= 1
            if not self._senders:
                self._idle.set()

    def _next(self) -> list[tuple[Item, AsyncResult[Result]]]:
        """Take the next batch from the items that wait; those behind an item in flight go on waiting."""
        batch: list[tuple[Item, AsyncResult[Result]]] = []
        behind: list[tuple[Item, AsyncResult[Result]]] = []
        room = self._limit
        while (source := self._ahead or self._waiting) and len(batch) < self._count:
            item, _ = handed = source.popleft()
            room -= self._size(item) if self._size else 0
            if room < 0 and batch:
                source.appendleft(handed)
                break
            is_behind = self._order is not None and self._order(item) in self._in_flight
            (behind if is_behind else batch).append(handed)
        self._waiting.extendleft(reversed(behind))
        return batch

    def _send_one(self, batch: list[tuple[Item, AsyncResult[Result]]]) -> None:
        if Batcher.measure and self._name:
            Batcher.measure(self._name, len(batch))
        keys = [self._order(item) for item, _ in batch] if self._order else ()
        for key in keys:
            self._in_flight[key] = self._in_flight.get(key, 0) + 1
        try:
            results = self._send([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except BaseException as error:  # gevent.Timeout and GreenletExit too: no caller may wait for ever
            results = [error] * len(batch)
        for key in keys:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]
        for (_, answer), result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set(result)
