"""The server against its own description: requests that fit it and requests that do not, none of which may be a 500.

`make hostile` sends many more of each (HOSTILE_EXAMPLES).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis.generation import GenerationMode

from geventjob.server.resources.operations import ERRORS, REQUESTS
from tests.support.job_server import Caller, JobServer, good, problem

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "1"))
ENDLESS = {("GET", "/api/events")}
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 100,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    """Yield a server of this module alone: the requests pause actions and change users."""
    made = JobServer(tmp_path_factory.mktemp("hostile"))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def admin(server: JobServer) -> Caller:
    return server.login()


@pytest.fixture(scope="module")
def description(admin: Caller) -> Any:
    return good(admin.get("openapi.json"))


def test_the_description_is_openapi_and_has_each_route(server: JobServer, description: Any) -> None:
    validate(description)
    described = {(method.upper(), path) for path, item in description["paths"].items() for method in item}
    assert described == set(REQUESTS)
    problem(server.anonymous().get("openapi.json"), 403)


def judged(answer: requests.Response, case: Any) -> None:
    """Fail for an answer that the description lacks: another status, or an error of another shape."""
    said = f"{case.method} {case.path}: {answer.status_code} {answer.text[:300]}"
    request = REQUESTS[case.method.upper(), case.operation.path]
    assert answer.status_code in {request.status, *ERRORS} - {503}, said
    if answer.status_code in ERRORS:
        body = answer.json()
        assert body["status"] == answer.status_code, said
        assert body.keys() <= {"status", "message", "resource-id", "reason", "job"}, said
    else:
        case.operation.validate_response(answer)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_no_request_is_an_unexpected_error(
    server: JobServer, admin: Caller, description: Any, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(description)
    operations = [found.ok() for found in schema.get_all_operations()]
    if EXAMPLES == 1:  # the short form sends half of the requests in each mode
        operations = operations[mode is GenerationMode.NEGATIVE :: 2]
    for operation in operations:
        if (operation.method.upper(), operation.path) in ENDLESS:
            continue

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            judged(case.call(base_url=server.url, session=admin.http, timeout=30), case)

        with contextlib.suppress(Unsatisfiable):  # a request that takes nothing cannot be unfitting
            send()
    assert server.answers()
    assert "Traceback" not in server.log


def test_the_page_lists_the_statuses_of_the_description() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()
    rows = re.findall(r"^\| ([0-9, ]+) \|", page[page.index("\n## Errors") :], re.MULTILINE)
    assert [int(status) for row in rows for status in row.split(", ")] == list(ERRORS)
