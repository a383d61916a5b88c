"""`job/bulk-add`, `job/bulk-edit`, `job/bulk-delete`: many jobs in one request, each for itself (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import falcon
import gevent
import msgspec
from gevent.lock import BoundedSemaphore

from geventjob.cimi.document import Document
from geventjob.clock import boottime
from geventjob.server.accounts.access import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import shown
from geventjob.server.filter import parse
from geventjob.server.http.answer import give, listed, report
from geventjob.server.http.errors import problem_of
from geventjob.server.http.receive import BULK, read
from geventjob.server.http.room import WORK, hold
from geventjob.server.jobs.lifecycle import Edit
from geventjob.server.jobs.service import SLICE, Change, Jobs
from geventjob.server.problem import away
from geventjob.server.resources.bodies import (
    JobsAdd,
    JobsDelete,
    JobsEdit,
    OwnersEdit,
    body_of,
    decoded,
    job_add,
    job_edit,
)

DELETING = 20.0
"""Seconds after which a bulk delete answers what it has deleted so far."""

BREATH = 32 * 1024
"""Bytes of items that are checked in one go, some ms."""

MANY = 100
"""Edits of a request that costs much, however short they are."""

AT_ONCE = 200
"""Jobs that one request changes in one commit: each is in memory, twice as large as its 256 KB of payload."""

_one_answer = BoundedSemaphore(1)
"""Answers take a good part of the memory until they are encoded."""
_NO_ROOM = away("the answer has no room for this job: the same edit again is safe")

Good = TypeVar("Good")


class BulkResource:
    """Many jobs at once."""

    def __init__(self, jobs: Jobs, sessions: Sessions) -> None:
        self._jobs = jobs
        self._sessions = sessions

    def on_post_add(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller = self._sessions.caller_of(req)
        caller.need_add()
        items = body_of(JobsAdd, read(req, BULK)).jobs
        results = _each(items, lambda item: job_add(decoded(item)), lambda bodies: self._jobs.add(bodies, caller))
        give(resp, {"results": [_added(result) for result in results]})

    def on_post_edit(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller = self._sessions.caller_of(req)
        caller.need_role("USER")
        body = body_of(JobsEdit, read(req, BULK))
        actions = frozenset(body.actions) if isinstance(body.actions, list) else None
        is_costly = len(body.edits) > MANY
        if is_costly:
            hold(req, WORK, caller)
        results = _each(
            body.edits, lambda item: _change(item, actions), lambda changes: self._edit_in_parts(changes, caller)
        )
        if not is_costly:  # all edits are made before the answer has its turn
            results = iter(list(results))
        with nullcontext() if is_costly else _one_answer:
            answers = (_edited(result, body.answer == "job") for result in results)
            give(resp, {"results": listed(answers, _NO_ROOM.body)})

    def _edit_in_parts(self, changes: Sequence[Change], caller: Caller) -> Iterator[Document | Exception]:
        """Edit AT_ONCE jobs, have their answers made, go on: no more of them are in memory."""
        for part in _parts(changes):
            yield from self._jobs.edit(part, caller)

    def on_post_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller = self._sessions.caller_of(req)
        caller.need_role("ADMIN")
        filter = parse(body_of(JobsDelete, read(req)).filter)
        until, deleted, last = boottime() + DELETING, 0, SLICE
        while last == SLICE and boottime() < until:
            last = self._jobs.delete_all(filter, SLICE, caller)
            deleted += last
        give(resp, {"deleted": deleted})


def _each(
    items: Sequence[msgspec.Raw],
    check: Callable[[bytes], Good],
    do: Callable[[Sequence[Good]], Iterable[Any]],
) -> Iterator[Any]:
    """The results, in order, of doing at once what passes its check; what does not is its own result."""
    checked, since = [], 0
    for item in items:
        data = bytes(item)
        checked.append(_try(check, data))
        since += len(data)
        if since > BREATH:
            since = 0
            gevent.sleep(0)
    results = iter(do([good for good in checked if not isinstance(good, Exception)]))
    return (good if isinstance(good, Exception) else next(results) for good in checked)


def _parts(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """These in their order, cut where more than AT_ONCE jobs would be changed."""
    start, ids = 0, set[str]()
    for place, change in enumerate(changes):
        if len(ids) == AT_ONCE and change.id not in ids:
            yield changes[start:place]
            start, ids = place, set()
        ids.add(change.id)
    if changes:
        yield changes[start:]


def _try(check: Callable[[bytes], Good], item: bytes) -> Good | Exception:
    try:
        return check(item)
    except Exception as error:
        return error


def _change(item: bytes, actions: frozenset[str] | None) -> Change:
    edit = body_of(OwnersEdit, item)
    set = job_edit(edit.set, edit.delete)
    return Change(edit.id, Edit(set, edit.delete, edit.owner, actions, edit.max_interruptions))


def _added(result: str | Exception) -> Document:
    return problem_of(result).body() if isinstance(result, Exception) else report(result, "created", 201)


def _edited(result: Document | Exception, whole: bool) -> Document:
    if isinstance(result, Exception):
        return problem_of(result).body()
    return {"status": 200, "job": shown(result)} if whole else {"status": 200}
