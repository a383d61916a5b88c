"""Owners of files and folders, and other users that may write to them; see `docs/security.md`, "Files"."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

ROOT = 0


class Unsafe(OSError):
    """A folder or file that other users may change. `strerror` names the path and the reason in one line."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(None, f"{path}: {why}")


def private_folder(path: str | Path) -> Path:
    """Return the folder; make it for its owner alone if missing.

    Raises Unsafe for a folder of another user or one that other users may write to, OSError for system errors.
    """
    folder = Path(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    why = fault(folder, owners=(os.geteuid(),))
    if why:
        raise Unsafe(folder, why)
    return folder


def open_private(path: str | Path) -> int:
    """Return a descriptor of a file for reading and writing, made if missing, with mode 0600 at any umask."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read from its first moment on, and that is never half written."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def check_code(folder: Path) -> None:
    """Check that only root and the user of this process may change a folder, its Python files and link targets.

    Raises Unsafe, OSError.
    """
    places = [folder]
    for file in folder.rglob("*.py"):
        places += [file.parent, file.resolve().parent, file]
    for path in dict.fromkeys(places):
        why = fault(path, owners=(os.geteuid(), ROOT)) if path.exists() else None
        if why:
            raise Unsafe(path, why)


def fault(path: Path, owners: tuple[int, ...]) -> str | None:
    """Return why users other than these owners may change a path, with the remedy; None if no other user may."""
    status = path.stat()
    if status.st_uid not in owners:
        return f"belongs to {_user(status.st_uid)}, expected {' or '.join(map(_user, dict.fromkeys(owners)))}"
    if status.st_mode & stat.S_IWOTH:
        return f"everybody may write to it; chmod go-w {path}"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid, status.st_uid):
        return f"its group may write to it; chmod g-w {path}"
    return None


def _is_private(group: int, owner: int) -> bool:
    """Return whether a group is the owner's private one: with the user's name and without other members."""
    try:
        user, found = pwd.getpwuid(owner), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
