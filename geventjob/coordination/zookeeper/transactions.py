"""Many small transactions sent as few large ones.

A group of operations succeeds or fails as a whole, and the groups in one request of ZooKeeper share that fate. So the
group that the answer names as refused is dropped, and the others are sent again: the earlier ones as one request, since
their operations were fine a moment ago, and the later ones as two halves (docs/measurements.md, "Taking from a queue").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kazoo.exceptions import NoNodeError, RolledBackError, RuntimeInconsistency

from geventjob.coordination.base import LeadershipOver
from geventjob.coordination.zookeeper.election import ZooKeeperLeadership
from geventjob.coordination.zookeeper.membership import Membership

COUNT = 200
"""Most groups in a request."""
BYTES = 256 * 1024
"""Most bytes in a request with several groups."""
_OVERHEAD = 80  # bytes of an operation: headers, numbers, an ACL

Group = Sequence[Any]
"""Operations of one transaction."""


@dataclass(frozen=True)
class Failure:
    """The failure of a group. An error of ZooKeeper: nothing of the group was done.

    CoordinationAway: the effect is unknown.
    """

    error: Exception
    at: int = -1
    """Number of the operation of the group that was refused; -1 if unknown."""


Outcome = list[Any] | Failure


def commit(
    membership: Membership, groups: Sequence[Group], leadership: ZooKeeperLeadership | None = None
) -> Iterator[tuple[int, Outcome]]:
    """Do all the groups. Yield number and outcome of each group as soon as the outcome is known.

    With `leadership`, each request succeeds only while the candidate stands. Raises LeadershipOver; raises
    CoordinationAway if the session is over. The groups without an outcome may have been done.
    """
    condition = standing(membership, leadership)
    pieces = list(_pieces(groups))
    while pieces:
        requests = [
            membership.nodes.transaction([*condition, *(op for number in piece for op in groups[number])])
            for piece in pieces
        ]
        again: list[list[int]] = []
        for piece, answer in zip(pieces, membership.ask_all(requests), strict=True):
            yield from _outcomes(piece, without(condition, answer), groups, again)
        pieces = again


def standing(membership: Membership, leadership: ZooKeeperLeadership | None) -> Group:
    """Return the operations that fail once the candidate of the leadership is gone; none for None."""
    return [] if leadership is None else [membership.nodes.check(leadership.path)]


def without(condition: Group, answer: Any) -> Any:
    """Return the answer to a transaction without the results of a condition. Raises LeadershipOver."""
    if not condition or isinstance(answer, Exception):
        return answer
    if isinstance(answer[0], NoNodeError):
        raise LeadershipOver("the leadership is over: its candidate is gone")
    return answer[len(condition) :]


def _pieces(groups: Sequence[Group]) -> Iterator[list[int]]:
    piece: list[int] = []
    room = 0
    for number, group in enumerate(groups):
        size = sum(len(op.path) + len(getattr(op, "data", b"") or b"") + _OVERHEAD for op in group)
        if piece and (len(piece) == COUNT or size > room):
            yield piece
            piece, room = [], 0
        room = (room if piece else BYTES) - size
        piece.append(number)
    if piece:
        yield piece


def _outcomes(
    piece: list[int], answer: Any, groups: Sequence[Group], again: list[list[int]]
) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcomes in an answer, and append the pieces to be sent again to `again`."""
    if isinstance(answer, Exception):
        yield from ((number, Failure(answer)) for number in piece)
        return
    refused = _refused(answer)
    start = 0
    for place, number in enumerate(piece):
        end = start + len(groups[number])
        if refused is None:
            yield number, answer[start:end]
        elif start <= refused < end:
            yield number, Failure(answer[refused], refused - start)
            after = piece[place + 1 :]
            half = len(after) // 2
            again += filter(None, (piece[:place], after[:half], after[half:]))
        start = end


def _refused(answer: Sequence[Any]) -> int | None:
    """Return the number of the operation that made the whole fail."""
    for number, result in enumerate(answer):
        if isinstance(result, Exception) and not isinstance(result, (RolledBackError, RuntimeInconsistency)):
            return number
    return None
