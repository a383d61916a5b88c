"""The executor's writes to its jobs: gathered into bulk edits, and tried again until the server has answered.

Two requests may be in flight at once; the writes of one claim arrive in their order.

A server that is away fails no job (docs/operations.md): the writes wait here, single requests probe whether the server
is back, and the executor takes no new jobs meanwhile (`up`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import gevent
from gevent.event import Event

from geventjob.backoff import retry
from geventjob.batch import Batcher
from geventjob.cimi.body import encoded
from geventjob.cimi.client import Client
from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, Conflict, ForeignAnswer, Invalid, LoginRefused, Refused, ServerAway
from geventjob.coordination.base import Claim

log = logging.getLogger(__name__)

BATCH = 100
"""Most edits of one request. The server makes a larger request wait for its turn (decision 21): larger batches cost a
third of the rate of four executors."""
FLIGHTS, WORTH = 2, 25
"""Most requests at once, and the edits that must wait for a second: while the server works on one request, the executor
makes the next. A request costs as much CPU as 15 edits, so small ones do not leave beside another."""
SHORT = 200
"""Characters to which a statusMessage is cut that was too large for a proxy on the way to the server."""
ENGINE_SETS = {"state", "returnCode", "statusMessage"}
"""Attributes that the executor itself writes at an end. Their size must fail no job."""


class ClaimLost(Exception):
    """The claim of a write is lost: nothing was written, or the answer did not arrive."""


class OutOfPatience(Exception):
    """The server did not answer in the time that the caller has set."""


@dataclass(eq=False)
class Write:
    """An edit of a job by its owner, on its way to the server."""

    claim: Claim
    set: Mapping[str, Any]
    beside: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the edit, as `maxInterruptions` (docs/reference/api.md, "Claims of executors")."""
    late: bool = False
    """Whether the write is sent although the claim is lost: it only reports the past."""
    wanted: bool = True
    """False once the caller has gone: the write is not sent any more."""

    @property
    def starts(self) -> bool:
        """Return whether the write begins a job. Such writes go first: a slot waits for each, for an outcome none."""
        return self.set.get("state") == "RUNNING"

    @property
    def held(self) -> bool:
        """Return whether the write may be sent now."""
        return self.late or not self.claim.lost

    def edit(self, executor: str) -> Document:
        """Return the write as an item of a bulk edit (docs/reference/api.md, "Jobs")."""
        claim = self.claim
        owner = {"entry": claim.entry, "fence": claim.fence, "executor": executor}
        return {"id": claim.job, "set": self.set, **owner, **self.beside}

    def lighten(self, error: CimiError) -> bool:
        """Leave out what the write can do without after this refusal; return whether it may be sent again.

        Lines and a record of the run go first: neither their size nor their text may fail a job.
        """
        spare = self.beside.keys() & {"log", "record"}
        if spare:
            self.beside = {name: value for name, value in self.beside.items() if name not in spare}
            return True
        if not isinstance(error, Invalid):
            return True
        if error.status != 413 or self.set.keys() - ENGINE_SETS:
            return False
        self.set = shortened(self.set)
        if "failure" in self.beside:
            self.beside = {**self.beside, "failure": {**self.beside["failure"], "message": "", "traceback": ""}}
        return True


class Writes:
    """Sends writes in the name of claims. `up` is set while the server answers."""

    def __init__(
        self,
        client: Client,
        executor: str,
        actions: Callable[[], Sequence[str]],
        on_away: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Send nothing yet.

        `on_away(reason)` is called when the server is away, and with an empty text once the server is back.
        """
        self._client = client
        self._executor = executor
        self._actions = actions
        self._on_away = on_away
        self._batch: Batcher[Write | None, Document] = Batcher(
            self._send,
            name="edits",
            count=BATCH,
            flights=FLIGHTS,
            worth=WORTH,
            order=lambda write: write and write.claim,
            first=lambda write: write is not None and write.starts,
        )
        self.up = Event()
        self._away_logged = False
        self._failing: set[Write] = set()
        """Writes that the server could not take: of many that fail at once (a full disk), the first is logged."""

    def connect(self) -> None:
        """Wait until the server answers."""
        self._batch(None)

    def write(
        self,
        claim: Claim,
        set: Mapping[str, Any],
        patience: float | None = None,
        beside: Mapping[str, Any] = MappingProxyType({}),
    ) -> Document:
        """Edit the claim's job as its owner; return the job as it is then.

        The write is tried again for as long as the claim holds, or `patience` seconds; with a shorter message if the
        message is too large. `beside`: further fields of the edit. Raises Refused, ClaimLost, OutOfPatience;
        ValueError, TypeError for values that are no JSON.
        """
        if not ENGINE_SETS.issuperset(set):
            encoded(set)  # here: an error of this edit must not be raised to all callers that share its request
        return self._deliver(Write(claim, set, beside), patience)

    def report_end(
        self, claim: Claim, patience: float | None = None, beside: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Report that the attempt of a lost claim has ended in good order, and so is no interruption.

        `beside`: further fields of the edit.
        Nothing is sent to a server that cannot tell such a write from a write of the owner. Raises OutOfPatience.
        """
        with suppress(Refused, ClaimLost):
            self._deliver(Write(claim, {"state": "QUEUED"}, beside, late=True), patience)

    def _deliver(self, write: Write, patience: float | None) -> Document:
        try:
            with gevent.Timeout(patience, OutOfPatience):
                return self._write(write)
        finally:
            write.wanted = False

    def _write(self, write: Write) -> Document:
        """Send the write until the server has answered. A write that fails alone delays no other job's."""

        def attempt() -> Document:
            if not write.held:
                raise ClaimLost
            return self._batch(write)

        def pause(error: ServerAway | Invalid, delay: float) -> float:
            concerns_it_alone = isinstance(error, (Invalid, ForeignAnswer))
            if concerns_it_alone and not write.lighten(error):
                raise error
            told = write in self._failing if concerns_it_alone else bool(self._failing)
            log_level = logging.DEBUG if told else logging.WARNING
            log.log(log_level, "%s: the server could not take an edit: %s", write.claim.job, error)
            self._failing.add(write)
            return delay

        try:
            return retry(attempt, (ServerAway, Invalid), pause)
        finally:
            self._failing.discard(write)

    def _send(self, batch: list[Write | None]) -> Sequence[Document | BaseException]:
        """Send one bulk edit, again and again until the server answers."""

        def attempt() -> Sequence[Document | BaseException]:
            due = self._due(batch)
            answers = iter(self._request(due))
            self._back()
            sent = set(due)
            return [_answer(w, next(answers)) if w in sent else {} if w is None else ClaimLost() for w in batch]

        return retry(attempt, (ServerAway, LoginRefused), self._away)

    def _due(self, batch: list[Write | None]) -> list[Write]:
        due = [write for write in batch if write and write.wanted and write.held]
        if any(write.late for write in due) and not self._client.dialect.forgives:
            return [write for write in due if not write.late]
        return due

    def _request(self, due: list[Write]) -> Sequence[Document | CimiError]:
        if not due:
            self._client.search("job", last=0)
            return []
        writes = {(write.claim.entry, write.claim.fence): write for write in due}
        return self._client.bulk_edit(
            [write.edit(self._executor) for write in due],
            actions=self._actions(),
            held=lambda edit: writes[edit["entry"], edit["fence"]].held,
        )

    def _away(self, error: CimiError, delay: float) -> float:
        if not self._away_logged:
            log.warning("the server is away, the writes of this executor wait: %s", error)
            self._on_away(str(error) or type(error).__name__)
        self._away_logged = True
        self.up.clear()
        return delay

    def _back(self) -> None:
        if self._away_logged:
            log.warning("the server is back")
            self._on_away("")
        self._away_logged = False
        self.up.set()


def _answer(write: Write | None, answer: Document | CimiError) -> Document | BaseException:
    """Return the result of a write for its caller; the refusal of a lost claim counts as ClaimLost."""
    lost = isinstance(answer, Conflict) and write is not None and not write.held
    return ClaimLost() if lost else answer


def shortened(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes with a short statusMessage in place of a long one; the state and the code stay.

    >>> shortened({"state": "SUCCESS", "statusMessage": "x" * 900})["statusMessage"][SHORT:]
    '… (900 characters, too many for a proxy on the way to the server)'
    """
    message = attributes.get("statusMessage", "")
    if len(message) <= 2 * SHORT:
        return attributes
    cut = f"{message[:SHORT]}… ({len(message)} characters, too many for a proxy on the way to the server)"
    return {**attributes, "statusMessage": cut}
