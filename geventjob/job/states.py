"""The states of a job, and the transitions between them (docs/job-lifecycle.md, "Transitions")."""

from __future__ import annotations

from collections.abc import Mapping

OWNER, TAKER = "owner", "taker"
"""The claims that may write a transition: only the claim that began the job, or also a newer claim."""

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
"""State → following state → OWNER or TAKER. Unfenced writes need a transition of this table, and no claim.

A write of the current state is no transition.
"""

STATES = tuple(TRANSITIONS)

FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""States that no state follows."""
