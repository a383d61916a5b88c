"""The promoter's part in pauses: take queued jobs out of the queue, and let jobs through whose pause is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from geventjob.cimi.document import ALL_ACTIONS, WINDOW, Document
from geventjob.clock import boottime, cimi_time, moment_of, now
from geventjob.coordination.base import Coordination, Leadership
from geventjob.server.filter import Compare, Filter, Or
from geventjob.server.gate.rulebook import INTERVAL, RuleBook
from geventjob.server.gate.rules import PAUSES, Rules, is_over
from geventjob.server.gate.sweep import PAGE, Sweep
from geventjob.server.gate.waiting import waited_on, waiting_on
from geventjob.server.life.changes import PLACE
from geventjob.server.store.base import Store, Update

NEEDED = ("priority", "created", "action", PLACE)
STEP = 2.0
"""Seconds of a round for pauses, after which the promoter looks at other jobs."""
SETTLE = 1.5
"""Seconds between two looks while another server may still act on earlier rules."""
UNSETTLED = INTERVAL + 3.0
"""Seconds after a change of rules in which another server may act on earlier ones."""
LONGEST = 30.0
"""Seconds between two sweeps. What comes in between is held when an executor claims it."""


class PauseRounds:
    """The work of the leader for pauses in its rounds. A new leader begins anew, by what the store says."""

    def __init__(
        self,
        store: Store,
        coordination: Coordination,
        book: RuleBook,
        hold: Callable[[Sequence[Document]], list[Document]],
        let_through: Callable[[Sequence[Document]], None],
    ) -> None:
        """Do nothing yet. `hold`, `let_through`: see `Promoter`."""
        self._store = store
        self._coordination = coordination
        self._book = book
        self._hold = hold
        self._let_through = let_through
        self._leadership: Leadership | None = None
        self._rules = Rules()
        """The rules of the last round."""
        self._unsettled = -math.inf
        """The time until which another server may act on earlier rules."""
        self._left: Iterator[None] = iter(())
        """Steps that remove the entries of held jobs which an earlier leader has left in the queue."""
        self._sweep: Sweep | None = None
        self._next_sweep = -math.inf

    def round(self, leadership: Leadership | None) -> float:
        """Do what there is to do, for STEP seconds at most. Return the seconds until the next round.

        Raises StoreError, CoordinationError.
        """
        rules, end = self._book.rules, boottime() + STEP
        if rules is not self._rules or leadership is not self._leadership:
            self._begin(rules, leadership)
        time = now()
        in_force = {id: pause for id, pause in rules.pauses.items() if not is_over(pause, cimi_time(time))}
        if not self._release(in_force, end) or not self._take_out(in_force, end):
            return 0.0
        if len(in_force) < len(rules.pauses):
            self._forget(cimi_time(time))
        ends = [(moment_of(pause["until"]) - time).total_seconds() for pause in in_force.values() if "until" in pause]
        return min([*ends, SETTLE if boottime() < self._unsettled else LONGEST])

    def _begin(self, rules: Rules, leadership: Leadership | None) -> None:
        """Begin anew with other rules. Write what has changed in a pause to the jobs that wait on it."""
        for id, pause in rules.pauses.items():
            if self._rules.pauses.get(id, pause) != pause:
                for page in waiting_on(self._store, id):
                    self._hold(page)
        if self._rules.pauses or rules.pauses:
            self._unsettled = boottime() + UNSETTLED
        if leadership is not self._leadership:
            self._left = self._remove_left(list(rules.pauses), leadership)
        self._rules, self._leadership = rules, leadership
        self._sweep, self._next_sweep = None, -math.inf

    def _release(self, in_force: Mapping[str, Document], end: float) -> bool:
        """Let jobs through that wait on a pause that is over, in order; return whether none is left."""
        for on in waited_on(self._store, PAUSES, but=in_force):
            for jobs in waiting_on(self._store, on, NEEDED, WINDOW):
                for first in range(0, len(jobs), PAGE):
                    self._let_through(jobs[first : first + PAGE])
                    if boottime() >= end:
                        return False
        return True

    def _take_out(self, in_force: Mapping[str, Document], end: float) -> bool:
        """Hold jobs of paused actions, and remove their entries; return whether none is left."""
        for _ in self._left:
            if boottime() >= end:
                return False
        if self._sweep is None:
            if not in_force or boottime() < self._next_sweep:
                return True
            self._sweep = Sweep(self._store, self._coordination, self._hold, _of(in_force.values()))
        while self._sweep.step(self._leadership):
            if boottime() >= end:
                return False
        self._sweep = None
        self._next_sweep = boottime() + (SETTLE if boottime() < self._unsettled else LONGEST)
        return True

    def _remove_left(self, pauses: Sequence[str], leadership: Leadership | None) -> Iterator[None]:
        """Remove the entries of jobs that wait on these pauses, a page in each step.

        An earlier leader that died or was replaced has removed them all, but for those of its last pages.
        """
        for on in pauses:
            for jobs in waiting_on(self._store, on, (PLACE,), WINDOW):
                for first in range(0, len(jobs), PAGE):
                    if on not in self._rules.pauses:
                        break  # jobs come back to their places
                    places = {job[PLACE]: job["id"] for job in jobs[first : first + PAGE] if PLACE in job}
                    said = self._coordination.jobs(list(places))
                    if left := [place for place, id in zip(places, said, strict=True) if id == places[place]]:
                        self._coordination.remove(left, leadership)
                    yield

    def _forget(self, time: str) -> None:
        """Delete the pauses that have ended by themselves."""

        def change(pause: Document) -> Document | None:
            return None if is_over(pause, time) else pause

        self._store.write([Update(id, change) for id in self._rules.pauses])
        self._book.read()


def _of(pauses: Iterable[Document]) -> tuple[Filter, ...]:
    """Return the conditions of the jobs that these pauses hold."""
    actions = [pause["action"] for pause in pauses]
    if ALL_ACTIONS in actions:
        return ()
    return (Or(tuple(Compare(("action",), "=", action) for action in actions)),)
