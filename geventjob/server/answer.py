"""Answers, all of them JSON but the word of `/healthz`."""

from __future__ import annotations

from typing import Any

import falcon
import msgspec

from geventjob.server.problem import Problem
from geventjob.server.receive import JSON

_encode = msgspec.json.Encoder().encode


def give(resp: falcon.Response, value: Any, status: int = 200) -> None:
    """Answer this value, encoded here and nowhere else."""
    resp.status = status
    resp.data = _encode(value)
    resp.content_type = JSON


def done(resp: falcon.Response, id: str, what: str, status: int = 200) -> None:
    """`job/… created`, `job/… deleted`; a new one's place is told in Location, relative as in SlipStream."""
    if status == 201:
        resp.set_header("Location", id)
    give(resp, report(id, what, status), status)


def report(id: str, what: str, status: int) -> dict[str, Any]:
    return {"status": status, "message": f"{id} {what}", "resource-id": id}


def fail(resp: falcon.Response, problem: Problem) -> None:
    if problem.retry_after is not None:
        resp.set_header("Retry-After", str(problem.retry_after))
    if problem.close:
        resp.set_header("Connection", "close")
    give(resp, problem.body(), problem.status)
