"""Facts of CIMI that a job server and its clients share."""

from __future__ import annotations

from typing import Any

from geventjob.near_uuid import near_uuid

Document = dict[str, Any]
"""A resource as JSON carries it: attribute names with their values."""

WINDOW = 10_000
"""The most documents that one search returns (docs/reference/cimi.md, "Jobs")."""

RESOURCE_URI = "http://sixsq.com/slipstream/1/"
"""Prefix of the `resourceURI` of each resource but the entry point (docs/reference/cimi.md)."""
STOP = "http://schemas.dmtf.org/cimi/2/action/stop"
"""`rel` of the operation that stops a job."""
COOKIE = "com.sixsq.slipstream.cookie"
"""Name of the cookie of a session."""

USER_LOG_IN = "session-template/internal"
KEY_LOG_IN = "session-template/api-key"
NEW_KEY = "credential-template/generate-api-key"
"""Ids of the templates of a log-in by password, a log-in by API key, and a new API key."""

ALL_ACTIONS = "*"
"""In place of an action to pause: all actions."""


def new_key() -> str:
    """Return a new idempotency key."""
    return near_uuid()
