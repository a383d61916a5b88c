"""The executor's writes to its jobs: gathered into bulk edits, and tried again until the server has answered.

The server being away is nobody's failure (DESIGN §5.6): what is in hand waits here, one request at a time probes
whether it is back, and while it is away nothing new is taken (`up`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
from gevent.event import Event

from geventjob.backoff import delays
from geventjob.batch import Batcher
from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError, ServerAway
from geventjob.coordination.base import Claim

log = logging.getLogger(__name__)

Document = dict[str, Any]


class ClaimLost(Exception):
    """The claim in whose name the write was to be made is no longer ours: nothing was written, or it is not known."""


class OutOfPatience(Exception):
    """The server did not answer in the time that the caller had."""


@dataclass(eq=False)
class Write:
    """One edit of an owner, on its way."""

    claim: Claim
    set: Mapping[str, Any]
    wanted: bool = True
    """False once its caller has gone: it is not sent any more."""

    def edit(self, executor: str) -> Document:
        claim = self.claim
        return {"id": claim.job, "set": self.set, "entry": claim.entry, "fence": claim.fence, "executor": executor}


class Writes:
    """Writes in the name of claims. `up` is set while the server answers."""

    def __init__(self, client: Client, executor: str, actions: Sequence[str]) -> None:
        self._client = client
        self._executor = executor
        self._actions = actions
        self._batch: Batcher[Write | None, Document] = Batcher(self._send)
        self.up = Event()
        self._told = False

    def connect(self) -> None:
        """Wait until the server answers."""
        self._batch(None)

    def write(self, claim: Claim, set: Mapping[str, Any], patience: float | None = None) -> Document:
        """Edit the claim's job as its owner; the job as it is then.

        Tried again for as long as the claim holds, or `patience` seconds. Raises Refused, ClaimLost, OutOfPatience.
        """
        write = Write(claim, set)
        try:
            with gevent.Timeout(patience, OutOfPatience):
                for delay in delays():
                    if claim.lost:
                        raise ClaimLost
                    try:
                        return self._batch(write)
                    except ServerAway as error:  # of this one job alone: the others must not wait for it
                        log.warning("%s: the server could not take an edit: %s", claim.job, error)
                    gevent.sleep(delay)
        finally:
            write.wanted = False
        raise AssertionError("delays do not end")

    def _send(self, batch: list[Write | None]) -> Sequence[Document | BaseException]:
        """One bulk edit, again and again until the server answers."""
        for delay in delays():
            due = [w for w in batch if w and w.wanted and not w.claim.lost]
            try:
                answers = iter(self._request(due))
            except ServerAway as error:
                self._away(error)
            else:
                self._back()
                sent = set(due)
                return [next(answers) if w in sent else {} if w is None else ClaimLost() for w in batch]
            gevent.sleep(delay)
        raise AssertionError("delays do not end")

    def _request(self, due: list[Write]) -> Sequence[Document | CimiError]:
        if not due:
            self._client.search("job", last=0)
            return []
        claims = {write.claim.fence: write.claim for write in due}
        return self._client.bulk_edit(
            [write.edit(self._executor) for write in due],
            actions=self._actions,
            held=lambda edit: not claims[edit["fence"]].lost,
        )

    def _away(self, error: ServerAway) -> None:
        if not self._told:
            log.warning("the server is away, what is in hand waits: %s", error)
        self._told = True
        self.up.clear()

    def _back(self) -> None:
        if self._told:
            log.warning("the server is back")
        self._told = False
        self.up.set()
