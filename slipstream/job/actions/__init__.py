"""The decorators of old actions."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from geventjob.plugins import action, marked

__all__ = ["ActionNotImplemented", "action", "get_action", "register_action"]

Target = TypeVar("Target", bound=type)


class ActionNotImplemented(Exception):
    """An error that geventjob never raises: the executor handles jobs of unknown actions."""


def register_action(action_name: str, action_class: Target) -> Target:
    """Mark a class of the calling file as `@action(action_name)` does."""
    return action(action_name)(action_class)


def get_action(action_name: str) -> Any:
    """Return the class or function of the action of this name that is loaded in this process, or None."""
    return next((found for module in list(sys.modules.values()) for found in marked(module, action_name)), None)
