"""API keys: credentials with which a program authenticates instead of a password.

A secret is random, 30 letters out of 56 (174 bits), and cannot be guessed at any cost of a guess. The store therefore
keeps a plain hash, without the salt and the slowness of a password hash; an authentication takes microseconds instead
of 30 ms of a core.

A key belongs to one user document: a later user of the same name does not inherit the key. A key has the roles with
which it was made, as far as its user still has these roles.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from datetime import timedelta
from hashlib import blake2b
from uuid import uuid4

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document

ALPHABET = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
"""Letters and digits that are not mistaken for one another."""
GROUPS, LETTERS = 5, 6
TYPE = "api-key"


def new_secret() -> str:
    """Return a random secret of five groups of six letters, `aaaaaa.bbbbbb.cccccc.dddddd.eeeeee`."""
    return ".".join("".join(secrets.choice(ALPHABET) for _ in range(LETTERS)) for _ in range(GROUPS))


def new_key(user: Document, secret: str, roles: Collection[str], lifetime: timedelta | None) -> Document:
    """Return the document of a new key of the user; without `lifetime` the key does not expire."""
    name = user["username"]
    expiry = {} if lifetime is None else {"expiry": cimi_time(now() + lifetime)}
    document = new_document(f"credential/{uuid4()}", "Credential", acl("ROLE", "ADMIN", [("USER", name, "MODIFY")]))
    return document | {
        **expiry,
        "type": TYPE,
        "method": "generate-api-key",
        "claims": {"identity": name, "roles": sorted(roles)},
        "_digest": _digest(secret),
        "_user": user["created"],
    }


def is_valid(key: Document | None, secret: str) -> bool:
    """Return whether the secret is the key's, and the key has not expired."""
    digest = key["_digest"] if key else _digest("")
    same = hmac.compare_digest(digest, _digest(secret))
    return same and key is not None and key.get("expiry", "9") > cimi_time(now())


def belongs_to(key: Document, user: Document) -> bool:
    """Return whether the key is this user's, and not an earlier user's of the same name."""
    return bool(key["claims"]["identity"] == user["username"] and key["_user"] == user["created"])


def _digest(secret: str) -> str:
    letters = "".join(letter for letter in secret if letter in ALPHABET)
    return blake2b(letters.encode(), digest_size=32, person=b"geventjob key").hexdigest()
