"""Records in the journal of systemd, over a real datagram socket."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

from geventjob.log import TREE
from geventjob.log.journal import JournalHandler, is_connected


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "journal"))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def log(journal: socket.socket) -> Iterator[logging.Logger]:
    logger = logging.Logger("geventjob.test")
    handler = JournalHandler("geventjob-executor", journal.getsockname())
    logger.addHandler(handler)
    yield logger
    handler.close()


def fields(data: bytes) -> dict[str, str]:
    """Return the fields of a datagram, read by the rules of the protocol."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + size], rest[9 + size :]
        found[name.decode()] = value.decode()
    return found


def received(journal: socket.socket) -> dict[str, str]:
    return fields(journal.recv(1 << 20))


def test_a_record_has_its_fields(journal: socket.socket, log: logging.Logger) -> None:
    log.warning("took %d s at http://user:secret@host/", 3)
    assert received(journal) == {
        "MESSAGE": "took 3 s at http://***@host/",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "geventjob-executor",
        "LOGGER": "geventjob.test",
    }


def test_a_line_of_an_action_names_its_job(journal: socket.socket, log: logging.Logger) -> None:
    def act() -> None:
        gevent.getcurrent().spawn_tree_locals[TREE] = SimpleNamespace(job_id="job/1", action="resize")  # type: ignore[attr-defined]
        log.error("two\nlines\x1b")

    gevent.spawn(act).get()
    found = received(journal)
    assert (found["JOB_ID"], found["ACTION"], found["PRIORITY"]) == ("job/1", "resize", "3")
    assert found["MESSAGE"] == "two\nlines\\x1b"


def test_a_message_cannot_forge_a_field(journal: socket.socket, log: logging.Logger) -> None:
    log.info("x\nJOB_ID=job/other\nPRIORITY=0")
    found = received(journal)
    assert "JOB_ID" not in found
    assert found["PRIORITY"] == "6"


def test_a_long_message_is_cut(journal: socket.socket, log: logging.Logger) -> None:
    log.info("€" * 1_000_000)
    assert len(received(journal)["MESSAGE"].encode(errors="replace")) <= 1 << 17


def test_a_journal_that_is_away_loses_lines_and_counts_them(journal: socket.socket, log: logging.Logger) -> None:
    path = Path(journal.getsockname())
    away = path.rename(path.with_name("away"))
    log.info("lost")
    away.rename(path)
    log.info("seen")
    assert received(journal)["MESSAGE"].startswith("1 lines could not be written")
    assert received(journal)["MESSAGE"] == "seen"


def test_the_journal_is_used_where_stderr_is_its_stream() -> None:
    assert not is_connected({})
    assert not is_connected({"JOURNAL_STREAM": "1:2"})
    found = os.fstat(2)
    there = os.path.exists("/run/systemd/journal/socket")
    assert is_connected({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}) is there
