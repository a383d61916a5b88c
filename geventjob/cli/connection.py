"""The client that a command's options describe."""

from __future__ import annotations

from typing import Any

from geventjob.cimi.client import Client
from geventjob.config import Settings


def connect(settings: Settings, **options: Any) -> Client:
    """Not connected yet. `options` are further arguments of `Client`. Raises ValueError for an address that is none."""
    return Client(
        settings.ss_url,
        settings.ss_user,
        settings.ss_pass,
        key=settings.ss_key,
        secret=settings.ss_secret,
        ca=settings.ss_ca,
        insecure=settings.ss_insecure,
        max_body=settings.max_body,
        **options,
    )
