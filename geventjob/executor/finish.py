"""The end of a claim: the state of its job is written, then its entry is consumed or released."""

from __future__ import annotations

import logging

from geventjob.cimi.errors import Refused
from geventjob.executor.claims import HeldClaims
from geventjob.executor.decide import Decider
from geventjob.executor.decision import Decision, Discard, Fail, GiveBack, LetGo, Stop, To, attributes, beside
from geventjob.executor.quarantine import Quarantine
from geventjob.executor.work import Work
from geventjob.executor.writes import Writes

log = logging.getLogger(__name__)


class Finisher:
    """Carries out decisions on claims."""

    def __init__(self, writes: Writes, claims: HeldClaims, decider: Decider, quarantine: Quarantine) -> None:
        self._writes = writes
        self._claims = claims
        self._decider = decider
        self._quarantine = quarantine

    def finish(self, work: Work, decision: Decision) -> None:
        """Carry out the decision; if its write is refused, carry out the decision that follows from the refusal.

        After a second refusal the entry is consumed: the server does not let this executor end the job.
        Raises ClaimLost, OutOfPatience.
        """
        try:
            self._carry_out(work, decision)
        except Refused as refusal:
            if isinstance(decision, (Fail, Stop)) and decision.refusal:
                log.error("%s: its end cannot be written: %s", work.claim.job, refusal)
                self._carry_out(work, Discard())
            else:
                self.settle(work, refusal)

    def settle(self, work: Work, refusal: Refused) -> None:
        """Carry out the decision that follows from a refusal. Raises ClaimLost, OutOfPatience."""
        self.finish(work, self._decider.after_refusal(work.claim.job, refusal))

    def leave_quarantine(self, work: Work) -> None:
        """Let the next suspect begin: from now on its death does not interrupt this job."""
        if self._quarantine.leave(work.claim):
            self._claims.readmit()

    def _carry_out(self, work: Work, decision: Decision) -> None:
        """Write first, end the entry after that: a death in between loses no job."""
        claim, patience = work.claim, work.patience
        change = attributes(decision)
        if change:
            self._writes.write(claim, change, patience, {**beside(decision), **work.beside})
            work.attempt = False
            self.leave_quarantine(work)
        if isinstance(decision, GiveBack):
            give_back = {
                To.ANYONE: self._claims.release,
                To.OTHERS_FIRST: self._claims.pass_on,
                To.OTHERS: self._claims.leave_alone,
            }
            give_back[decision.to](claim, patience)
        elif not isinstance(decision, LetGo):
            self._claims.consume(claim, patience)
