"""Many small transactions sent as few large ones.

A group of operations is done or not done as a whole, and groups that stand together in one request of ZooKeeper share
that fate. So the one that the answer names as refused is dropped, and the others are sent again: those before it as
one request, since they were fine a moment ago, and those after it as two halves (FINDINGS §3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kazoo.exceptions import RolledBackError, RuntimeInconsistency

from geventjob.coordination.zookeeper.membership import Membership

COUNT = 200
"""Most groups in a request."""
BYTES = 256 * 1024
"""Most bytes in a request, if it has several groups."""
_OVERHEAD = 80  # of an operation: headers, numbers, an ACL

Group = Sequence[Any]
"""Operations of one transaction."""


@dataclass(frozen=True)
class Failure:
    """Nothing of the group was done, if the error is one of ZooKeeper; a CoordinationAway leaves that open."""

    error: Exception
    at: int = -1
    """Which operation of the group was refused."""


Outcome = list[Any] | Failure


def commit(membership: Membership, groups: Sequence[Group]) -> Iterator[tuple[int, Outcome]]:
    """Do all the groups; for each its number and outcome, as soon as it is known.

    Raises CoordinationAway if the session is over; the groups that it has not told of by then may have been done.
    """
    pieces = list(_pieces(groups))
    while pieces:
        requests = [membership.nodes.transaction([op for number in piece for op in groups[number]]) for piece in pieces]
        again: list[list[int]] = []
        for piece, answer in zip(pieces, membership.ask_all(requests), strict=True):
            yield from _outcomes(piece, answer, groups, again)
        pieces = again


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
    """What the answer tells; `again` gets what is to be sent again."""
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
    """The number of the operation that made the whole fail."""
    for number, result in enumerate(answer):
        if isinstance(result, Exception) and not isinstance(result, (RolledBackError, RuntimeInconsistency)):
            return number
    return None
