"""The queue against a model: any members, in any order of calls, see what the model predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from geventjob.coordination.base import Claim
from tests.contract.coordination.fleets import Fleet
from tests.support.waiting import eventually

MEMBERS = 3
members = st.integers(0, MEMBERS - 1)
picks = st.lists(st.integers(0, 30), max_size=8)


@dataclass
class Entry:
    """An entry in the queue."""

    path: str
    job: str
    priority: int
    turn: int
    claim: Claim | None = None
    holder: int | None = None
    fence: int = -1

    @property
    def place(self) -> tuple[int, int]:
        return self.priority, self.turn


class QueueMachine(RuleBasedStateMachine):
    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self.fleet = fleet
        self.members = [fleet.member() for _ in range(MEMBERS)]
        self.standing: dict[str, Entry] = {}
        self.paths: list[str] = []  # paths of all entries so far
        self.entries: dict[str, Entry] = {}  # by path
        self.claims: list[list[Claim]] = [[] for _ in range(MEMBERS)]  # all claims that each member was given

    def teardown(self) -> None:
        self.fleet.close()

    @rule(who=members, priorities=st.lists(st.sampled_from([0, 1, 500, 999]), min_size=1, max_size=6))
    def put(self, who: int, priorities: list[int]) -> None:
        items = [(f"job/{len(self.paths) + i}", priority) for i, priority in enumerate(priorities)]
        for path, (job, priority) in zip(self.members[who].put(items), items, strict=True):
            assert path not in self.paths
            self.enter(path, job, priority)

    @rule(who=members, which=st.lists(st.integers(0, 30), max_size=8, unique=True))
    def put_back(self, who: int, which: list[int]) -> None:
        entries = [self.entries[path] for path in self.some(which)]
        paths = self.members[who].put([(entry.job, entry.priority) for entry in entries], self.some(which))
        for path, entry in zip(paths, entries, strict=True):
            if entry.path in self.standing and entry.holder is not None:
                assert path not in self.paths, "a name that is held is left alone"
                self.enter(path, entry.job, entry.priority)
            else:
                assert path == entry.path
                self.standing[path] = entry

    @rule(who=members, limit=st.integers(1, 6), exclude=picks)
    def take(self, who: int, limit: int, exclude: list[int]) -> None:
        left = self.some(exclude)
        free = [entry for entry in self.in_order() if entry.holder is None and entry.path not in left]
        claims = self.members[who].take(limit, set(left), timeout=0)
        assert [(claim.entry, claim.job) for claim in claims] == [(entry.path, entry.job) for entry in free[:limit]]
        for claim, entry in zip(claims, free, strict=False):
            assert claim.fence > entry.fence
            assert not claim.lost
            entry.claim, entry.holder, entry.fence = claim, who, claim.fence
        self.claims[who] += claims

    @rule(who=members, which=picks)
    def consume(self, who: int, which: list[int]) -> None:
        for entry in self.end(self.members[who].consume, who, which):
            del self.standing[entry.path]
            entry.claim = entry.holder = None

    @rule(who=members, which=picks)
    def release(self, who: int, which: list[int]) -> None:
        for entry in self.end(self.members[who].release, who, which):
            entry.claim = entry.holder = None

    @rule(who=members, which=picks)
    def remove(self, who: int, which: list[int]) -> None:
        paths = self.some(which)
        gone = [path not in self.standing or self.standing[path].holder is None for path in paths]
        assert self.members[who].remove(paths) == gone
        for path in (path for path, is_gone in zip(paths, gone, strict=True) if is_gone):
            self.standing.pop(path, None)
        assert self.members[who].standing(paths) == [path in self.standing for path in paths]

    @rule(who=members)
    def leave_and_come_back(self, who: int) -> None:
        self.members[who].close()
        self.members[who] = self.fleet.member()
        self.lose_all(who)

    @rule(who=members)
    def lose_the_session(self, who: int) -> None:
        member, session = self.members[who], self.members[who].session
        self.fleet.expire(member)
        assert member.take(1, timeout=0) == []
        eventually(lambda: member.session is not session)
        self.lose_all(who)

    @invariant()
    def people_see_it_as_it_is(self) -> None:
        order = self.in_order()
        stats = self.members[0].stats(head=5)
        assert stats.entries == len(order)
        assert stats.taken == sum(entry.holder is not None for entry in order)
        assert stats.holders == Counter(self.name(entry) for entry in order if entry.holder is not None)
        assert [(w.entry, w.priority, w.job, w.taken_by) for w in stats.head] == [
            (entry.path, entry.priority, entry.job, self.name(entry)) for entry in order[:5]
        ]
        free = [entry.path for entry in order if entry.holder is None]
        assert [(waiting.entry, waiting.taken_by) for waiting in stats.next] == [(path, None) for path in free[:5]]

    @invariant()
    def only_what_is_held_is_not_lost(self) -> None:
        for entry in self.standing.values():
            assert entry.claim is None or not entry.claim.lost

    def in_order(self) -> list[Entry]:
        return sorted(self.standing.values(), key=lambda entry: entry.place)

    def name(self, entry: Entry) -> str | None:
        return None if entry.holder is None else self.members[entry.holder].name

    def enter(self, path: str, job: str, priority: int) -> None:
        self.standing[path] = self.entries[path] = Entry(path, job, priority, turn=len(self.paths))
        self.paths.append(path)

    def some(self, which: list[int]) -> list[str]:
        return [self.paths[i] for i in dict.fromkeys(which) if i < len(self.paths)]

    def end(self, call: Callable[[list[Claim]], None], who: int, which: list[int]) -> list[Entry]:
        """Consume or release claims that this member was ever given, including ended and lost ones."""
        chosen = [self.claims[who][-1 - i] for i in which if i < len(self.claims[who])]
        call(chosen)
        return [entry for entry in self.standing.values() if entry.claim in chosen]

    def lose_all(self, who: int) -> None:
        assert all(claim.lost for claim in self.claims[who] if claim.session is not self.members[who].session)
        for entry in self.standing.values():
            if entry.holder == who:
                entry.claim = entry.holder = None


def test_the_queue_does_as_its_model(fleets: Callable[[], Fleet]) -> None:
    run_state_machine_as_test(
        lambda: QueueMachine(fleets()),  # type: ignore[arg-type]
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
