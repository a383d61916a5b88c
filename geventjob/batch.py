"""Natural batching: what gathers while one request is under way goes out with the next one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import gevent
from gevent.event import AsyncResult

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Callers hand in one item each and wait for its own result; one batch is under way at a time.

    There are no timers: alone it adds no delay, under load one round trip serves many.

    A caller that is killed while it waits leaves its item in: its effect is known to be unknown.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Sequence[Result | BaseException]],
        *,
        count: int = 1000,
        size: Callable[[Item], int] | None = None,
        limit: int = 1 << 20,
    ) -> None:
        """`send` answers a list as long as its argument, an exception standing for an item that failed alone.

        What `send` raises is raised in every caller of that batch. A batch ends at `count` items, or where the
        sum of `size(item)` would pass `limit` (one item larger than that goes alone).
        """
        self._send = send
        self._count = count
        self._size = size
        self._limit = limit
        self._waiting: deque[tuple[Item, AsyncResult[Result]]] = deque()
        self._sending = False

    def __call__(self, item: Item) -> Result:
        """Send one item with whatever gathers beside it; its result, or raises its error."""
        return cast(Result, self.submit(item).get())

    def submit(self, item: Item) -> AsyncResult[Result]:
        """Hand in one item without waiting for it."""
        answer: AsyncResult[Result] = AsyncResult()
        self._waiting.append((item, answer))
        if not self._sending:
            self._sending = True
            # By the hub: spawned here, it would pass for a child of the caller's action, and be ended with it.
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
