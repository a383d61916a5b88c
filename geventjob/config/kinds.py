"""What an option's value may be: each kind turns the text given into a value, or says what was expected."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Kind = Callable[[str], Any]

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\]")
NAME = re.compile(r"[A-Za-z0-9_.@:+-]{1,100}")


def _expected(what: str, got: str | None = None) -> ArgumentTypeError:
    return ArgumentTypeError(f"expected {what}" + (f", not {got!r}" if got is not None else ""))


def text(value: str) -> str:
    """Any text of one line."""
    if not value or not value.isprintable():
        raise _expected("printable text of one line")
    return value


def secret(value: str) -> str:
    """As `text`, but never shown."""
    return text(value)


def flag(value: str) -> bool:
    """A switch; ConfigArgParse reads true and false in the environment and the ini itself."""
    raise AssertionError(value)


def seconds(value: str) -> float:
    """A duration above zero, in seconds."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _expected("seconds, a number above 0", value)
    return number


def days(value: str) -> float:
    """A duration above zero, in days."""
    try:
        return seconds(value)
    except ArgumentTypeError:
        raise _expected("days, a number above 0", value) from None


def count(value: str) -> int:
    """A whole number from 1 to a million."""
    return _whole(value, 1, 1_000_000, "a whole number")


def size(value: str) -> int:
    """Bytes, from 1024; `k` and `m` stand for 1024 and 1024 times that, as in nginx.

    >>> size("900k")
    921600
    """
    number = value[:-1] if value[-1:].lower() in ("k", "m") else value
    unit = {"k": 1024, "m": 1024 * 1024}.get(value[-1:].lower(), 1)
    if not number.isdecimal() or len(number) > 12 or int(number) * unit < 1024:
        raise _expected("bytes, at least 1024, as 1000000 or 900k or 1m", value)
    return int(number) * unit


def port(value: str) -> int:
    """A TCP port to listen on; 0 takes any that is free."""
    return _whole(value, 0, 65535, "a port")


def _whole(value: str, least: int, most: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", value) or not least <= int(value) <= most:
        raise _expected(f"{what} from {least} to {most}", value)
    return int(value)


def host(value: str) -> str:
    """A host name or an address to listen on, IPv6 with or without brackets."""
    bare = value.strip("[]")
    if not HOST.fullmatch(f"[{bare}]" if ":" in bare else value):
        raise _expected("a host name or an IP address", value)
    return bare if ":" in bare else value


def endpoint(value: str) -> str:
    """`HOST` or `HOST:PORT`."""
    if "/" in value:
        raise _expected("HOST:PORT; a folder in ZooKeeper is --zk-root", value)
    found = re.fullmatch(rf"({HOST.pattern})(?::([0-9]{{1,5}}))?", value)
    if not found or not 0 < int(found.group(3) or 1) < 65536:
        raise _expected("HOST:PORT with a port from 1 to 65535", value)
    return value


def url(value: str) -> str:
    """An http(s) URL of a host and perhaps a path. A log-in in it is refused, and not shown."""
    if "@" in value:
        raise _expected("a URL without a log-in in it; that is --ss-user and --ss-pass-file")
    try:
        parts = urlsplit(value)
        well = parts.scheme in ("http", "https") and HOST.fullmatch(parts.netloc.removesuffix(f":{parts.port}"))
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or not value.isprintable() or " " in value:
        raise _expected("a URL as https://HOST:PORT", value)
    return value.rstrip("/")


def search_host(value: str) -> str:
    """An Elasticsearch node: `HOST`, `HOST:PORT` or a URL, which may hold a log-in and is shown without it."""
    try:
        if "://" not in value:
            return endpoint(value)
        login = value.partition("://")[2].rpartition("@")[0]
        url(value.replace(f"{login}@", "", 1) if login else value)
    except ArgumentTypeError:
        raise _expected("HOST:PORT or a URL as https://HOST:PORT") from None
    return value


def network(value: str) -> str:
    """A network, as 10.0.0.0/8, or one of the words for some."""
    if value in ("link-local", "server", "nothing"):
        return value
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise _expected("a network as 10.0.0.0/8, link-local, server or nothing", value) from None


def index_prefix(value: str) -> str:
    """What names of indexes in Elasticsearch begin with."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,99}", value):
        raise _expected("up to 100 lower-case letters, digits, - and _", value)
    return value


def node_name(value: str) -> str:
    """The name of a process, part of a path in ZooKeeper; blanks may stand within."""
    if not NAME.fullmatch(value.replace(" ", "_")) or value in (".", "..") or value != value.strip():
        raise _expected("up to 100 of letters, digits, blanks and _.@:+-", value)
    return value


def root(value: str) -> str:
    """An absolute path in ZooKeeper; `/` is none."""
    path = value.rstrip("/")
    parts = path.split("/")
    if path and (parts[0] or any(not NAME.fullmatch(part) or part in (".", "..") for part in parts[1:])):
        raise _expected("an absolute path as /geventjob", value)
    return path


def level(value: str) -> str:
    """A level of the log."""
    if value.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise _expected("debug, info, warning, error or critical", value)
    return value.lower()


def path(value: str) -> str:
    """A path, absolute and with `~` expanded, whether or not it exists."""
    expanded = os.path.expanduser(text(value))
    if expanded.startswith("~"):
        raise _expected("a path without ~, for which there is no home folder", value)
    return os.path.abspath(expanded)


def folder(value: str) -> str:
    """A folder that exists."""
    found = path(value)
    if not os.path.isdir(found):
        raise _expected("a folder that exists", value)
    return found


def readable(value: str) -> str:
    """A file that can be read."""
    found = path(value)
    try:
        with open(found, "rb"):
            return found
    except OSError as error:
        raise _expected(f"a file that can be read: {value}: {error.strerror}") from None


def listed(kind: Kind) -> Kind:
    """Several of a kind, separated by commas or lines."""

    def items(value: str) -> list[Any]:
        found = [kind(item) for raw in re.split(r"[,\n]", value) if (item := raw.strip())]
        if not found:
            raise _expected("at least one, separated by commas")
        return found

    return items
