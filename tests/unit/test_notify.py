"""The notices to systemd, over real datagram sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from geventjob.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def told(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_ready_and_stopping_reach_the_manager(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.status("takes jobs\nfrom zookeeper")
    notifier.stopping(90)
    assert [told(manager) for _ in range(3)] == [
        "READY=1",
        "STATUS=takes jobs from zookeeper",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000",
    ]


def test_a_long_start_gets_more_time_with_each_step(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.starting()
    notifier.starting("upgrade of the store: job\n5000 of 10000")
    assert [told(manager) for _ in range(2)] == [
        "EXTEND_TIMEOUT_USEC=300000000",
        "EXTEND_TIMEOUT_USEC=300000000\nSTATUS=upgrade of the store: job 5000 of 10000",
    ]


def test_an_abstract_socket_is_reached() -> None:
    name = f"geventjob-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert told(sock) == "READY=1"


def test_the_watchdog_is_fed_from_a_greenlet(manager: socket.socket) -> None:
    variables = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(variables)
    assert notifier.watchdog == 0.1
    feeding = gevent.spawn(notifier.feed)
    assert [told(manager) for _ in range(3)] == ["WATCHDOG=1"] * 3
    feeding.kill()


def test_a_watchdog_of_another_process_is_not_fed(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    notifier.feed()
    notifier.ready()
    assert told(manager) == "READY=1"


def test_children_inherit_nothing_of_the_service() -> None:
    variables = {
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "2",
        "DAEMON_ARGS": "--ss-pass=x",
        "A": "b",
    }
    Notifier(variables)
    assert variables == {"A": "b"}


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    for variables in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        notifier = Notifier(variables)
        notifier.ready()
        notifier.stopping(1)
        gevent.sleep(0)
