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
        return failed(describe(ending.error))
    if isinstance(ending, TimedOut):
        return failed(f"timed out after {ending.seconds:g} s")
    return {"state": "STOPPED"} if isinstance(ending, Stopped) else None


def failed(message: str) -> dict[str, Any]:
    """A failure in words."""
    return {"state": "FAILED", "statusMessage": cut(message)}


def describe(error: BaseException) -> str:
    """`Type: text`, whatever its `__str__` does."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be had)"
    return f"{name}: {text}" if text else name


def _returned(value: object, code: int, said: bool, end: str) -> dict[str, Any]:
    if value is None:
        return {"state": end, "returnCode": code}
    if isinstance(value, bool) or not isinstance(value, int):
        shown = repr(value) if isinstance(value, bool) else type(value).__name__
        return failed(f"TypeError: the action returned {shown}, expected an int or None")
    if value == 0:
        return {"state": end, "returnCode": 0}
    message = {} if said else {"statusMessage": f"return code {int(value)}"}
    return {"state": "FAILED", "returnCode": int(value), **message}
