"""How an old action says that it is one."""

from __future__ import annotations

from typing import TypeVar

from geventjob.plugins import action

__all__ = ["ActionNotImplemented", "action", "register_action"]

Target = TypeVar("Target", bound=type)


class ActionNotImplemented(Exception):
    """Nobody raises it here: what happens to jobs of unknown actions is the executor's affair."""


def register_action(action_name: str, action_class: Target) -> Target:
    """As `@action(action_name)` on the class, which must be one of the file that calls this."""
    return action(action_name)(action_class)
