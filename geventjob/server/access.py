"""Who asks, and what he may do: roles and access control lists (CIMI.md §3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geventjob.server.document import Document
from geventjob.server.problem import forbidden

VIEW = frozenset({"VIEW", "MODIFY", "ALL"})
"""The rights of a rule that let one see a document."""
MODIFY = frozenset({"MODIFY", "ALL"})
"""Those that let one edit or delete it. The finer rights of the schema count for neither, as in SlipStream."""

ADMIN_RULE = {"principal": "ADMIN", "type": "ROLE", "right": "ALL"}
"""Stands in every acl."""


@dataclass(frozen=True)
class Caller:
    """The user, or nobody, in whose name a request comes."""

    username: str | None = None
    roles: frozenset[str] = frozenset({"ANON"})
    """ANON for everybody; a user also has that of his session, `session/<uuid>`."""
    key: str | None = None
    """The credential that he has logged in with, if that was no password."""

    @property
    def admin(self) -> bool:
        return "ADMIN" in self.roles

    @cached_property
    def principals(self) -> frozenset[str]:
        """As acls and `Query.viewers` name them: `USER alice`, `ROLE USER`."""
        user = [f"USER {self.username}"] if self.username else []
        return frozenset([*user, *(f"ROLE {role}" for role in self.roles)])

    @property
    def viewers(self) -> frozenset[str] | None:
        """Whose documents a search finds: None, all of them, for an administrator."""
        return None if self.admin else self.principals

    def may(self, rights: frozenset[str], document: Mapping[str, Any]) -> bool:
        """Whether one of these rights on this document is the caller's."""
        if self.admin:
            return True
        acl = document["acl"]
        return _names(self.principals, acl["owner"]) or any(
            rule["right"] in rights and _names(self.principals, rule) for rule in acl.get("rules", ())
        )

    def need(self, rights: frozenset[str], document: Mapping[str, Any]) -> None:
        """Raises Problem 403 if he has none of them."""
        if not self.may(rights, document):
            raise forbidden()

    @property
    def governs(self) -> bool:
        """Whether he may change who can log in, as far as acls let him: a key that leaked shall not harm its user."""
        return self.admin or self.key is None

    def acl(self) -> Document:
        """The acl of what the caller makes, if he says nothing else (CIMI.md §3)."""
        return acl("ROLE", "ADMIN") if self.admin else acl("USER", self.username or "")

    def need_role(self, role: str) -> None:
        """Raises Problem 403 if it is not one of his."""
        if role not in self.roles:
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
