"""Access control lists: the owner of a document, and the rules that give rights to users and roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from geventjob.cimi.document import Document

VIEW = frozenset({"VIEW", "MODIFY", "ALL"})
"""Rights of a rule that allow reading a document."""
MODIFY = frozenset({"MODIFY", "ALL"})
"""Rights of a rule that allow editing and deleting a document. The schema's finer rights allow neither, as in
SlipStream."""

ADMIN_RULE = {"principal": "ADMIN", "type": "ROLE", "right": "ALL"}
"""The rule that every acl contains."""


def acl(owner_type: str, owner: str, rules: Iterable[tuple[str, str, str]] = ()) -> Document:
    """Return an acl with this owner, these rules (type, principal, right), and the administrators' rule."""
    listed = [{"principal": principal, "type": kind, "right": right} for kind, principal, right in rules]
    return {"owner": {"principal": owner, "type": owner_type}, "rules": [*listed, ADMIN_RULE]}


def with_admin_rule(given: Mapping[str, Any]) -> Document:
    """Return a client's acl with the administrators' rule added."""
    rules = list(given.get("rules", ()))
    return {"owner": given["owner"], "rules": rules if ADMIN_RULE in rules else [*rules, ADMIN_RULE]}


def names(principals: frozenset[str], principal: Mapping[str, str]) -> bool:
    """Return whether an owner or a rule of an acl names one of these principals (`USER alice`)."""
    return f"{principal['type']} {principal['principal']}" in principals
