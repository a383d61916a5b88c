"""What each request of the API takes and answers, one line each: the table behind `GET /api/openapi.json`.

The shapes are those by which the resources check bodies. A test holds the table to the routes of the application.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geventjob.server.gate.limit_schema import LimitBody
from geventjob.server.jobs.schedule_schema import ScheduleBody
from geventjob.server.life.schema import Job
from geventjob.server.resources import bodies
from geventjob.server.resources.bodies import Body
from geventjob.server.resources.executor import ORDERS
from geventjob.server.resources.job import ACTIONS as JOB_ACTIONS
from geventjob.server.resources.schedule import ACTIONS as SCHEDULE_ACTIONS


@dataclass(frozen=True)
class ApiRequest:
    """A request: what its body is, which parameters it has, and its answer."""

    bodies: tuple[Any, ...] = ()
    """The shapes that the JSON body may have; none: no body."""
    search: bool = False
    """Whether the request takes the parameters of a search; a PUT takes them as a form too."""
    select: bool = False
    """Whether `$select` names attributes."""
    status: int = 200
    """The status of a success."""
    answer: str = "Document"
    """The schema of the answer's body; empty for text."""
    is_open: bool = False
    """Whether the request needs no log-in."""
    choices: Mapping[str, tuple[str, ...]] | None = None
    """Parameter in the path → its values."""
    query: tuple[str, ...] = ()
    """Further parameters of the address."""


SEARCH = ApiRequest(search=True, answer="Collection")
OPEN = ApiRequest(is_open=True)
ONE = ApiRequest(select=True)
MATCHING = ApiRequest((bodies.MatchingBody,))

REQUESTS: Mapping[tuple[str, str], ApiRequest] = {
    ("GET", "/healthz"): ApiRequest(is_open=True, answer=""),
    ("GET", "/readyz"): ApiRequest(is_open=True, answer=""),
    ("GET", "/metrics"): ApiRequest(answer=""),
    ("GET", "/api/openapi.json"): ApiRequest(),
    ("GET", "/api/cloud-entry-point"): OPEN,
    ("GET", "/api/session-template"): OPEN,
    ("PUT", "/api/session-template"): OPEN,
    ("GET", "/api/session-template/{name}"): OPEN,
    ("GET", "/api/credential-template"): OPEN,
    ("PUT", "/api/credential-template"): OPEN,
    ("GET", "/api/credential-template/{name}"): OPEN,
    ("POST", "/api/session"): ApiRequest((bodies.SessionAdd,), status=201, answer="Result", is_open=True),
    ("GET", "/api/session"): ApiRequest(search=True, answer="Collection", is_open=True, query=("all",)),
    ("PUT", "/api/session"): ApiRequest(search=True, answer="Collection", is_open=True, query=("all",)),
    ("GET", "/api/session/{name}"): ApiRequest(),
    ("DELETE", "/api/session/{name}"): ApiRequest(answer="Result"),
    ("POST", "/api/credential"): ApiRequest((bodies.KeyAdd,), status=201, answer="Result"),
    ("GET", "/api/credential"): SEARCH,
    ("PUT", "/api/credential"): SEARCH,
    ("GET", "/api/credential/{name}"): ONE,
    ("DELETE", "/api/credential/{name}"): ApiRequest(answer="Result"),
    ("POST", "/api/user"): ApiRequest((bodies.UserAdd,), status=201, answer="Result"),
    ("GET", "/api/user"): SEARCH,
    ("PUT", "/api/user"): SEARCH,
    ("GET", "/api/user/{name}"): ONE,
    ("PUT", "/api/user/{name}"): ApiRequest((bodies.UserEdit,)),
    ("DELETE", "/api/user/{name}"): ApiRequest(answer="Result"),
    ("POST", "/api/job"): ApiRequest((Job,), status=201, answer="Result"),
    ("GET", "/api/job"): SEARCH,
    ("PUT", "/api/job"): SEARCH,
    ("GET", "/api/job/{name}"): ApiRequest(select=True, answer="JobDocument"),
    ("PUT", "/api/job/{name}"): ApiRequest((Job,), select=True, answer="JobDocument", query=("force",)),
    ("DELETE", "/api/job/{name}"): ApiRequest(answer="Result"),
    ("GET", "/api/job/{name}/why"): ApiRequest(),
    ("GET", "/api/job/{name}/log"): ApiRequest(),
    ("GET", "/api/job/{name}/record"): ApiRequest(),
    ("GET", "/api/job/{name}/event"): ApiRequest(),
    ("POST", "/api/job/{name}/{action}"): ApiRequest(choices={"action": JOB_ACTIONS}),
    ("POST", "/api/job/batch"): ApiRequest((bodies.BatchBody,), status=201, answer="Result"),
    ("POST", "/api/job/bulk-add"): ApiRequest((bodies.BulkAddBody,)),
    ("POST", "/api/job/bulk-edit"): ApiRequest((bodies.BulkEditBody,)),
    ("POST", "/api/job/bulk-delete"): MATCHING,
    ("POST", "/api/job/bulk-stop"): MATCHING,
    ("POST", "/api/job/bulk-release"): MATCHING,
    ("POST", "/api/job/bulk-rerun"): ApiRequest((bodies.BulkRerunBody,)),
    ("POST", "/api/schedule"): ApiRequest((ScheduleBody,), status=201, answer="Result"),
    ("GET", "/api/schedule"): SEARCH,
    ("PUT", "/api/schedule"): SEARCH,
    ("GET", "/api/schedule/{name}"): ONE,
    ("PUT", "/api/schedule/{name}"): ApiRequest((ScheduleBody,), select=True),
    ("DELETE", "/api/schedule/{name}"): ApiRequest(answer="Result"),
    ("POST", "/api/schedule/{name}/{action}"): ApiRequest(
        (bodies.PauseBody, bodies.FireBody, Body), choices={"action": SCHEDULE_ACTIONS}
    ),
    ("POST", "/api/schedule/bulk-fire"): ApiRequest((bodies.BulkFireBody,)),
    ("GET", "/api/limit"): SEARCH,
    ("PUT", "/api/limit"): SEARCH,
    ("GET", "/api/limit/{name}"): ONE,
    ("PUT", "/api/limit/{name}"): ApiRequest((LimitBody,)),
    ("DELETE", "/api/limit/{name}"): ApiRequest(answer="Result"),
    ("POST", "/api/pause"): ApiRequest((bodies.PauseAdd,), status=201),
    ("GET", "/api/pause"): ApiRequest(),
    ("GET", "/api/pause/{name}"): ApiRequest(),
    ("DELETE", "/api/pause/{name}"): ApiRequest(answer="Result"),
    ("GET", "/api/event"): SEARCH,
    ("PUT", "/api/event"): SEARCH,
    ("GET", "/api/event/{name}"): ONE,
    ("GET", "/api/events"): ApiRequest(answer="", query=("last-event-id",)),
    ("GET", "/api/rate"): ApiRequest(),
    ("GET", "/api/failure"): ApiRequest(),
    ("GET", "/api/attention"): ApiRequest(),
    ("GET", "/api/node"): ApiRequest(),
    ("POST", "/api/executor/{name}/{order}"): ApiRequest(
        (bodies.OrderBody,), status=202, answer="Result", choices={"order": ORDERS}
    ),
    ("GET", "/api/distributor"): ApiRequest(),
    ("POST", "/api/distributor/{name}/fire"): ApiRequest((bodies.FireBody,)),
    ("GET", "/api/queue"): ApiRequest(),
    ("POST", "/api/queue/reconcile"): ApiRequest((bodies.ReconcileBody,)),
}

ERRORS: Mapping[int, str] = {
    400: "an invalid body, parameter or filter; the message says where",
    403: "no right to do this, or a wrong log-in; there is no 401",
    404: "no such operation, or no such resource (403 for callers who do not see everything)",
    405: "no such method for this path, or no such collection",
    408: "the head or the body of the request is too slow",
    409: "the state of the resource does not allow the request, or a key, a name or unique values are in use",
    413: "the body or the response is too large",
    414: "the address is too long",
    431: "the headers are too large",
    415: "a body without Content-Type, of another type, or with a Content-Encoding",
    429: "too many log-ins: try again after Retry-After seconds",
    503: "the store or the queue is unavailable, or too many requests wait: try again after Retry-After seconds",
}
"""Status → when it is answered."""
