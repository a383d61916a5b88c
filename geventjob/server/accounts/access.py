"""Who asks, and what they may do: roles and access control lists (docs/reference/api.md has both as tables)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.problem import Problem, forbidden, not_found

VIEW = frozenset({"VIEW", "MODIFY", "ALL"})
"""The rights of a rule that let one see a document."""
MODIFY = frozenset({"MODIFY", "ALL"})
"""Those that let one edit or delete it. The finer rights of the schema count for neither, as in SlipStream."""

SEERS = frozenset({"ADMIN", "VIEWER", "EXECUTOR"})
"""Roles that see every document."""
RUNNERS = frozenset({"ADMIN", "EXECUTOR"})
"""Roles that edit every job, also what it runs and its state (`server/jobs/rights.py`)."""

ADDERS = frozenset({"ADMIN", "SUBMITTER"})
"""Roles that add jobs: ADMIN of all actions, SUBMITTER of those that the server's ini allows the user."""
LESSER = frozenset({"EXECUTOR", "SUBMITTER", "VIEWER"})
"""Roles that ADMIN includes: an administrator may make API keys that have one of them alone."""

ADMIN_RULE = {"principal": "ADMIN", "type": "ROLE", "right": "ALL"}
"""Stands in every acl."""


@dataclass(frozen=True)
class Caller:
    """The user, or nobody, in whose name a request comes."""

    username: str | None = None
    roles: frozenset[str] = frozenset({"ANON"})
    """ANON for everybody; a user also has that of the session, `session/<uuid>`."""
    key: str | None = None
    """The API key that the user has shown, if that was no password."""

    @property
    def admin(self) -> bool:
        return "ADMIN" in self.roles

    @cached_property
    def principals(self) -> frozenset[str]:
        """As acls and `Query.viewers` name them: `USER alice`, `ROLE USER`."""
        user = [f"USER {self.username}"] if self.username else []
        return frozenset([*user, *(f"ROLE {role}" for role in self.roles)])

    @property
    def sees_all(self) -> bool:
        return not SEERS.isdisjoint(self.roles)

    @property
    def runs_jobs(self) -> bool:
        """Whether the caller may change what a job runs, and its state without being its owner."""
        return not RUNNERS.isdisjoint(self.roles)

    @property
    def adds(self) -> bool:
        """Whether the caller may add jobs; `server/jobs/rights.py` has of which actions."""
        return not ADDERS.isdisjoint(self.roles)

    @property
    def viewers(self) -> frozenset[str] | None:
        """Whose documents a search finds; None: all of them."""
        return None if self.sees_all else self.principals

    def may(self, rights: frozenset[str], document: Mapping[str, Any]) -> bool:
        """Whether one of these rights on this document is the caller's."""
        if self.admin or (rights is VIEW and self.sees_all):
            return True
        if document["id"].startswith("job/") and rights is not VIEW:
            if "EXECUTOR" in self.roles:
                return True
            if "VIEWER" in self.roles and "SUBMITTER" not in self.roles:
                return False
        acl = document["acl"]
        return _names(self.principals, acl["owner"]) or any(
            rule["right"] in rights and _names(self.principals, rule) for rule in acl.get("rules", ())
        )

    def need(self, rights: frozenset[str], document: Mapping[str, Any]) -> None:
        """Raise Problem 403 if the caller has none of them."""
        if not self.may(rights, document):
            raise forbidden()

    def missing(self, id: str) -> Problem:
        """The answer for a document that does not exist: 404 for who may see all.

        For others it is the answer for a document that they may not see, so that nobody learns which ids exist.
        """
        return not_found(id) if self.sees_all else forbidden()

    def seen(self, id: str, document: Document | None, rights: frozenset[str]) -> Document:
        """The document of this id, if it exists and these rights are the caller's. Raises Problem 403, 404."""
        if document is None:
            raise self.missing(id)
        self.need(rights, document)
        return document

    @property
    def governs(self) -> bool:
        """Whether the caller may change who can log in, as far as acls allow: a leaked key must not harm its user."""
        return self.admin or self.key is None

    def acl(self) -> Document:
        """The acl of what the caller makes, if he says nothing else (CIMI.md §3)."""
        return acl("ROLE", "ADMIN") if self.admin else acl("USER", self.username or "")

    def need_role(self, role: str) -> None:
        """Raise Problem 403 if it is not one of the caller's."""
        if role not in self.roles:
            raise forbidden()

    def need_add(self) -> None:
        """Raise Problem 403 if the caller adds no jobs at all."""
        if not self.adds:
            raise forbidden()

    def need_all(self) -> None:
        """Raise Problem 403 if the caller does not see everything."""
        if not self.sees_all:
            raise forbidden()


ANYBODY = Caller()


def _names(principals: frozenset[str], principal: Mapping[str, str]) -> bool:
    return f"{principal['type']} {principal['principal']}" in principals


def acl(owner_type: str, owner: str, rules: Iterable[tuple[str, str, str]] = ()) -> Document:
    """An acl of this owner and these (type, principal, right), and of the administrators, who may do everything."""
    listed = [{"principal": principal, "type": kind, "right": right} for kind, principal, right in rules]
    return {"owner": {"principal": owner, "type": owner_type}, "rules": [*listed, ADMIN_RULE]}


def completed(given: Mapping[str, Any]) -> Document:
    """A client's acl with the administrators' rule in it."""
    rules = list(given.get("rules", ()))
    return {"owner": given["owner"], "rules": rules if ADMIN_RULE in rules else [*rules, ADMIN_RULE]}
