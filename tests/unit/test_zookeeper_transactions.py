"""Groups of operations in few requests, against a small server that follows ZooKeeper's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kazoo.exceptions import NodeExistsError, NoNodeError, RolledBackError, RuntimeInconsistency

from geventjob.coordination.base import CoordinationAway
from geventjob.coordination.zookeeper.transactions import BYTES, COUNT, Failure, commit


@dataclass(frozen=True)
class Operation:
    path: str
    error: type[Exception] | None = None
    data: bytes = b""


@dataclass
class Server:
    """Does a transaction as a whole or not at all, and names the operation that failed."""

    done: list[str] = field(default_factory=list)
    requests: list[Sequence[Operation]] = field(default_factory=list)
    silent_at: int | None = None
    """Number of the request whose answer is lost, although the request was done."""

    @property
    def nodes(self) -> Server:
        return self

    def transaction(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        return operations

    def ask_all(self, requests: Sequence[Sequence[Operation]]) -> list[Any]:
        return [self._answer(operations) for operations in requests]

    def _answer(self, operations: Sequence[Operation]) -> Any:
        self.requests.append(operations)
        at = next((n for n, operation in enumerate(operations) if operation.error), None)
        if at is None:
            self.done += [operation.path for operation in operations]
        if len(self.requests) - 1 == self.silent_at:
            return CoordinationAway()
        if at is None:
            return [f"done {operation.path}" for operation in operations]
        after = [RuntimeInconsistency()] * (len(operations) - at - 1)
        return [RolledBackError()] * at + [operations[at].error()] + after


errors = st.sampled_from([None, None, None, NodeExistsError, NoNodeError])
group = st.lists(st.builds(Operation, st.just(""), errors), min_size=1, max_size=3)


def named(groups: list[list[Operation]]) -> list[list[Operation]]:
    return [[Operation(f"{n}.{m}", op.error, op.data) for m, op in enumerate(group)] for n, group in enumerate(groups)]


@given(st.lists(group, max_size=60).map(named))
def test_each_group_is_done_once_or_refused_by_its_own_first_error(groups: list[list[Operation]]) -> None:
    server = Server()
    outcomes = dict(commit(server, groups))  # type: ignore[arg-type]
    assert sorted(outcomes) == list(range(len(groups)))
    for number, group in enumerate(groups):
        at = next((n for n, operation in enumerate(group) if operation.error), None)
        outcome = outcomes[number]
        if at is None:
            assert outcome == [f"done {operation.path}" for operation in group]
        else:
            assert isinstance(outcome, Failure)
            assert (type(outcome.error), outcome.at) == (group[at].error, at)
    good = [op.path for group in groups if not any(op.error for op in group) for op in group]
    assert sorted(server.done) == sorted(good)


@given(st.lists(group, min_size=1, max_size=60).map(named), st.integers(0, 10))
def test_of_a_lost_answer_it_is_not_said_whether_its_groups_were_done(
    groups: list[list[Operation]], silent_at: int
) -> None:
    server = Server(silent_at=silent_at)
    outcomes = dict(commit(server, groups))  # type: ignore[arg-type]
    assert sorted(outcomes) == list(range(len(groups)))
    told = [number for number, outcome in outcomes.items() if not isinstance(outcome, Failure)]
    open_ones = [n for n, o in outcomes.items() if isinstance(o, Failure) and isinstance(o.error, CoordinationAway)]
    assert all(op.path in server.done for number in told for op in groups[number])
    done = {int(path.split(".")[0]) for path in server.done}
    assert done <= {*told, *open_ones}


def test_one_loser_among_many_costs_few_requests() -> None:
    groups = named([[Operation("")] for _ in range(COUNT)])
    groups[70] = [Operation("70.0", NodeExistsError)]
    server = Server()
    assert len([outcome for _, outcome in commit(server, groups) if isinstance(outcome, Failure)]) == 1  # type: ignore[arg-type]
    assert [len(request) for request in server.requests] == [200, 70, 64, 65]


@pytest.mark.parametrize(
    ("sizes", "requests"),
    [
        ([0] * 450, [200, 200, 50]),
        ([BYTES // 3] * 4, [2, 2]),
        ([2 * BYTES, 10, 2 * BYTES, 10], [1, 1, 1, 1]),
        ([10, 2 * BYTES, 10], [1, 1, 1]),
        ([], []),
    ],
)
def test_requests_are_bounded_by_count_and_bytes_and_a_large_group_goes_alone(
    sizes: list[int], requests: list[int]
) -> None:
    server = Server()
    groups = [[Operation(str(n), data=b"x" * size)] for n, size in enumerate(sizes)]
    assert len(list(commit(server, groups))) == len(sizes)  # type: ignore[arg-type]
    assert [len(request) for request in server.requests] == requests
