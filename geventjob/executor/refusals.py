"""What each refusal of the server asks of the executor that holds the claim (docs/reference/api.md, Errors)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from geventjob.cimi.errors import Conflict, Forbidden, NotFound, Refused
from geventjob.executor.claims import Claims
from geventjob.executor.outcome import failed
from geventjob.executor.unknown import UnknownActions, describe
from geventjob.executor.work import Work
from geventjob.executor.writes import Writes
from geventjob.plugins import Actions

log = logging.getLogger(__name__)


class Refusals:
    """Settles claims whose write was refused: each is consumed, released, or left alone for a while."""

    def __init__(self, writes: Writes, claims: Claims, actions: Actions, unknown: UnknownActions) -> None:
        self._writes = writes
        self._claims = claims
        self._actions = actions
        self._unknown = unknown

    def settle(self, work: Work, refusal: Refused) -> None:
        """Do what the refusal asks for. Raises ClaimLost, OutOfPatience."""
        claim = work.claim
        if isinstance(refusal, Conflict):
            self._conflict(work, refusal)
        elif isinstance(refusal, Forbidden):
            log.error("%s: the server forbids us to work on it: %s", claim.job, refusal)
            self._claims.leave_alone(claim)
        elif isinstance(refusal, NotFound):
            log.warning("%s does not exist (any more): its entry is removed", claim.job)
            self._claims.consume(claim, work.patience)
        else:
            log.error("%s: the server refused it: %s", claim.job, refusal)
            self._finish(work, failed(refusal.message))

    def _conflict(self, work: Work, conflict: Conflict) -> None:
        claim, job = work.claim, conflict.job or {}
        if conflict.reason == "fence":  # not even its stop is ours to tell
            log.warning("%s belongs to somebody else: %s", claim.job, conflict)
            self._claims.leave_alone(claim, work.patience)
        elif conflict.reason == "stopping" or (job.get("state") == "STOPPING" and conflict.reason != "entry"):
            self._finish(work, {"state": "STOPPED"})
        elif conflict.reason == "action":
            self._unknown_action(work, str(job.get("action")))
        else:
            if conflict.reason not in ("final", "entry"):
                log.error("%s: %s", claim.job, conflict)
            self._claims.consume(claim, work.patience)

    def _unknown_action(self, work: Work, action: str) -> None:
        if not self._unknown.hopeless(action):
            self._claims.leave_alone(work.claim)
            return
        log.error("%s: no executor knows the action %r", work.claim.job, action)
        self._finish(work, failed(describe(action, self._actions)))

    def _finish(self, work: Work, end: Mapping[str, Any]) -> None:
        """Write the end of a job that does not run here; whatever the answer, its entry has served."""
        try:
            self._writes.write(work.claim, end, work.patience)
        except Refused as refusal:
            log.error("%s: its end cannot be written: %s", work.claim.job, refusal)
        self._claims.consume(work.claim, work.patience)
