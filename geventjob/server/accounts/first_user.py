"""The administrator `super`, without whom nobody could make users. Of servers that start at once, one makes him."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from geventjob.cimi.document import Document
from geventjob.server.accounts.passwords import MIN_LENGTH, Passwords
from geventjob.server.accounts.users import new_user, secret
from geventjob.server.store.base import DuplicateKey, Insert, Store, StoreError, Update

log = logging.getLogger(__name__)

NAME = "super"
ROLES = "ADMIN USER"


def ensure(store: Store, passwords: Passwords, password: str | None, data_dir: Path) -> None:
    """Make `super` unless there is one. `password` is his from now on, if given, else he gets a random one at first.

    That one is written to `admin-pass` in the data folder, for the owner of the process alone. Sessions go on if the
    password stays the same. Raises StoreError (a new password that is too short, too), OSError.
    """
    (user,) = store.get([f"user/{NAME}"])
    is_known = user is not None and password is not None and passwords.matches(user["_hash"], password)
    if password is not None and len(password) < MIN_LENGTH and not is_known:
        raise StoreError(f"--admin-pass-file: the password has {len(password)} characters: {MIN_LENGTH} at least")
    if user is None:
        user = _make(store, passwords, password) if password else _make_random(store, passwords, data_dir)
    if user is not None and password and not is_known:
        change = secret(passwords.hash(password))
        _only(store.write([Update(user["id"], lambda user: user | change)]))
        log.info("user %s has the password of --admin-pass-file now", NAME)


def _make(store: Store, passwords: Passwords, password: str) -> Document | None:
    """None, or the one that another server has made meanwhile."""
    try:
        _only(store.write([Insert(new_user(NAME, passwords.hash(password), ROLES))]))
    except DuplicateKey as duplicate:
        return duplicate.document
    return None


def _make_random(store: Store, passwords: Passwords, data_dir: Path) -> Document | None:
    """As `_make`. The password is in a file before it is anybody's; under the file's name once it is his."""
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
    log.info("user %s is the administrator; his password is in %s", NAME, file)
    return None


def _only(results: list[Document | Exception | None]) -> None:
    (result,) = results
    if isinstance(result, Exception):
        raise result
