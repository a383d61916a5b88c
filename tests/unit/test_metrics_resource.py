"""Who may read the metrics of a server."""

from __future__ import annotations

from typing import Any

import falcon
import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from geventjob.server.accounts.caller import ANONYMOUS
from geventjob.server.http.errors import problem_of
from geventjob.server.http.response import set_problem
from geventjob.server.resources.metrics import MetricsResource


class Anonymous:
    def caller_of(self, req: falcon.Request) -> Any:
        return ANONYMOUS


def status(headers: dict[str, str], remote: str = "127.0.0.1", base_uri: str | None = None) -> int:
    app = falcon.App()
    app.add_error_handler(Exception, lambda req, resp, error, params: set_problem(resp, problem_of(error)))
    resource: Any = MetricsResource(CollectorRegistry(), Anonymous(), None, base_uri)  # type: ignore[arg-type]
    app.add_route("/metrics", resource)
    answer = testing.TestClient(app).simulate_get("/metrics", headers=headers, remote_addr=remote)
    return int(answer.status_code)


@pytest.mark.parametrize("host", ["127.0.0.1:8200", "localhost:8200", "[::1]:8200"])
def test_clients_on_this_machine_may_read(host: str) -> None:
    assert status({"Host": host}) == 200


@pytest.mark.parametrize(
    ("headers", "remote", "base_uri"),
    [
        ({"Host": "127.0.0.1"}, "10.1.2.3", None),
        ({"Host": "127.0.0.1", "X-Forwarded-For": "10.1.2.3"}, "127.0.0.1", None),
        ({"Host": "jobs.example"}, "127.0.0.1", None),
        ({"Host": "127.0.0.1"}, "127.0.0.1", "https://jobs.example"),
    ],
    ids=["elsewhere", "forwarded", "another name", "behind a proxy"],
)
def test_all_others_may_not(headers: dict[str, str], remote: str, base_uri: str | None) -> None:
    assert status(headers, remote, base_uri) == 403
