"""How an old action says that it is one."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from geventjob.plugins import action, marked

__all__ = ["ActionNotImplemented", "action", "get_action", "register_action"]

Target = TypeVar("Target", bound=type)


class ActionNotImplemented(Exception):
    """Nobody raises it here: what happens to jobs of unknown actions is the executor's affair."""


def register_action(action_name: str, action_class: Target) -> Target:
    """As `@action(action_name)` on the class, which must be one of the file that calls this."""
    return action(action_name)(action_class)


def get_action(action_name: str) -> Any:
    """Return the class or function of the action of this name that is loaded in this process, or None."""
    return next((found for module in list(sys.modules.values()) for found in marked(module, action_name)), None)
