"""The caller of a request: user, roles, and the rights that follow (docs/reference/api.md, "Rights")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import VIEW, acl, names
from geventjob.server.problem import Problem, forbidden, not_found

SEE_ALL_ROLES = frozenset({"ADMIN", "VIEWER", "EXECUTOR"})
"""Roles that see every document."""
RUN_JOBS_ROLES = frozenset({"ADMIN", "EXECUTOR"})
"""Roles that edit every job, with its state and the attributes that say what runs (`server/jobs/rights.py`)."""
ADD_JOBS_ROLES = frozenset({"ADMIN", "SUBMITTER"})
"""Roles that add jobs: ADMIN of all actions, SUBMITTER of the actions that the server's ini allows the user."""
ADMIN_INCLUDES = frozenset({"EXECUTOR", "SUBMITTER", "VIEWER"})
"""Roles that ADMIN includes: an administrator may make API keys with one of these roles alone."""


@dataclass(frozen=True)
class Caller:
    """The user who sends a request, or an anonymous client."""

    username: str | None = None
    roles: frozenset[str] = frozenset({"ANON"})
    """ANON for every caller; a logged-in user also has the role of the session, `session/<uuid>`."""
    key: str | None = None
    """The id of the API key by which the user has authenticated; None after a log-in by password."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller is an administrator."""
        return "ADMIN" in self.roles

    @cached_property
    def principals(self) -> frozenset[str]:
        """The caller's names in acls and in `Query.viewers`: `USER alice`, `ROLE USER`."""
        user = [f"USER {self.username}"] if self.username else []
        return frozenset([*user, *(f"ROLE {role}" for role in self.roles)])

    @property
    def sees_all(self) -> bool:
        """Whether the caller sees every document."""
        return not SEE_ALL_ROLES.isdisjoint(self.roles)

    @property
    def runs_jobs(self) -> bool:
        """Whether the caller may edit what a job runs, and the state of a job without owning its claim."""
        return not RUN_JOBS_ROLES.isdisjoint(self.roles)

    @property
    def may_add(self) -> bool:
        """Whether the caller may add jobs; `server/jobs/rights.py` says of which actions."""
        return not ADD_JOBS_ROLES.isdisjoint(self.roles)

    @property
    def may_change_accounts(self) -> bool:
        """Whether the caller may change users and keys where an acl allows: a leaked key must not harm its user."""
        return self.is_admin or self.key is None

    @property
    def viewers(self) -> frozenset[str] | None:
        """The principals to which a search is restricted; None: a search finds all documents."""
        return None if self.sees_all else self.principals

    def may(self, rights: frozenset[str], document: Mapping[str, Any]) -> bool:
        """Return whether the caller has one of these rights on the document."""
        if self.is_admin or (rights is VIEW and self.sees_all):
            return True
        if document["id"].startswith("job/") and rights is not VIEW:
            if "EXECUTOR" in self.roles:
                return True
            if "VIEWER" in self.roles and "SUBMITTER" not in self.roles:
                return False
        acl = document["acl"]
        return names(self.principals, acl["owner"]) or any(
            rule["right"] in rights and names(self.principals, rule) for rule in acl.get("rules", ())
        )

    def require_right(self, rights: frozenset[str], document: Mapping[str, Any]) -> None:
        """Raise Problem 403 if the caller has none of these rights on the document."""
        if not self.may(rights, document):
            raise forbidden()

    def missing(self, id: str) -> Problem:
        """Return the response for a document that does not exist: 404 for a caller who sees all, else 403.

        A document that the caller may not see gets the same 403, so that no caller learns which ids exist.
        """
        return not_found(id) if self.sees_all else forbidden()

    def require_visible(self, id: str, document: Document | None, rights: frozenset[str]) -> Document:
        """Return the document if it exists and the caller has these rights. Raises Problem 403, 404."""
        if document is None:
            raise self.missing(id)
        self.require_right(rights, document)
        return document

    def acl(self) -> Document:
        """Return the acl of a document that the caller makes without an acl of its own."""
        return acl("ROLE", "ADMIN") if self.is_admin else acl("USER", self.username or "")

    def require_role(self, role: str) -> None:
        """Raise Problem 403 if the caller does not have the role."""
        if role not in self.roles:
            raise forbidden()

    def require_may_add(self) -> None:
        """Raise Problem 403 if the caller may add no jobs."""
        if not self.may_add:
            raise forbidden()

    def require_sees_all(self) -> None:
        """Raise Problem 403 if the caller does not see every document."""
        if not self.sees_all:
            raise forbidden()


ANONYMOUS = Caller()
