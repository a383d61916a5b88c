"""Fleets: fresh namespaces, members and their ends, for each implementation of coordination."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
from gevent.monkey import get_original

from geventjob.coordination.base import Coordination, CoordinationAway
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.coordination.sqlite.bell import ALL, ring
from geventjob.coordination.zookeeper import ZooKeeperCoordination
from tests.contract.coordination.process import Process
from tests.support.waiting import eventually
from tests.support.zookeeper import Ensemble, RawSession, shared
from tests.support.zookeeper_proxy import ZooKeeperProxy


def connect(where: dict[str, Any], name: str, timeout: float, age_share: int = 0) -> Coordination:
    """Make a coordination, not started, from `Fleet.where`."""
    if "path" in where:
        return SqliteCoordination(where["path"], name, timeout, age_share)
    return ZooKeeperCoordination(where["hosts"], name, timeout, root=where["root"], age_share=age_share)


class Fleet(ABC):
    """A namespace of its own. `close` ends every member."""

    timeout = 10.0
    """The session timeout of members in seconds, unless a test asks for another."""
    mortal = timeout
    """The session timeout of processes, which tests kill."""
    short = 1.5
    """A session timeout that a test can wait for."""
    death = mortal + 2
    """Seconds after which the entries of a dead process are free."""

    def __init__(self) -> None:
        self.where: dict[str, Any] = {}
        self._numbers = count(1)
        self._members: list[Coordination] = []
        self._processes: list[Process] = []

    def member(self, name: str = "", timeout: float | None = None, age_share: int = 0) -> Coordination:
        """Start a member in this process."""
        member = self.unstarted(name, timeout, age_share)
        member.start()
        return member

    def unstarted(self, name: str = "", timeout: float | None = None, age_share: int = 0) -> Coordination:
        member = connect(self.where, name or f"member-{next(self._numbers)}", timeout or self.timeout, age_share)
        self._members.append(member)
        return member

    def process(self, name: str = "", timeout: float | None = None) -> Process:
        """Start a member in a process of its own."""
        process = Process(self.where, name or f"process-{next(self._numbers)}", timeout or self.mortal)
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for member in self._members:
            member.close()

    def freeze(self, process: Process) -> None:
        """Stop a process outside the critical sections of the implementation."""
        process.stop()

    @abstractmethod
    def cut_off(self, member: Coordination) -> AbstractContextManager[None]:
        """Cut a member of this process off from the others: its requests get no answers."""

    @abstractmethod
    def expire(self, member: Coordination) -> None:
        """End the session of a member at once and without its knowledge, as an administrator can."""


class SqliteFleet(Fleet):
    """Members over one file. A death is seen at once, long before the session expires."""

    mortal = 60.0
    death = 1.0

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.where = {"path": str(directory / "coordination.db")}

    def freeze(self, process: Process) -> None:
        """Stop a process under the lock of the file.

        A process that is stopped while it has the lock makes all others wait.
        """
        lock = os.open(self.where["path"] + ".lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process.stop()
        finally:
            os.close(lock)

    @contextmanager
    def cut_off(self, member: Coordination) -> Iterator[None]:
        """Block the thread of the member, as a disk does that does not answer."""
        assert isinstance(member, SqliteCoordination)
        assert member._database._thread is not None
        answered = get_original("threading", "Event")()
        gevent.spawn(member._database._thread.call, answered.wait)
        gevent.sleep(0)
        try:
            yield
        finally:
            answered.set()

    def expire(self, member: Coordination) -> None:
        assert member.session is not None
        database = sqlite3.connect(self.where["path"], timeout=5)
        with database:
            database.execute("PRAGMA foreign_keys=ON")
            database.execute("DELETE FROM session WHERE id = ?", (member.session.id,))
            others = database.execute("SELECT bell FROM session").fetchall()
        database.close()
        for (bell,) in others:
            ring(self.where["path"], bell, ALL)


class ZooKeeperFleet(Fleet):
    """Members under a root of their own, in shared servers.

    Each member of this process has its own proxy to a server.
    """

    mortal = 3.0
    death = mortal + 2
    """Only the session timeout shows a death."""

    def __init__(self, directory: Path, ensemble: Ensemble | None = None) -> None:
        super().__init__()
        self._ensemble = (ensemble or shared()).check()
        self._servers = cycle(self._ensemble.servers)
        self.where = {"hosts": self._ensemble.hosts, "root": f"/{uuid4().hex}"}
        self._ways: dict[Coordination, ZooKeeperProxy] = {}

    def unstarted(self, name: str = "", timeout: float | None = None, age_share: int = 0) -> Coordination:
        way = ZooKeeperProxy(next(self._servers).port)
        where = {**self.where, "hosts": way.hosts}
        member = connect(where, name or f"member-{next(self._numbers)}", timeout or self.timeout, age_share)
        self._members.append(member)
        self._ways[member] = way
        return member

    def close(self) -> None:
        super().close()
        for way in self._ways.values():
            way.close()

    @contextmanager
    def cut_off(self, member: Coordination) -> Iterator[None]:
        self._ways[member].go_silent()
        try:
            yield
        finally:
            self._ways[member].speak()

    def expire(self, member: Coordination) -> None:
        """Open the session again elsewhere and close it. The server closes the connection of the member.

        A short session may have ended by itself on a busy machine.
        """
        assert isinstance(member, ZooKeeperCoordination)
        with suppress(CoordinationAway):
            client = member._ensemble.now().client
            eventually(partial(self._close, client.identity, client._session_passwd))
            self._ways[member].cut()

    def _close(self, identity: int, password: bytes) -> bool:
        """Close a session. Return whether it was over already.

        Only a second look tells: its member may have moved the session back to itself before our close arrived, and the
        server may drop us while it moves a session.
        """
        try:
            RawSession(self._ensemble.port, identity, password).close()
        except ConnectionAbortedError:
            return True
        except ConnectionError:
            pass
        return False


IMPLEMENTATIONS = {"sqlite": SqliteFleet, "zookeeper": ZooKeeperFleet}
