"""Facts of CIMI that a job server and its clients share."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
"""A resource as JSON carries it: attribute names with their values."""

WINDOW = 10_000
"""The most documents that one search returns (docs/reference/cimi.md, "Jobs")."""
