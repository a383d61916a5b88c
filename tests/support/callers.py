"""A job server over a store of each kind, and logged-in callers of every kind, over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import requests

from geventjob.coordination.base import Coordination
from geventjob.server.accounts import first_user
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.app import application
from geventjob.server.http.server import HttpServer
from geventjob.server.jobs.rights import Rights
from geventjob.server.store.base import Store
from geventjob.server.store.sqlite import SqliteStore
from geventjob.server.watch.traces import JobTraces
from tests.contract.coordination.fleets import connect
from tests.support.elastic_stores import elasticsearch_store
from tests.support.job_server import Caller, good
from tests.support.zookeeper import shared as zookeeper

STORES = ("elasticsearch", "sqlite")
PASSWORD = "a password of tests"


class LocalServer:
    """A server in this process, and callers that are logged in."""

    def __init__(self, url: str, store: Store, coordination: Coordination) -> None:
        self.url = url
        self.store = store
        self.coordination = coordination
        """The server's own."""
        self.admin = self.log_in("super")
        self._known: dict[str, Caller] = {}

    def log_in(self, name: str) -> Caller:
        caller = Caller(self.url)
        answer = caller.login(name, PASSWORD)
        assert answer.status_code == 201, answer.text
        return caller

    def user(self, name: str, roles: str = "USER") -> Caller:
        """Make a user with these roles, and log in by password."""
        answer = self.admin.post("user", {"username": name, "password": PASSWORD, "roles": roles})
        assert answer.status_code == 201, answer.text
        return self.log_in(name)

    def known(self, name: str, roles: str = "USER") -> Caller:
        """Return the logged-in user of this name; make the user at the first call."""
        if name not in self._known:
            self._known[name] = self.user(name, roles)
        return self._known[name]

    def key(self, owner: Caller, roles: str | None = None) -> tuple[str, str]:
        """Make an API key; return its id and its secret."""
        template = {"href": "credential-template/generate-api-key", **({"roles": roles} if roles else {})}
        answer = owner.post("credential", {"credentialTemplate": template})
        assert answer.status_code == 201, answer.text
        return answer.json()["resource-id"], answer.json()["secretKey"]

    def bearer(self, key: tuple[str, str]) -> Caller:
        """Return a caller who sends this key with each request."""
        caller = Caller(self.url)
        caller.http.headers["Authorization"] = f"Bearer {key[0].removeprefix('credential/')}.{key[1]}"
        return caller

    def by_key(self, key: tuple[str, str]) -> Caller:
        """Log in with this key."""
        caller = Caller(self.url)
        assert caller.login_by_key(*key).status_code == 201
        return caller


@contextlib.contextmanager
def local_server(kind: str, folder: Path, traces: JobTraces | None = None) -> Iterator[LocalServer]:
    """Start a server over a store of this kind: an SQLite file and queue, or Elasticsearch and ZooKeeper."""
    if kind == "sqlite":
        where = {"path": str(folder / "coordination.db")}
    else:
        where = {"hosts": zookeeper().hosts, "root": f"/{uuid4().hex}"}
    store = SqliteStore(folder / "store.db") if kind == "sqlite" else elasticsearch_store(folder)
    queue = connect(where, "server", 10)
    store.start()
    queue.start()
    try:
        passwords = Passwords()
        first_user.ensure(store, passwords, PASSWORD, folder)
        rights = Rights({"submitter": ["mirror", "report_*"], "*": ["nothing"]})
        app = application(store, queue, Sessions(store), passwords, "0", None, rights, traces=traces)
        server = HttpServer(("127.0.0.1", 0), app)
        server.start()
        try:
            yield LocalServer(f"http://127.0.0.1:{server.server_port}", store, queue)
        finally:
            server.finish(1)
    finally:
        queue.close()
        store.close()


def acl(name: str, right: str) -> dict[str, object]:
    """Return an acl of the administrators, with one rule for this user."""
    return {
        "owner": {"principal": "ADMIN", "type": "ROLE"},
        "rules": [{"principal": name, "type": "USER", "right": right}],
    }


def comparable(answer: requests.Response, id: str) -> tuple[int, str, dict[str, str]]:
    """Return all of a response but the requested id and the date, to compare two responses."""
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}
    return answer.status_code, answer.text.replace(id, "ID"), headers


__all__ = ["PASSWORD", "STORES", "LocalServer", "acl", "comparable", "good", "local_server"]
