"""The client and the coordination that the options of a command describe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from geventjob.cimi.client import Client
from geventjob.config import Settings
from geventjob.coordination import open_coordination
from geventjob.coordination.base import Coordination


def log_in(client: Client, settings: Settings) -> None:
    """Let the client log in as these settings say, from the next request on."""
    client.log_in_as(settings.ss_user, settings.ss_pass, settings.ss_key, settings.ss_secret)


def connect(settings: Settings, **options: Any) -> Client:
    """Return a client that has not connected yet; `options` are more arguments of `Client`.

    Raises ValueError for an invalid address.
    """
    return Client(**arguments(settings), **options)


def opening(settings: Settings) -> Callable[[str], Coordination]:
    """Return a function that opens coordination under a name; its calls are measured with `--metrics-port`."""
    open_ = partial(open_coordination, settings)
    if settings.metrics_port is None:
        return open_
    from geventjob.cli.metrics import measured  # the library is loaded for its option alone

    return measured(open_)


def arguments(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `Client` that these settings say."""
    return {
        "url": settings.ss_url,
        "user": settings.ss_user,
        "password": settings.ss_pass,
        "key": settings.ss_key,
        "secret": settings.ss_secret,
        "ca": settings.ss_ca,
        "insecure": settings.ss_insecure,
        "max_body": settings.max_body,
    }
