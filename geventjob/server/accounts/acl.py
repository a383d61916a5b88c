"""Access control lists: the owner of a document, and the rules that give rights to users and roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from geventjob.cimi.document import Document

VIEW = frozenset({"VIEW", "MODIFY", "ALL"})
"""The rights of a rule that let one see a document."""
MODIFY = frozenset({"MODIFY", "ALL"})
"""Those that let one edit or delete it. The finer rights of the schema count for neither, as in SlipStream."""

ADMIN_RULE = {"principal": "ADMIN", "type": "ROLE", "right": "ALL"}
"""Stands in every acl."""


def acl(owner_type: str, owner: str, rules: Iterable[tuple[str, str, str]] = ()) -> Document:
    """An acl of this owner and these (type, principal, right), and of the administrators, who may do everything."""
    listed = [{"principal": principal, "type": kind, "right": right} for kind, principal, right in rules]
    return {"owner": {"principal": owner, "type": owner_type}, "rules": [*listed, ADMIN_RULE]}


def with_admin_rule(given: Mapping[str, Any]) -> Document:
    """A client's acl with the administrators' rule in it."""
    rules = list(given.get("rules", ()))
    return {"owner": given["owner"], "rules": rules if ADMIN_RULE in rules else [*rules, ADMIN_RULE]}


def names(principals: frozenset[str], principal: Mapping[str, str]) -> bool:
    return f"{principal['type']} {principal['principal']}" in principals
