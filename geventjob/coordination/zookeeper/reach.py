"""A look at one server of an ensemble, for `geventjob check`: whether the server gives a session, and if not why."""

from __future__ import annotations

from kazoo.exceptions import KazooException, NoAuthError

from geventjob.coordination.base import CoordinationError
from geventjob.coordination.zookeeper.client import Access, ZooKeeperClient
from geventjob.coordination.zookeeper.credentials import read_login, tls_context

SESSION = 4.0
"""Seconds of the session that is asked for, and of the wait for it."""


def trouble_of(host: str, root: str, tls: tuple[str | None, str | None, str | None], auth_file: str | None) -> str:
    """Return why a server of an ensemble is of no use, in words; an empty text for a server that gives a session.

    `host`: HOST:PORT. `root`: the path above all nodes. `tls`: the files of the authorities, the certificate and its
    key.
    """
    try:
        login = read_login(auth_file) if auth_file else None
        client = ZooKeeperClient(Access(host, SESSION, tls_context(*tls), login))
    except CoordinationError as error:
        return str(error)
    try:
        client.start_async().wait(SESSION)
        if not client.connected:
            return next(iter(client.failures.values()), "no answer")
        client.get_children(root or "/") if client.exists(root or "/") else client.get_children("/")
    except NoAuthError:
        return f"the log-in may not read {root or '/'}: zk-auth-file names a user of its access list"
    except KazooException as error:
        return f"it answers with {type(error).__name__}"
    finally:
        client.leave()
    return ""
