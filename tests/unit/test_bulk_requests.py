"""Bulk requests: which of them are expensive and take a permit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import falcon
import falcon.testing
import pytest

from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.admission import HEAVY_WORK
from geventjob.server.jobs.service import Jobs
from geventjob.server.resources import bulk
from geventjob.server.resources.bulk import MANY_ADDS, MANY_EDITS, BulkResource

ID = "job/00000000-0000-4000-8000-000000000000"


def adds(number: int) -> dict[str, Any]:
    return {"jobs": [{"action": "a"}] * number}


def edits(number: int) -> dict[str, Any]:
    return {"edits": [{"id": ID, "set": {"progress": 1}}] * number}


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the list of the limits that requests pass from now on."""
    limits: list[object] = []
    monkeypatch.setattr(bulk, "admit", lambda req, limit, caller: limits.append(limit))
    return limits


@pytest.fixture
def client() -> falcon.testing.TestClient:
    """Return a client of the bulk requests over jobs that do nothing."""
    jobs = SimpleNamespace(
        add=lambda bodies, caller: [ID] * len(bodies),
        edit=lambda changes, caller: [{"id": ID}] * len(changes),
        delete_all=lambda filter, limit, caller: [],
    )
    caller = Caller("ann", frozenset({"ADMIN", "USER", "ANON"}))
    resource = BulkResource(cast(Jobs, jobs), cast(Sessions, SimpleNamespace(caller_of=lambda req: caller)))
    app: falcon.App[Any, Any] = falcon.App()
    for operation in ("add", "edit", "delete"):
        app.add_route(f"/{operation}", resource, suffix=operation)
    return falcon.testing.TestClient(app)


@pytest.mark.parametrize(
    ("operation", "body", "permits"),
    [
        ("add", adds(MANY_ADDS), []),
        ("add", adds(MANY_ADDS + 1), [HEAVY_WORK]),
        ("edit", edits(MANY_EDITS), []),
        ("edit", edits(MANY_EDITS + 1), [HEAVY_WORK]),
        ("delete", {"filter": "action='a'"}, []),
    ],
)
def test_a_bulk_request_of_many_items_takes_a_permit(
    client: falcon.testing.TestClient, admitted: list[object], operation: str, body: dict[str, Any], permits: list[Any]
) -> None:
    assert client.simulate_post(f"/{operation}", json=body).status_code == 200
    assert admitted == permits
