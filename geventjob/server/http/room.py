"""Room for requests that cost much: a few at a time, shared by caller, with bounds on how many wait.

Who sends twenty of them waits for their own; all others have every second turn. A request beyond the bounds is
answered 503 with Retry-After, and one whose client has gone away while it waited is dropped.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import falcon
import gevent
from gevent.event import AsyncResult

from geventjob.server.accounts.access import Caller
from geventjob.server.problem import Problem, away

HELD = "geventjob.held"
"""Key in the WSGI environment: the Held of a request."""
GONE = "geventjob.gone"
"""Key in the WSGI environment: tells whether the client has closed the connection."""
PATIENCE = 20.0
"""Seconds for which a request waits."""
LARGE = 256 * 1024
"""Bytes of a body that costs much."""

Gone = Callable[[], bool]


class Room:
    """`places` for requests at once, of which a caller has `each`; `waiting` of a caller and `all_waiting` wait.

    `pause`: seconds before one that has waited goes on. What it does then may hold the event loop, and the answer to
    another request needs several turns of that.
    """

    def __init__(self, places: int, each: int, waiting: int = 16, all_waiting: int = 200, pause: float = 0.0) -> None:
        self._free = places
        self._each = each
        self._bounds = waiting, all_waiting
        self._pause = pause
        self._used: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[tuple[AsyncResult[bool], Gone]]] = OrderedDict()
        """Those that wait, by caller: whose turn is next stands first."""

    @contextmanager
    def place(self, caller: str, gone: Gone = lambda: False) -> Iterator[None]:
        """Hold a place. Raises Problem 503 where too many wait, or for too long, or the client is gone."""
        waits = not self._free or self._used[caller] >= self._each
        if waits:
            self._wait(caller, gone)
        else:
            self._take(caller)
        try:
            if waits:
                gevent.sleep(self._pause)
            yield
        finally:
            self._leave(caller)

    def _take(self, caller: str) -> None:
        self._free -= 1
        self._used[caller] += 1

    def _leave(self, caller: str) -> None:
        self._free += 1
        self._used[caller] -= 1
        if not self._used[caller]:
            del self._used[caller]
        while self._free and (following := self._following()) is not None:
            following.set(True)

    def _following(self) -> AsyncResult[bool] | None:
        """Take a place for the next that waits, and return what to tell; None if nobody may have one."""
        for caller in list(self._queues):
            while self._used[caller] < self._each and caller in self._queues:
                turn, gone = self._queues[caller].popleft()
                self._queues.move_to_end(caller)
                self._tidy(caller)
                if gone():
                    turn.set(False)
                else:
                    self._take(caller)
                    return turn
        return None

    def _wait(self, caller: str, gone: Gone) -> None:
        """Return with a place."""
        own = self._queues.setdefault(caller, deque())
        waiting, all_waiting = self._bounds
        if len(own) >= waiting or sum(map(len, self._queues.values())) >= all_waiting:
            self._tidy(caller)
            raise _busy()
        turn: AsyncResult[bool] = AsyncResult()
        own.append((turn, gone))
        try:
            turn.wait(PATIENCE)
        except BaseException:
            self._give_up(caller, turn)
            raise
        if not turn.ready():
            self._give_up(caller, turn)
            raise _busy()
        if not turn.get():
            raise Problem(503, "the client has closed the connection", close=True)

    def _give_up(self, caller: str, turn: AsyncResult[bool]) -> None:
        """Wait no more; a place that was given meanwhile is free again."""
        if not turn.ready():
            queue = self._queues[caller]
            queue.remove(next(one for one in queue if one[0] is turn))
            self._tidy(caller)
        elif turn.get():
            self._leave(caller)

    def _tidy(self, caller: str) -> None:
        if caller in self._queues and not self._queues[caller]:
            del self._queues[caller]


class Held(ExitStack):
    """What a request holds until its answer is made."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms: set[Room] = set()


def hold(req: falcon.Request, room: Room, caller: Caller) -> None:
    """Hold a place until the request's answer is made. Raises Problem 503."""
    held: Held = req.env[HELD]
    if room not in held.rooms:
        held.enter_context(room.place(caller.username or "", req.env.get(GONE, lambda: False)))
        held.rooms.add(room)


BODIES = Room(places=8, each=1, pause=0.01)
"""Of those that send a large body: it may come slowly, and is in memory until the answer is made."""
WORK = Room(places=1, each=1, pause=0.01)
"""Of those that decode, search or encode much. Who takes a place in both takes that of BODIES first."""


def _busy() -> Problem:
    problem = away("too many requests that cost much wait already")
    problem.close = True
    return problem
