"""Kinds of option values. Each kind returns the value of a text, or raises ArgumentTypeError with what it expected."""

from __future__ import annotations

import math
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from geventjob.config.nearest import nearest
from geventjob.job.bounds import MOST_RETRIES

Kind = Callable[[str], Any]

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]")
NAME = re.compile(r"[A-Za-z0-9_.@:+-]{1,100}")


def _expected(what: str, got: str | None = None) -> ArgumentTypeError:
    return ArgumentTypeError(f"expected {what}" + (f", not {got!r}" if got is not None else ""))


def text(value: str) -> str:
    """Return any printable text of one line."""
    if not value or not value.isprintable():
        raise _expected("printable text of one line")
    return value


def secret(value: str) -> str:
    """Return a text that is never shown."""
    return text(value)


def flag(value: str) -> bool:
    """Mark a switch; ConfigArgParse itself reads true and false in the environment and the ini file."""
    raise AssertionError(value)


def seconds(value: str) -> float:
    """Return a duration above zero in seconds."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _expected("seconds, a number above 0", value)
    return number


def days(value: str) -> float:
    """Return a duration above zero in days."""
    try:
        return seconds(value)
    except ArgumentTypeError:
        raise _expected("days, a number above 0", value) from None


def whole(least: int, most: int, what: str = "a whole number") -> Kind:
    """Return the kind of a whole number from `least` to `most`, of seven digits at most."""

    def number(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,7}", value) or not least <= int(value) <= most:
            raise _expected(f"{what} from {least} to {most}", value)
        return int(value)

    return number


count = whole(1, 1_000_000)
retries = whole(0, MOST_RETRIES)
age = whole(0, 36_500, "days,")
share = whole(0, 1_000)
"""Of how many one is meant; 0 means none."""
port = whole(0, 65535, "a port")
"""A TCP port to listen on; 0 takes any free port."""


def size(value: str) -> int:
    """Return a number of bytes from 1024 on; `k` is 1024 bytes, `m` is 1024 k and `g` is 1024 m, as in nginx.

    >>> size("900k")
    921600
    """
    unit = {"k": 1024, "m": 1024**2, "g": 1024**3}.get(value[-1:].lower(), 1)
    number = value if unit == 1 else value[:-1]
    if not number.isdecimal() or len(number) > 12 or int(number) * unit < 1024:
        raise _expected("bytes, at least 1024, as 1000000 or 900k or 1m or 2g", value)
    return int(number) * unit


def host(value: str) -> str:
    """Return a host name or an address to listen on; IPv6 loses its brackets."""
    bare = value.strip("[]")
    if not HOST.fullmatch(f"[{bare}]" if ":" in bare else value):
        raise _expected("a host name or an IP address", value)
    return bare if ":" in bare else value


def endpoint(value: str) -> str:
    """Return `HOST` or `HOST:PORT`."""
    if "/" in value:
        raise _expected("HOST:PORT; a folder in ZooKeeper is --zk-root", value)
    found = re.fullmatch(rf"({HOST.pattern})(?::([0-9]{{1,5}}))?", value)
    if not found or not 0 < int(found.group(3) or 1) < 65536:
        raise _expected("HOST:PORT with a port from 1 to 65535", value)
    return value


def url(value: str) -> str:
    """Return an http(s) URL of a host with or without a path. A log-in in the URL is refused, and not shown."""
    if "@" in value:
        raise _expected("a URL without a log-in, which belongs into --ss-user and --ss-pass-file")
    try:
        parts = urlsplit(value)
        well = parts.scheme in ("http", "https") and HOST.fullmatch(parts.netloc.removesuffix(f":{parts.port}"))
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or not value.isprintable() or " " in value:
        raise _expected("a URL as https://HOST:PORT", value)
    return value.rstrip("/")


def search_host(value: str) -> str:
    """Return an Elasticsearch node: `HOST`, `HOST:PORT` or a URL, which may hold a log-in and is shown without it."""
    try:
        if "://" not in value:
            return endpoint(value)
        login = value.partition("://")[2].rpartition("@")[0]
        url(value.replace(f"{login}@", "", 1) if login else value)
    except ArgumentTypeError:
        raise _expected("HOST:PORT or a URL as https://HOST:PORT") from None
    return value


def network(value: str) -> str:
    """Return a network as 10.0.0.0/8, or one of the words link-local, server and nothing."""
    if value in ("link-local", "server", "nothing"):
        return value
    import ipaddress  # for this option alone

    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise _expected("a network as 10.0.0.0/8, link-local, server or nothing", value) from None


def index_prefix(value: str) -> str:
    """Return a prefix for names of indexes in Elasticsearch."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,99}", value):
        raise _expected("up to 100 lower-case letters, digits, - and _", value)
    return value


def node_name(value: str) -> str:
    """Return the name of a process, which is part of a path in ZooKeeper and may have blanks within."""
    if not NAME.fullmatch(value.replace(" ", "_")) or value in (".", "..") or value != value.strip():
        raise _expected("up to 100 of letters, digits, blanks and _.@:+-", value)
    return value


def root(value: str) -> str:
    """Return an absolute path in ZooKeeper; `/` becomes the empty path."""
    path = value.rstrip("/")
    parts = path.split("/")
    if path and (parts[0] or any(not NAME.fullmatch(part) or part in (".", "..") for part in parts[1:])):
        raise _expected("an absolute path as /geventjob", value)
    return path


def one_of(*words: str) -> Kind:
    """Return the kind of a choice among words."""

    def word(value: str) -> str:
        if value.lower() not in words:
            what = f"{', '.join(words[:-1])} or {words[-1]}"
            raise ArgumentTypeError(f"expected {what}, not {value!r}{nearest(value.lower(), words)}")
        return value.lower()

    return word


level = one_of("debug", "info", "warning", "error", "critical")
"""A level of the log, in small letters."""
log_format = one_of("text", "json")
log_jobs = one_of("all", "failed", "none")


def path(value: str) -> str:
    """Return an absolute path with `~` expanded, whether or not it exists."""
    expanded = os.path.expanduser(text(value))
    if expanded.startswith("~"):
        raise _expected("a path without ~: the user has no home folder", value)
    return os.path.abspath(expanded)


def folder(value: str) -> str:
    """Return the path of a folder that exists."""
    found = path(value)
    if not os.path.isdir(found):
        raise _expected("a folder that exists", value)
    return found


def readable(value: str) -> str:
    """Return the path of a file that can be read."""
    found = path(value)
    try:
        with open(found, "rb"):
            return found
    except OSError as error:
        raise _expected(f"a file that can be read: {value}: {error.strerror}") from None


def listed(kind: Kind) -> Kind:
    """Return the kind of a list whose items are separated by commas or line feeds."""

    def items(value: str) -> list[Any]:
        found = [kind(item) for raw in re.split(r"[,\n]", value) if (item := raw.strip())]
        if not found:
            raise _expected("at least one, separated by commas")
        return found

    return items
