"""Who asks, and what they may do: roles and access control lists (docs/reference/api.md has both as tables)."""

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
"""Roles that edit every job, also what it runs and its state (`server/jobs/rights.py`)."""

ADD_JOBS_ROLES = frozenset({"ADMIN", "SUBMITTER"})
"""Roles that add jobs: ADMIN of all actions, SUBMITTER of those that the server's ini allows the user."""
ADMIN_INCLUDES = frozenset({"EXECUTOR", "SUBMITTER", "VIEWER"})
"""Roles that ADMIN includes: an administrator may make API keys that have one of them alone."""


@dataclass(frozen=True)
class Caller:
    """The user, or nobody, in whose name a request comes."""

    username: str | None = None
    roles: frozenset[str] = frozenset({"ANON"})
    """ANON for everybody; a user also has that of the session, `session/<uuid>`."""
    key: str | None = None
    """The API key that the user has shown, if that was no password."""

    @property
    def is_admin(self) -> bool:
        return "ADMIN" in self.roles

    @cached_property
    def principals(self) -> frozenset[str]:
        """As acls and `Query.viewers` name them: `USER alice`, `ROLE USER`."""
        user = [f"USER {self.username}"] if self.username else []
        return frozenset([*user, *(f"ROLE {role}" for role in self.roles)])

    @property
    def sees_all(self) -> bool:
        return not SEE_ALL_ROLES.isdisjoint(self.roles)

    @property
    def runs_jobs(self) -> bool:
        """Whether the caller may change what a job runs, and its state without being its owner."""
        return not RUN_JOBS_ROLES.isdisjoint(self.roles)

    @property
    def may_add(self) -> bool:
        """Whether the caller may add jobs; `server/jobs/rights.py` has of which actions."""
        return not ADD_JOBS_ROLES.isdisjoint(self.roles)

    @property
    def viewers(self) -> frozenset[str] | None:
        """Whose documents a search finds; None: all of them."""
        return None if self.sees_all else self.principals

    def may(self, rights: frozenset[str], document: Mapping[str, Any]) -> bool:
        """Whether one of these rights on this document is the caller's."""
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
        """Raise Problem 403 if the caller has none of them."""
        if not self.may(rights, document):
            raise forbidden()

    def missing(self, id: str) -> Problem:
        """The answer for a document that does not exist: 404 for who may see all.

        For others it is the answer for a document that they may not see, so that nobody learns which ids exist.
        """
        return not_found(id) if self.sees_all else forbidden()

    def require_visible(self, id: str, document: Document | None, rights: frozenset[str]) -> Document:
        """The document of this id, if it exists and these rights are the caller's. Raises Problem 403, 404."""
        if document is None:
            raise self.missing(id)
        self.require_right(rights, document)
        return document

    @property
    def may_change_accounts(self) -> bool:
        """Whether the caller may change who can log in, as far as acls allow: a leaked key must not harm its user."""
        return self.is_admin or self.key is None

    def acl(self) -> Document:
        """The acl of what the caller makes, if he says nothing else (CIMI.md §3)."""
        return acl("ROLE", "ADMIN") if self.is_admin else acl("USER", self.username or "")

    def require_role(self, role: str) -> None:
        """Raise Problem 403 if it is not one of the caller's."""
        if role not in self.roles:
            raise forbidden()

    def require_may_add(self) -> None:
        """Raise Problem 403 if the caller adds no jobs at all."""
        if not self.may_add:
            raise forbidden()

    def require_sees_all(self) -> None:
        """Raise Problem 403 if the caller does not see everything."""
        if not self.sees_all:
            raise forbidden()


ANONYMOUS = Caller()
