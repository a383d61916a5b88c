"""What the end of an action means for its job (DESIGN §7)."""

from __future__ import annotations

from typing import Any

from geventjob.executor.ending import Ending, Raised, Returned, Stopped, TimedOut
from geventjob.executor.job import cut


def outcome(ending: Ending, code: int = 0, said: bool = False, end: str | None = None) -> dict[str, Any] | None:
    """Return the attributes to write; None where there is no outcome, since the job is not ours any more.

    `code` is the return code of an action that returns None. `said`: the action has set a message of its own,
    which a return code does not replace. `end`: the final state that it has chosen for a return in good order.
    """
    if isinstance(ending, Returned):
        return _returned(ending.value, code, said, end or "SUCCESS")
    if isinstance(ending, Raised):
        return failed(ending.text)
    if isinstance(ending, TimedOut):
        return failed(f"timed out after {ending.seconds:g} s")
    return {"state": "STOPPED"} if isinstance(ending, Stopped) else None


def failed(message: str) -> dict[str, Any]:
    """A failure in words."""
    return {"state": "FAILED", "statusMessage": cut(message)}


def _returned(value: object, code: int, said: bool, end: str) -> dict[str, Any]:
    if value is None:
        return {"state": end, "returnCode": code}
    if type(value) is bool or not issubclass(type(value), int):
        shown = repr(value) if type(value) is bool else type(value).__name__
        return failed(f"TypeError: the action returned {shown}, expected an int or None")
    number = int.__int__(value)  # type: ignore[arg-type]  # of a subclass of int, without any code of its own
    if number == 0:
        return {"state": end, "returnCode": 0}
    message = {} if said else {"statusMessage": f"return code {number}"}
    return {"state": "FAILED", "returnCode": number, **message}
