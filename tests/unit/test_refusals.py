"""What each refusal of the server does to the claim in hand (docs/reference/api.md, Errors)."""

from __future__ import annotations

from typing import Any

import pytest

from geventjob.cimi.errors import Conflict, Forbidden, Invalid, NotFound, Refused
from geventjob.coordination.base import Claim, Session
from geventjob.executor.refusals import Refusals
from geventjob.executor.work import Work
from geventjob.plugins import find_actions


class Parts:
    """Writes, claims and unknown actions at once: notes what is asked of them."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.refuses = False
        self.known = True

    def write(self, claim: Claim, set: dict[str, Any], patience: float | None) -> None:
        self.did.append(set)
        if self.refuses:
            raise Conflict(409, "no", reason="final")

    def consume(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("consume")

    def release(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("release")

    def leave_alone(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("leave alone")

    def hopeless(self, action: str) -> bool:
        return not self.known


def settled(refusal: Refused, parts: Parts | None = None) -> list[Any]:
    parts = parts or Parts()
    work = Work(Claim("/job/entries/x", "job/1", 1, 0.0, Session("s", 10)))
    Refusals(parts, parts, find_actions(), parts).settle(work, refusal)  # type: ignore[arg-type]
    return parts.did


def conflict(reason: str, state: str = "RUNNING") -> Conflict:
    return Conflict(409, "no", reason=reason, job={"state": state, "action": "other"})


@pytest.mark.parametrize(
    ("refusal", "did"),
    [
        (conflict("final", "SUCCESS"), ["consume"]),
        (conflict("entry"), ["consume"]),
        (conflict("transition"), ["consume"]),
        (conflict("fence"), ["leave alone"]),
        (conflict("stopping"), [{"state": "STOPPED"}, "consume"]),
        (conflict("fence", "STOPPING"), ["leave alone"]),
        (conflict("transition", "STOPPING"), [{"state": "STOPPED"}, "consume"]),
        (conflict("entry", "STOPPING"), ["consume"]),
        (conflict("action"), ["leave alone"]),
        (NotFound(404, "no"), ["consume"]),
        (Forbidden(403, "no"), ["leave alone"]),
        (Invalid(400, "no good"), [{"state": "FAILED", "statusMessage": "no good"}, "consume"]),
    ],
)
def test_each_refusal(refusal: Refused, did: list[Any]) -> None:
    assert settled(refusal) == did


def test_an_end_that_is_refused_too_ends_with_the_entry() -> None:
    parts = Parts()
    parts.refuses = True
    assert settled(conflict("stopping"), parts) == [{"state": "STOPPED"}, "consume"]


def test_an_action_that_nobody_knows_fails() -> None:
    parts = Parts()
    parts.known = False
    end, consumed = settled(conflict("action"), parts)
    assert (end["state"], consumed) == ("FAILED", "consume")
    assert "other" in end["statusMessage"]
