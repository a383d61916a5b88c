"""`job/batch`: a callback with the jobs after whose end it runs (docs/reference/api.md, "Batches")."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import falcon
import gevent

from geventjob.cimi.document import Document
from geventjob.job.types import NAME_LENGTH
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.admission import HEAVY_WORK, admit
from geventjob.server.http.decode import decode, decode_as
from geventjob.server.http.errors import problem_of
from geventjob.server.http.request_body import MAX_BULK_BODY, read_body
from geventjob.server.http.response import result_of, set_json
from geventjob.server.jobs.service import Jobs
from geventjob.server.problem import Problem, invalid
from geventjob.server.resources.bodies import BatchBody
from geventjob.server.resources.bulk import MANY_ADDS
from geventjob.server.resources.job_body import parse_job_add

AWAY = 500
"""Statuses from this one on say nothing about the job: the add may succeed later."""


class BatchResource:
    """The batches of the collection `job`."""

    def __init__(self, jobs: Jobs, sessions: Sessions) -> None:
        self._jobs = jobs
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add a callback and its jobs; close the batch unless more jobs follow, or the server could not add some."""
        caller = self._sessions.caller_of(req)
        caller.require_may_add()
        body = decode_as(BatchBody, read_body(req, MAX_BULK_BODY))
        if len(body.jobs) > MANY_ADDS:
            admit(req, HEAVY_WORK, caller)
        callback = _parsed("callback", bytes(body.callback))
        if "after" in callback:
            raise invalid("callback.after: a callback comes after the jobs of its batch")
        jobs = []
        for number, item in enumerate(body.jobs):
            jobs.append(_parsed(f"jobs[{number}]", bytes(item)))
            gevent.sleep(0)
        id = self._jobs.open_batch(callback, body.when_failed, caller)
        added = self._jobs.add([*_children(jobs, id, callback.get("idempotencyKey"))], caller) if jobs else []
        results = [_result(result) for result in added]
        is_whole = all(result["status"] < AWAY for result in results)
        if is_whole and not body.open:
            self._jobs.close_batch(id, caller)
        set_json(resp, result_of(id, "created", 201) | {"results": results})
        resp.status = 201
        resp.set_header("Location", id)


def _children(jobs: Sequence[Document], callback: str, key: str | None) -> Sequence[Document]:
    """Return the jobs as those of a callback; with its idempotency key, each has one, so that none is added twice."""
    keys = [{} if key is None else {"idempotencyKey": child_key(key, number)} for number in range(len(jobs))]
    return [{**own, **job, "parentJob": callback} for own, job in zip(keys, jobs, strict=True)]


def child_key(key: str, number: int) -> str:
    """Return the idempotency key of a job of a batch, by the key of its callback."""
    whole = f"{key}/{number}"
    return whole if len(whole) <= NAME_LENGTH else f"{blake2b(key.encode(), digest_size=24).hexdigest()}/{number}"


def _parsed(part: str, item: bytes) -> Document:
    """Return a job of the body. Raises Problem that names the part of the body."""
    try:
        return parse_job_add(decode(item))
    except Exception as error:
        problem = problem_of(error)
        raise Problem(problem.status, f"{part}: {problem.message}") from None


def _result(result: str | Exception) -> dict[str, Any]:
    return problem_of(result).body() if isinstance(result, Exception) else result_of(result, "created", 201)
