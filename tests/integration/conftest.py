"""Job servers for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.job_server import Caller, JobServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    """Yield the server that all tests of this process share; they do not mind each other's jobs."""
    made = JobServer(tmp_path_factory.mktemp("server"))
    yield made
    made.kill()


@pytest.fixture(scope="session")
def admin(server: JobServer) -> Caller:
    return server.login()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., JobServer]]:
    """Yield a function that starts a server for one test."""
    made: list[JobServer] = []

    def make(*arguments: str) -> JobServer:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(JobServer(folder, *arguments))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def user(admin: Caller, server: JobServer, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Caller]]:
    """Yield a function that adds a user with the password `secret of <name>`, and logs in."""
    made: list[str] = []

    def make(name: str) -> Caller:
        body = {"username": name, "password": f"secret of {name}"}
        assert admin.post("user", body).status_code == 201
        made.append(name)
        return server.login(name, body["password"])

    yield make
    for name in made:
        admin.delete(f"user/{name}")
