"""Whose files and folders are, and who else may write to them; see `docs/security.md`, "Files"."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

ROOT = 0


class Unsafe(OSError):
    """A folder or file that others may change. `strerror` says which and why, in one line."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(None, f"{path}: {why}")


def private_folder(path: str | Path) -> Path:
    """Return the folder, made for its owner alone if it is missing.

    Raises Unsafe for a folder that is not ours or that others may write to, other errors of the system as OSError.
    """
    folder = Path(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    why = fault(folder, owners=(os.geteuid(),))
    if why:
        raise Unsafe(folder, why)
    return folder


def open_private(path: str | Path) -> int:
    """Return a descriptor of a file to read and write, made if it is missing: its owner's alone at any umask."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_code(folder: Path) -> None:
    """Look at a folder of Python files, and at those in it, before they are run. Raises Unsafe, OSError.

    Neither the folder, nor a file, nor the folder that a link leads to may be changed by others than root and us.
    """
    places = [folder]
    for file in folder.rglob("*.py"):
        places += [file.parent, file.resolve().parent, file]
    for path in dict.fromkeys(places):
        why = fault(path, owners=(os.geteuid(), ROOT)) if path.exists() else None
        if why:
            raise Unsafe(path, why)


def fault(path: Path, owners: tuple[int, ...]) -> str | None:
    """Return why others than these owners may change a file or folder, with what mends it; None if nobody may."""
    status = path.stat()
    if status.st_uid not in owners:
        return f"belongs to {_user(status.st_uid)}, expected {' or '.join(map(_user, dict.fromkeys(owners)))}"
    if status.st_mode & stat.S_IWOTH:
        return f"everybody may write to it; chmod go-w {path}"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid, status.st_uid):
        return f"its group may write to it; chmod g-w {path}"
    return None


def _is_private(group: int, owner: int) -> bool:
    """Return whether a group is the owner's own, as `adduser` makes one: of the user's name, and nobody else in it."""
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
