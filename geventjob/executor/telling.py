"""The text of an exception that an action has raised: code of the action's makes it, so it runs under the watch.

`__str__`, `__repr__`, `__notes__` and the like may wait, compute for ever, raise or exit. What is made here is plain
text; nothing of the exception is asked once the watch is over.
"""

from __future__ import annotations

import traceback
from dataclasses import replace

from geventjob.executor.ending import Raised

SECONDS = 5.0
"""Seconds that the text of an exception may take."""


def untold(error: BaseException) -> Raised:
    """Return the exception with what can be said of it without any code of the action's."""
    name = type(error).__name__
    frames = "".join(traceback.format_tb(error.__traceback__))
    return Raised(error, f"{name}: (its text cannot be had)", f"Traceback (most recent call last):\n{frames}{name}")


def told(raised: Raised) -> Raised:
    """Return the exception with its own text and its traceback. To be called under the watch, which may end it."""
    error, name = raised.error, type(raised.error).__name__
    try:
        text = str(error)
    except BaseException:
        return raised
    raised = replace(raised, text=f"{name}: {text}" if text else name)
    return replace(raised, trace="".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip())
