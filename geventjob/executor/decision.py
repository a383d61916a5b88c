"""The decisions of an executor about a claim in hand. `decide` makes each decision, `finish` carries it out.

The end of the code of an action leads to Succeed, Fail, TryAgain, Stop, GiveBack or LetGo. A refusal of the server may
lead to Discard too, and so does an entry that names no job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Union

from msgspec import UNSET

from geventjob.cimi.errors import Refused


@dataclass(frozen=True)
class Succeed:
    """The job ends in SUCCESS."""

    code: int = 0
    """The return code."""
    output: Any = UNSET
    """The value that the action returned as its output."""


@dataclass(frozen=True)
class Fail:
    """The job ends in FAILED."""

    message: str | None = None
    """The statusMessage; None keeps the message that the action has set."""
    code: int | None = None
    """The return code; None if the action returned none."""
    trace: str = field(default="", repr=False)
    """The traceback of the exception that the action raised, for the log."""
    refusal: Refused | None = None
    """The answer of the server that led to this decision."""
    kind: str = ""
    """The kind of failure for `errors` of the job: the class of an exception, `Timeout`, `ReturnCode`; empty: no
    entry."""


@dataclass(frozen=True)
class TryAgain:
    """The attempt has failed, and the job is tried again while retries are left."""

    failure: Fail
    after: float
    """Seconds to wait."""
    limit: int
    """Most retries of a job that has no limit of its own."""


@dataclass(frozen=True)
class Stop:
    """The job ends in STOPPED."""

    code: int | None = None
    """The return code; None if the action returned none."""
    refusal: Refused | None = None
    """The answer of the server that led to this decision."""


class To(Enum):
    """The executors that may take an entry after its release."""

    ANYONE = "anyone"
    OTHERS_FIRST = "others first"
    """This executor too, after half a second."""
    OTHERS = "others"
    """This executor too, after 5 to 60 s: the job could not run here."""


@dataclass(frozen=True)
class GiveBack:
    """The job goes back to the queue: the claim is released."""

    to: To = To.ANYONE
    running: bool = False
    """Whether the job is RUNNING for the server, and becomes QUEUED first."""


@dataclass(frozen=True)
class Discard:
    """The job has ended, is gone or has another entry: this entry is consumed, and nothing is written."""


@dataclass(frozen=True)
class LetGo:
    """The claim is lost: another executor may own the job, so nothing is written and no entry touched."""


Decision = Union[Succeed, Fail, TryAgain, Stop, GiveBack, Discard, LetGo]
OUTCOMES: dict[type[Decision], str] = {
    Succeed: "success",
    Fail: "failed",
    TryAgain: "tried_again",
    Stop: "stopped",
    GiveBack: "given_back",
    LetGo: "lost",
    Discard: "discarded",
}
"""The end of a run in a word, for metrics and traces."""


def attributes(decision: Decision) -> dict[str, Any]:
    """Return the attributes of the job to write; empty if the decision writes nothing."""
    if isinstance(decision, GiveBack):
        return {"state": "QUEUED"} if decision.running else {}
    if isinstance(decision, Succeed):
        output = {} if decision.output is UNSET else {"output": decision.output}
        return {"state": "SUCCESS", "returnCode": decision.code, **output}
    if isinstance(decision, TryAgain):
        return attributes(decision.failure)
    if not isinstance(decision, (Fail, Stop)):
        return {}
    written: dict[str, Any] = {"state": "STOPPED" if isinstance(decision, Stop) else "FAILED"}
    if decision.code is not None:
        written["returnCode"] = decision.code
    if isinstance(decision, Fail) and decision.message is not None:
        written["statusMessage"] = decision.message
    return written


TRACE_LENGTH = 8_000
"""Characters of the end of a traceback that are sent; the server keeps 8 KB of a failure."""


def beside(decision: Decision) -> dict[str, Any]:
    """Return what the edit of a decision carries beside the attributes (docs/reference/api.md, "Claims of executors").

    Nothing after a refusal: what the server refused is not sent again.
    """
    if isinstance(decision, TryAgain):
        return {**beside(decision.failure), "retry": {"after": decision.after, "limit": decision.limit}}
    if not isinstance(decision, Fail) or decision.refusal or not decision.kind:
        return {}
    message, trace = decision.message or "", decision.trace[-TRACE_LENGTH:]
    return {"failure": {"type": decision.kind[:200], "message": message, "traceback": trace}}
