"""Rights on jobs: the actions of which a caller may add jobs, and the attributes that a caller may edit.

docs/reference/job.md, "Who may set and delete", has the attributes as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from msgspec.structs import replace

from geventjob.job.attributes import GUARDED, KEPT, OWNED
from geventjob.server.accounts.caller import Caller
from geventjob.server.jobs.lifecycle import Edit
from geventjob.server.problem import Problem, forbidden


@dataclass
class Rights:
    """The actions of which submitters may add jobs. SIGHUP may change them while the server runs."""

    actions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """User → patterns of actions, as `report_*`; `*` is every user without patterns."""

    def refusal(self, caller: Caller, action: str) -> Problem | None:
        """Return the 403 for a caller that may not add a job of this action; None: the caller may."""
        if caller.is_admin:
            return None
        if not caller.may_add:
            return forbidden()
        patterns = self.actions.get(caller.username or "", self.actions.get("*", ()))
        if any(fnmatchcase(action, pattern) for pattern in patterns):
            return None
        return Problem(403, f"{caller.username} may add no jobs of the action {action}: [rights] of the server's ini")


def permitted(caller: Caller, job: Mapping[str, Any], edit: Edit) -> Edit:
    """Return the edit without the attributes that this caller may not change, where their values stay the same.

    Clients may send back the whole document that they have read. Raises Problem 403 with the name of an attribute
    whose value would change.
    """
    if caller.runs_jobs:
        return edit
    guarded = [name for name in GUARDED if edit.owner is None or name not in OWNED]
    for name in guarded:
        deleted = name in edit.delete and name in job and name not in KEPT
        differs = edit.set[name] != job.get(name) if name in edit.set else deleted
        if differs:
            raise Problem(403, f"{name} of a job is for the roles ADMIN and EXECUTOR to edit")
    rest = {name: value for name, value in edit.set.items() if name not in guarded}
    return replace(edit, set=rest, delete=[name for name in edit.delete if name not in guarded])
