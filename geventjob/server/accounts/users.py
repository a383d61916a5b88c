"""Users as documents of the store."""

from __future__ import annotations

from uuid import uuid4

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document


def new_user(username: str, hash: str, roles: str) -> Document:
    """A user's document."""
    document = new_document(f"user/{username}", "User", acl("ROLE", "ADMIN", [("USER", username, "MODIFY")]))
    return document | {"username": username, "roles": roles} | secret(hash)


def secret(hash: str) -> dict[str, str]:
    """A password, and a mark that sessions carry: they are good for as long as the password is this one."""
    return {"_hash": hash, "_generation": uuid4().hex}
