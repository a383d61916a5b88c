"""Admission control and backpressure: few expensive requests at once, callers in turn, few waiting.

A caller who sends twenty expensive requests waits for their own; the other callers get every second turn. A request
beyond the bounds gets 503 with Retry-After. A waiting request whose client has closed the connection is dropped.
The bounds and their measurements are in docs/decisions/0021-what-one-request-may-cost.md.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import falcon
import gevent
from gevent.event import AsyncResult

from geventjob.server.accounts.caller import Caller
from geventjob.server.http.environ import CLIENT_GONE, PERMITS
from geventjob.server.problem import Problem, unavailable

MAX_WAIT = 20.0
"""Seconds that a request waits for its permit."""
LARGE_BODY = 256 * 1024
"""Bytes above which a body is expensive."""

IsGone = Callable[[], bool]


class AdmissionLimit:
    """A number of permits, with a bounded queue for each caller. The queues take turns."""

    def __init__(
        self,
        permits: int,
        per_caller: int,
        waiting: int = 16,
        all_waiting: int = 200,
        pause: float = 0.0,
        refusal: str = "too many expensive requests are waiting already",
    ) -> None:
        """Bound the requests admitted at once (`permits`, `per_caller`) and those that wait (a caller's, all).

        `pause`: seconds between a permit and the start of a request that has waited. The request may hold the event
        loop, and the response to another request needs several turns of the loop. `refusal`: the message of the 503.
        """
        self._refusal = refusal
        self._free = permits
        self._per_caller = per_caller
        self._bounds = waiting, all_waiting
        self._pause = pause
        self._used: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[tuple[AsyncResult[bool], IsGone]]] = OrderedDict()
        """Waiting requests by caller; the caller whose turn is next stands first."""

    @contextmanager
    def permit(self, caller: str, is_gone: IsGone = lambda: False) -> Iterator[None]:
        """Hold a permit within the context.

        Raises Problem 503 when too many requests wait, the wait is too long, or the client is gone.
        """
        waits = not self._free or self._used[caller] >= self._per_caller
        if waits:
            self._wait(caller, is_gone)
        else:
            self._acquire(caller)
        try:
            if waits:
                gevent.sleep(self._pause)
            yield
        finally:
            self._release(caller)

    def _acquire(self, caller: str) -> None:
        self._free -= 1
        self._used[caller] += 1

    def _release(self, caller: str) -> None:
        self._free += 1
        self._used[caller] -= 1
        if not self._used[caller]:
            del self._used[caller]
        while self._free and (turn := self._acquire_for_next()) is not None:
            turn.set(True)

    def _acquire_for_next(self) -> AsyncResult[bool] | None:
        """Acquire a permit for the next waiting request and return its turn; None if no request may start."""
        for caller in list(self._queues):
            while self._used[caller] < self._per_caller and caller in self._queues:
                turn, is_gone = self._queues[caller].popleft()
                self._queues.move_to_end(caller)
                self._drop_empty_queue(caller)
                if is_gone():
                    turn.set(False)
                else:
                    self._acquire(caller)
                    return turn
        return None

    def _wait(self, caller: str, is_gone: IsGone) -> None:
        """Wait in the caller's queue until a permit is acquired. Raises Problem 503."""
        queue = self._queues.setdefault(caller, deque())
        waiting, all_waiting = self._bounds
        if len(queue) >= waiting or sum(map(len, self._queues.values())) >= all_waiting:
            self._drop_empty_queue(caller)
            raise self._overloaded()
        turn: AsyncResult[bool] = AsyncResult()
        queue.append((turn, is_gone))
        try:
            turn.wait(MAX_WAIT)
        except BaseException:
            self._leave_queue(caller, turn)
            raise
        if not turn.ready():
            self._leave_queue(caller, turn)
            raise self._overloaded()
        if not turn.get():
            raise Problem(503, "the client has closed the connection", close=True)

    def _overloaded(self) -> Problem:
        problem = unavailable(self._refusal)
        problem.close = True
        return problem

    def _leave_queue(self, caller: str, turn: AsyncResult[bool]) -> None:
        """Stop waiting; release a permit that was acquired in the meantime."""
        if not turn.ready():
            queue = self._queues[caller]
            queue.remove(next(item for item in queue if item[0] is turn))
            self._drop_empty_queue(caller)
        elif turn.get():
            self._release(caller)

    def _drop_empty_queue(self, caller: str) -> None:
        if caller in self._queues and not self._queues[caller]:
            del self._queues[caller]


class Permits(ExitStack):
    """The permits that one request holds until its response is made."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: set[AdmissionLimit] = set()


def admit(req: falcon.Request, limit: AdmissionLimit, caller: Caller) -> None:
    """Hold a permit until the response to the request is made. Raises Problem 503."""
    permits: Permits = req.env[PERMITS]
    if limit not in permits.limits:
        permits.enter_context(limit.permit(caller.username or "", req.env.get(CLIENT_GONE, lambda: False)))
        permits.limits.add(limit)


LARGE_BODIES = AdmissionLimit(permits=8, per_caller=1, pause=0.01)
"""For requests with a large body: the body may come slowly, and stays in memory until the response is made."""
HEAVY_WORK = AdmissionLimit(permits=1, per_caller=1, pause=0.01)
"""For requests that decode, search or encode much. A request that needs both permits takes LARGE_BODIES first."""
STREAMS = AdmissionLimit(permits=100, per_caller=10, waiting=0, refusal="too many streams of events are open")
"""For streams of events, each of which takes a connection and a greenlet as long as its client stays."""
