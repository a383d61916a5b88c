"""Documents of users in the store."""

from __future__ import annotations

from uuid import uuid4

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document


def new_user(username: str, hash: str, roles: str) -> Document:
    """Return the document of a new user. `hash`: of the password; `roles`: separated by spaces."""
    document = new_document(f"user/{username}", "User", acl("ROLE", "ADMIN", [("USER", username, "MODIFY")]))
    return document | {"username": username, "roles": roles} | password_attributes(hash)


def password_attributes(hash: str) -> dict[str, str]:
    """Return the attributes of a new password: its hash, and a generation.

    A session carries the generation of its log-in and is valid while the user has the same one.
    """
    return {"_hash": hash, "_generation": uuid4().hex}
