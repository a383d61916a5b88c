"""The states of a job, and which state may follow which (docs/job-lifecycle.md)."""

from __future__ import annotations

from collections.abc import Mapping

OWNER, TAKER = "owner", "taker"
"""Which claim may write a transition: only the one that began the job, or also a newer one."""

TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "QUEUED": {"RUNNING": TAKER, "STOPPED": TAKER, "SUCCESS": TAKER, "FAILED": TAKER},
    "RUNNING": {
        "RUNNING": TAKER,
        "QUEUED": OWNER,
        "STOPPING": OWNER,
        "SUCCESS": OWNER,
        "FAILED": TAKER,
        "STOPPED": OWNER,
    },
    "STOPPING": {"STOPPED": TAKER, "SUCCESS": TAKER, "FAILED": TAKER},
    "SUCCESS": {},
    "FAILED": {},
    "STOPPED": {},
}
"""State → following state → OWNER or TAKER. Unfenced writes need a transition of this table and no claim.

A write of the state that the job has is no transition.
"""

STATES = tuple(TRANSITIONS)

FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States that no state follows."""
