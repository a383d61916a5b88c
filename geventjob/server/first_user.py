"""The administrator `super`, without whom nobody could make users."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path

from geventjob.server.password import Passwords
from geventjob.server.resources.user import new_user, secret
from geventjob.server.store.base import Document, Insert, Store, Taken, Update

log = logging.getLogger(__name__)

NAME = "super"
ROLES = "ADMIN USER"


def ensure(store: Store, passwords: Passwords, password: str | None, data_dir: Path) -> None:
    """Make `super` unless there is one. `password` is his from now on, if given, else he gets a random one at first.

    That one is written to `admin-pass` in the data folder, for the owner of the process alone. Sessions go on if the
    password stays the same. Raises StoreError, OSError.
    """
    (user,) = store.get([f"user/{NAME}"])
    if user is None:
        _make(store, passwords.hash(password) if password else _random(passwords, data_dir))
    elif password and not passwords.matches(user["_hash"], password):
        change = secret(passwords.hash(password))
        _only(store.write([Update(user["id"], lambda user: user | change)]))
        log.info("user %s has the password of --admin-pass-file now", NAME)


def _make(store: Store, hash: str) -> None:
    with contextlib.suppress(Taken):  # by another server that starts now
        _only(store.write([Insert(new_user(NAME, hash, ROLES))]))


def _random(passwords: Passwords, data_dir: Path) -> str:
    file = data_dir / "admin-pass"
    password = secrets.token_urlsafe(24)
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(password + "\n")
    log.info("user %s is the administrator; his password is in %s", NAME, file)
    return passwords.hash(password)


def _only(results: list[Document | Exception | None]) -> None:
    (result,) = results
    if isinstance(result, Exception):
        raise result
