"""API keys: what a program logs in with in place of a password (CIMI.md §2).

The secret is chance, 30 letters of 56 (174 bits): nobody guesses it, whatever a guess costs. So what is stored of it is
a plain hash, without the salt and the slowness that a password needs, and a log-in by key takes microseconds rather
than 30 ms of a core.

A key is of the user that there was when it was made; he who comes back under the same name does not find it. It has
the roles that it was made with, as far as its user has them still.
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
"""Letters and digits that are not mistaken for another."""
GROUPS, LETTERS = 5, 6
TYPE = "api-key"


def new_secret() -> str:
    """Five groups of six letters, `aaaaaa.bbbbbb.cccccc.dddddd.eeeeee`."""
    return ".".join("".join(secrets.choice(ALPHABET) for _ in range(LETTERS)) for _ in range(GROUPS))


def new_key(user: Document, secret: str, roles: Collection[str], life: timedelta | None) -> Document:
    """The document of a key of this user; it has no end without `life`."""
    name = user["username"]
    ends = {} if life is None else {"expiry": cimi_time(now() + life)}
    document = (
        new_document(f"credential/{uuid4()}", "Credential", acl("ROLE", "ADMIN", [("USER", name, "MODIFY")])) | ends
    )
    return document | {
        "type": TYPE,
        "method": "generate-api-key",
        "claims": {"identity": name, "roles": sorted(roles)},
        "_digest": _digest(secret),
        "_user": user["created"],
    }


def opens(key: Document | None, secret: str) -> bool:
    """Whether this is the secret of this key, and the key has not ended."""
    digest = key["_digest"] if key else _digest("")
    same = hmac.compare_digest(digest, _digest(secret))
    return same and key is not None and key.get("expiry", "9") > cimi_time(now())


def is_of(key: Document, user: Document) -> bool:
    """Whether the key is of this user, and not of an earlier one of his name."""
    return bool(key["claims"]["identity"] == user["username"] and key["_user"] == user["created"])


def _digest(secret: str) -> str:
    letters = "".join(letter for letter in secret if letter in ALPHABET)
    return blake2b(letters.encode(), digest_size=32, person=b"geventjob key").hexdigest()
