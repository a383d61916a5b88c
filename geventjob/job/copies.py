"""Copies of jobs, to run them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geventjob.job.attributes import COPIED, ENTRY


def like(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new job with the same request as an old one, without its entry in the queue."""
    job = {name: old[name] for name in COPIED if name in old}
    properties = {name: value for name, value in job.pop("properties", {}).items() if name != ENTRY}
    return job | ({"properties": properties} if properties else {})
