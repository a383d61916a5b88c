"""What is kept beside a job, in documents of its own: the log.

A job names in `_attached` what it has, so that a job without a log costs neither a write nor a read more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Union

from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.server.jobs.changes import LAST_ENTRY
from geventjob.server.jobs.lifecycle import Edit, JobEdit, is_latest_claim
from geventjob.server.jobs.logs import ATTEMPTS, appended
from geventjob.server.store.base import DuplicateKey, Insert, Store, StoreError, Update

log = logging.getLogger(__name__)

_ATTACHED = "_attached"
"""Attribute of a job: the kinds of the documents beside it."""
LOG = "log"


def marked(job: Document, edit: Edit) -> Document:
    """Return the job after this edit with a mark of the log that comes with the edit; else the very same document."""
    attached = job.get(_ATTACHED, [])
    return {**job, _ATTACHED: [*attached, LOG]} if LOG not in attached and _logs(job, edit) else job


def is_marked(job: Document) -> bool:
    """Return whether something is kept beside the job."""
    return bool(job.get(_ATTACHED))


def _logs(job: Document, edit: Edit) -> bool:
    """Return whether the edit, after which the job is this, brings lines of the attempt that its claim has begun."""
    owner = edit.owner
    if edit.log is None or owner is None:
        return False
    return is_latest_claim(job, owner) or job.get(LAST_ENTRY) == owner.entry  # held for another try


class Attachments:
    """The documents beside the jobs of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def log(self, job: Document) -> Document | None:
        """Return the log of a job. Raises StoreAway."""
        if LOG not in job.get(_ATTACHED, ()):
            return None
        (found,) = self._store.get([_beside(job["id"], LOG)])
        return found

    def keep(
        self, changes: Sequence[JobEdit], outcomes: Sequence[Union[Document, Exception]]
    ) -> list[Union[Document, Exception]]:
        """Append the lines that came with edits, and return the outcomes of the edits.

        The outcome is the error for an edit that only brings lines, which its executor sends again. Other edits are
        done already: their lines are lost rather than an outcome held up.
        """
        after = list(outcomes)
        bring = [
            index
            for index, (change, job) in enumerate(zip(changes, outcomes, strict=True))
            if isinstance(job, dict) and _logs(job, change.edit)
        ]
        if not bring:
            return after
        try:
            self._append([(outcomes[index], changes[index].edit) for index in bring])
        except StoreError as error:
            log.warning("lines of %d jobs could not be stored: %s", len(bring), error)
            for index in bring:
                if not changes[index].edit.set:
                    after[index] = error
        return after

    def _append(self, brought: Sequence[tuple[Any, Edit]]) -> None:
        """Append the lines of edits to the logs of these jobs, and make missing logs. Raises StoreError."""
        moment, items = now(), list[Union[Insert, Update]]()
        for job, edit in brought:
            id = _beside(job["id"], LOG)
            items += [Insert({"id": id, ATTEMPTS: []}), Update(id, _appending(job, edit, moment))]
        results = self._store.write(items)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, DuplicateKey):
                raise result
        made = [job["id"] for (job, _), new in zip(brought, results[::2], strict=True) if isinstance(new, dict)]
        if made:  # a job may have been deleted since its edit
            self.delete([id for id, job in zip(made, self._store.get(made), strict=True) if job is None])

    def delete(self, ids: Sequence[str]) -> None:
        """Delete what is kept beside the jobs of these ids. Raises StoreAway."""
        if ids:
            self._store.write([Update(_beside(id, LOG), lambda _: None) for id in ids])


def _appending(job: Document, edit: Edit, moment: datetime) -> Callable[[Document], Document]:
    report, owner = edit.log, edit.owner
    assert report is not None
    assert owner is not None
    return lambda log: appended(log, report, job.get("attempts", 0), owner.executor, moment)


def _beside(id: str, kind: str) -> str:
    return f"{kind}/{id.partition('/')[2]}"
