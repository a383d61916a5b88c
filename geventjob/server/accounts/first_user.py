"""The administrator `super`, who makes all other users. Of servers that start at once, one makes this user."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from geventjob.cimi.document import Document
from geventjob.server.accounts.passwords import MIN_LENGTH, Passwords
from geventjob.server.accounts.users import new_user, password_attributes
from geventjob.server.store.base import DuplicateKey, Insert, Store, StoreError, Update, write_one

log = logging.getLogger(__name__)

NAME = "super"
ROLES = "ADMIN USER"


def ensure(store: Store, passwords: Passwords, password: str | None, data_dir: Path) -> None:
    """Make `super` unless this user exists, and set the password if one is given.

    Without a given password a new `super` gets a random one, in the file `admin-pass` of the data folder (mode 0600).
    Sessions stay valid if the password is unchanged. Raises StoreError (also for a short password), OSError.
    """
    (user,) = store.get([f"user/{NAME}"])
    is_unchanged = user is not None and password is not None and passwords.matches(user["_hash"], password)
    if password is not None and len(password) < MIN_LENGTH and not is_unchanged:
        raise StoreError(f"--admin-pass-file: the password has {len(password)} characters: {MIN_LENGTH} at least")
    if user is None:
        user = _make(store, passwords, password) if password else _make_random(store, passwords, data_dir)
    if user is not None and password and not is_unchanged:
        change = password_attributes(passwords.hash(password))
        write_one(store, Update(user["id"], lambda user: user | change))
        log.info("user %s has the password of --admin-pass-file from now on", NAME)


def _make(store: Store, passwords: Passwords, password: str) -> Document | None:
    """Make the user and return None, or return the user that another server has made in the meantime."""
    try:
        write_one(store, Insert(new_user(NAME, passwords.hash(password), ROLES)))
    except DuplicateKey as duplicate:
        return duplicate.document
    return None


def _make_random(store: Store, passwords: Passwords, data_dir: Path) -> Document | None:
    """Make the user with a random password and return None, or return another server's user.

    The password is in a draft file before the user exists, and under the final name once the user has it.
    """
    password = secrets.token_urlsafe(24)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, draft = data_dir / "admin-pass", data_dir / f"admin-pass.{secrets.token_hex(4)}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(password + "\n")
    other = _make(store, passwords, password)
    if other is not None:
        draft.unlink()
        return other
    draft.replace(file)
    log.info("user %s is the administrator; the password is in %s", NAME, file)
    return None
