"""Data kept beside a job, in a document of their own: its log and its records.

A job that has such a document says so in `_attached`, so that a job without one costs neither a write nor a read more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Union

from msgspec.structs import replace

from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.server.jobs.lifecycle import Edit, JobEdit, is_latest_claim
from geventjob.server.life.changes import LAST_ENTRY
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.logs import ATTEMPTS, appended
from geventjob.server.life.records import recorded
from geventjob.server.store.base import DuplicateKey, Insert, Store, StoreError, Update

log = logging.getLogger(__name__)

_ATTACHED = "_attached"
"""Attribute of a job: the kinds of the documents beside it."""
LOG = "log"


def marked(job: Document, edit: Edit) -> Document:
    """Return the job after this edit with a mark of what comes with the edit; else the very same document."""
    if edit.log is None and edit.record is None:
        return job
    return {**job, _ATTACHED: [LOG]} if not is_marked(job) and _brings(job, edit) else job


def is_marked(job: Document) -> bool:
    """Return whether something is kept beside the job."""
    return bool(job.get(_ATTACHED))


def _kept(edit: Edit, outcome: Union[Document, Exception]) -> tuple[Document, Edit] | None:
    """Return the job and the edit if something that came with the edit is to be kept.

    The record of a lost run is kept also if the report comes after the end of the job, and changes nothing any more.
    """
    if isinstance(outcome, dict):
        return (outcome, edit) if _brings(outcome, edit) else None
    if not isinstance(outcome, Refusal) or outcome.reason != "final" or edit.owner is None or edit.record is None:
        return None
    return (outcome.job, replace(edit, log=None)) if edit.record.why == "loss" else None


def _brings(job: Document, edit: Edit) -> bool:
    """Return whether something is to be kept that comes with an edit, after which the job is this."""
    return edit.owner is not None and (edit.record is not None or _logs(job, edit))


def _logs(job: Document, edit: Edit) -> bool:
    """Return whether the edit brings lines of the attempt that its claim has begun, the last one of the job."""
    owner = edit.owner
    if edit.log is None or owner is None:
        return False
    return is_latest_claim(job, owner) or job.get(LAST_ENTRY) == owner.entry  # held for another try


class Attachments:
    """The documents beside the jobs of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def log(self, job: Document) -> Document | None:
        """Return the document with the log and the records of a job. Raises StoreAway."""
        if not is_marked(job):
            return None
        (found,) = self._store.get([_beside(job["id"], LOG)])
        return found

    def keep(
        self, changes: Sequence[JobEdit], outcomes: Sequence[Union[Document, Exception]]
    ) -> list[Union[Document, Exception]]:
        """Keep the lines and records that came with edits, and return the outcomes of the edits.

        The outcome is the error for an edit that changes nothing else, which its executor sends again. Other edits are
        done already: what they brought is lost rather than an outcome held up.
        """
        after = list(outcomes)
        bringing = [index for index, one in enumerate(changes) if one.edit.log or one.edit.record]
        brought = {index: kept for index in bringing if (kept := _kept(changes[index].edit, outcomes[index]))}
        if not brought:
            return after
        try:
            self._append(list(brought.values()))
        except StoreError as error:
            log.warning("lines and records of %d jobs could not be stored: %s", len(brought), error)
            for index in brought:
                if not changes[index].edit.set:
                    after[index] = error
        return after

    def _append(self, brought: Sequence[tuple[Document, Edit]]) -> None:
        """Append what edits brought to the logs of these jobs, and make missing logs. Raises StoreError."""
        if unmarked := [job["id"] for job, _ in brought if not is_marked(job)]:
            self._store.write([Update(id, lambda job: {**job, _ATTACHED: [LOG]}) for id in unmarked])
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
    """Return the change of a log that adds what an edit brought."""
    owner, lines, record = edit.owner, edit.log, edit.record
    assert owner is not None

    def change(log: Document) -> Document:
        if lines is not None and _logs(job, edit):
            log = appended(log, lines, job.get("attempts", 0), owner.executor, moment)
        return log if record is None else recorded(log, record, job, owner.executor, moment)

    return change


def _beside(id: str, kind: str) -> str:
    return f"{kind}/{id.partition('/')[2]}"
