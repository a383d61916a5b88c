"""Natural batching: items are collected while a batch is in flight, and sent as the next batch when it returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import gevent
from gevent.event import AsyncResult

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Sends the items of many callers in batches, one batch at a time; each caller gets the result of its own item.

    There are no timers: a single item is not delayed, and under load a round trip serves many items. The item of a
    caller that is killed while it waits is sent nevertheless.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Sequence[Result | BaseException]],
        *,
        count: int = 1000,
        size: Callable[[Item], int] | None = None,
        limit: int = 1 << 20,
    ) -> None:
        """Set the sender: `send` returns a result or an exception for each item of its argument.

        An exception that `send` raises is raised in every caller of the batch. A batch ends at `count` items, or where
        the sum of `size(item)` would exceed `limit`; a larger item is sent alone.
        """
        self._send = send
        self._count = count
        self._size = size
        self._limit = limit
        self._waiting: deque[tuple[Item, AsyncResult[Result]]] = deque()
        self._sending = False

    def __call__(self, item: Item) -> Result:
        """Send an item, together with others that wait; return its result or raise its error."""
        return cast(Result, self.submit(item).get())

    def submit(self, item: Item) -> AsyncResult[Result]:
        """Hand in an item without waiting for its result."""
        answer: AsyncResult[Result] = AsyncResult()
        self._waiting.append((item, answer))
        if not self._sending:
            self._sending = True
            # By the hub: a greenlet spawned here would be a child of the caller's action, and end with the action.
            gevent.get_hub().loop.run_callback(gevent.spawn, self._run)
        return answer

    def _run(self) -> None:
        try:
            while self._waiting:
                self._send_one(self._next())
        finally:
            self._sending = False

    def _next(self) -> list[tuple[Item, AsyncResult[Result]]]:
        batch = [self._waiting.popleft()]
        room = self._limit - (self._size(batch[0][0]) if self._size else 0)
        while self._waiting and len(batch) < self._count:
            if self._size:
                room -= self._size(self._waiting[0][0])
                if room < 0:
                    break
            batch.append(self._waiting.popleft())
        return batch

    def _send_one(self, batch: list[tuple[Item, AsyncResult[Result]]]) -> None:
        try:
            results = self._send([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except BaseException as error:  # gevent.Timeout and GreenletExit too: no caller may wait for ever
            results = [error] * len(batch)
        for (_, answer), result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set(result)
