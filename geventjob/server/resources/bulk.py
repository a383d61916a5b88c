"""Bulk requests: `job/bulk-add` and `-edit`, `-delete`, `-stop`, `-release`, `-rerun`. Each succeeds or fails alone."""

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
from geventjob.server.accounts.audit import Deed
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import public
from geventjob.server.filter import parse
from geventjob.server.http.admission import HEAVY_WORK, admit
from geventjob.server.http.audited import set_deed
from geventjob.server.http.decode import decode, decode_as
from geventjob.server.http.errors import problem_of
from geventjob.server.http.request_body import MAX_BULK_BODY, read_body
from geventjob.server.http.response import encode_items, result_of, set_json
from geventjob.server.jobs.adding import SLICE
from geventjob.server.jobs.lifecycle import Edit, JobEdit
from geventjob.server.jobs.matching import Done, MatchingJobs
from geventjob.server.jobs.service import Jobs
from geventjob.server.problem import unavailable
from geventjob.server.resources.bodies import BulkAddBody, BulkEditBody, BulkEditItem, BulkRerunBody, MatchingBody
from geventjob.server.resources.job_body import parse_job_add, parse_job_edit

DELETE_TIME = 20.0
"""Seconds after which a bulk delete responds with the number of jobs deleted so far."""

BYTES_PER_TURN = 32 * 1024
"""Bytes of items that are checked between two turns of the event loop, some ms."""

MANY_EDITS, MANY_ADDS = 100, 20
"""Items above which a request is expensive, however short each item is (decision 21)."""

JOBS_PER_COMMIT = 200
"""Jobs that one request changes in one commit. Each takes memory of up to twice its 256 KB of payload."""

_one_response = BoundedSemaphore(1)
"""Held while results of edits are encoded: until then they take much memory."""
_NO_ROOM = unavailable("the response has no room for this job: repeating the edit is safe")

Good = TypeVar("Good")


class BulkResource:
    """The bulk requests of the collection `job`."""

    def __init__(self, jobs: Jobs, sessions: Sessions) -> None:
        self._jobs = jobs
        self._sessions = sessions

    def on_post_add(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add jobs: `{"jobs": […]}`."""
        caller = self._sessions.caller_of(req)
        caller.require_may_add()
        items = decode_as(BulkAddBody, read_body(req, MAX_BULK_BODY)).jobs
        if len(items) > MANY_ADDS:
            admit(req, HEAVY_WORK, caller)
        results = _each(items, lambda item: parse_job_add(decode(item)), lambda bodies: self._jobs.add(bodies, caller))
        set_json(resp, {"results": [_added(result) for result in results]})

    def on_post_edit(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Edit jobs: `{"edits": […], "actions": […], "return": "job"}`."""
        caller = self._sessions.caller_of(req)
        caller.require_role("USER")
        body = decode_as(BulkEditBody, read_body(req, MAX_BULK_BODY))
        actions = frozenset(body.actions) if isinstance(body.actions, list) else None
        is_costly = len(body.edits) > MANY_EDITS
        if is_costly:
            admit(req, HEAVY_WORK, caller)
        results = _each(
            body.edits, lambda item: job_edit(item, actions), lambda changes: self._edit_in_parts(changes, caller)
        )
        if not is_costly:  # make all edits before waiting to encode the response
            results = iter(list(results))
        with nullcontext() if is_costly else _one_response:
            answers = (_edited(result, body.answer == "job") for result in results)
            set_json(resp, {"results": encode_items(answers, _NO_ROOM.body)})

    def _edit_in_parts(self, changes: Sequence[JobEdit], caller: Caller) -> Iterator[Document | Exception]:
        """Edit JOBS_PER_COMMIT jobs and yield their results, then go on, so that no more jobs are in memory."""
        for part in _parts(changes):
            yield from self._jobs.edit(part, caller)

    def on_post_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Delete the jobs that match a filter: `{"filter": "…"}`."""
        caller = self._sessions.caller_of(req)
        caller.require_role("ADMIN")
        text = decode_as(MatchingBody, read_body(req)).filter
        filter, until, last = parse(text), boottime() + DELETE_TIME, SLICE
        deleted: list[str] = []
        while last == SLICE and boottime() < until:
            ids = self._jobs.delete_all(filter, SLICE, caller)
            deleted, last = deleted + ids, len(ids)
        set_deed(req, Deed("deleted", "job", len(deleted), deleted, text))
        set_json(resp, {"deleted": len(deleted)})

    def on_post_stop(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Stop the jobs that match a filter, as far as the caller may: `{"filter": "…"}`."""
        caller, text = self._matching(req)
        _answer(req, resp, "stopped", text, MatchingJobs(self._jobs).stop(parse(text), caller))

    def on_post_release(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Release the held jobs that match a filter, as far as the caller may: `{"filter": "…"}`."""
        caller, text = self._matching(req)
        _answer(req, resp, "released", text, MatchingJobs(self._jobs).release(parse(text), caller))

    def on_post_rerun(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add a copy of each job that has ended and matches: `{"filter": "…", "idempotencyKey": "…"}`."""
        caller = self._sessions.caller_of(req)
        caller.require_may_add()
        body = decode_as(BulkRerunBody, read_body(req))
        admit(req, HEAVY_WORK, caller)
        done = MatchingJobs(self._jobs).rerun(parse(body.filter), body.idempotency_key, caller)
        _answer(req, resp, "reran", body.filter, done)

    def _matching(self, req: falcon.Request) -> tuple[Caller, str]:
        caller = self._sessions.caller_of(req)
        caller.require_role("USER")
        text = decode_as(MatchingBody, read_body(req)).filter
        admit(req, HEAVY_WORK, caller)
        return caller, text


def _answer(req: falcon.Request, resp: falcon.Response, state: str, filter: str, done: Done) -> None:
    """Set the response to an operation on all jobs that match a filter."""
    set_deed(req, Deed(state, "job", len(done.ids), done.ids, filter))
    more = {"more": True, "last": done.last} if done.more else {"more": False}
    set_json(resp, {state: len(done.ids), "refused": done.refused, **more})


def _each(
    items: Sequence[msgspec.Raw],
    check: Callable[[bytes], Good],
    do: Callable[[Sequence[Good]], Iterable[Any]],
) -> Iterator[Any]:
    """Check all items, apply `do` to the good ones together, and return the results in the items' order.

    The result of an item that fails its check is the error.
    """
    checked, since = [], 0
    for item in items:
        data = bytes(item)
        checked.append(_try(check, data))
        since += len(data)
        if since > BYTES_PER_TURN:
            since = 0
            gevent.sleep(0)
    results = iter(do([good for good in checked if not isinstance(good, Exception)]))
    return (good if isinstance(good, Exception) else next(results) for good in checked)


def _parts(changes: Sequence[JobEdit]) -> Iterator[Sequence[JobEdit]]:
    """Split the changes, in their order, into parts of at most JOBS_PER_COMMIT jobs."""
    start, ids = 0, set[str]()
    for place, change in enumerate(changes):
        if len(ids) == JOBS_PER_COMMIT and change.id not in ids:
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


def job_edit(item: bytes, actions: frozenset[str] | None) -> JobEdit:
    """Return the edit that an item of a bulk edit asks for. Raises Problem, SchemaError."""
    edit = decode_as(BulkEditItem, item)
    set = parse_job_edit(edit.set, edit.delete)
    return JobEdit(
        edit.id,
        Edit(
            set,
            edit.delete,
            edit.owner,
            actions,
            max_interruptions=edit.max_interruptions,
            failure=edit.failure,
            retry=edit.retry,
            log=edit.log,
            record=edit.record,
        ),
    )


def _added(result: str | Exception) -> Document:
    return problem_of(result).body() if isinstance(result, Exception) else result_of(result, "created", 201)


def _edited(result: Document | Exception, whole: bool) -> Document:
    if isinstance(result, Exception):
        return problem_of(result).body()
    return {"status": 200, "job": public(result)} if whole else {"status": 200}
