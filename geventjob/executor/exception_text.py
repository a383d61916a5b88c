"""The text of an exception that an action has raised. Code of the action makes the text, so it runs under the watch.

`__str__`, `__repr__` and `__notes__` may wait, compute for ever, raise or exit. This module turns them into plain text;
no method of the exception is called once the watch is over.
"""

from __future__ import annotations

import traceback
from dataclasses import replace

from geventjob.executor.ending import Raised

SECONDS = 5.0
"""Seconds that the text of an exception may take."""


def without_text(error: BaseException) -> Raised:
    """Return the exception with the text made without any code of the action."""
    name = type(error).__name__
    frames = "".join(traceback.format_tb(error.__traceback__))
    return Raised(error, f"{name}: (its text cannot be had)", f"Traceback (most recent call last):\n{frames}{name}")


def with_text(raised: Raised) -> Raised:
    """Return the exception with its own text and its traceback. Call it under the watch, which may end the call."""
    error, name = raised.error, type(raised.error).__name__
    try:
        text = str(error)
    except BaseException:
        return raised
    raised = replace(raised, text=f"{name}: {text}" if text else name)
    return replace(raised, trace="".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip())
