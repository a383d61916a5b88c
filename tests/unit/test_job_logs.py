"""The lines of a run: what the executor keeps of them until the server has them, and what the server keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO
from json import loads
from types import SimpleNamespace as Namespace
from typing import Any

import gevent
import pytest

from geventjob.cimi.errors import ServerAway
from geventjob.cli.logs import LogReader
from geventjob.cli.screen import Screen
from geventjob.clock import now
from geventjob.coordination.base import Claim, Session
from geventjob.executor import kept_log
from geventjob.executor.decision import Succeed
from geventjob.executor.kept_log import KeptLogs
from geventjob.executor.lines import Lines
from geventjob.executor.work import Work
from geventjob.executor.writes import OutOfPatience
from geventjob.job.types import LOG_BYTES
from geventjob.log import TREE
from geventjob.server.life.logs import KEPT_ATTEMPTS, LogReport, appended, shown

logger = logging.getLogger("of.an.action")


# --- the executor


def test_lines_are_handed_over_once() -> None:
    lines = Lines()
    assert lines.field() == {}
    lines.add("eins ä\n".encode())
    first = lines.field()
    assert first == {"log": {"at": 0, "text": "eins ä\n"}}
    lines.add(b"two\n")
    assert lines.field() == {"log": {"at": 0, "text": "eins ä\ntwo\n"}}, "the first is not on the server yet"
    lines.sent(first)
    assert lines.field() == {"log": {"at": 8, "text": "two\n"}}
    lines.sent(first)
    assert lines.field() == {"log": {"at": 8, "text": "two\n"}}


def test_the_first_lines_are_dropped() -> None:
    lines = Lines()
    for _ in range(1000):
        lines.add(b"x" * 99 + b"\n")
    field = lines.field()["log"]
    assert len(field["text"]) == LOG_BYTES // 100 * 100
    assert field["at"] + len(field["text"]) == 100_000


class Sent:
    """Writes that note what they send, and fail on demand."""

    def __init__(self) -> None:
        self.fields: list[Any] = []
        self.error: Exception | None = None
        self.dialect = Namespace(keeps_logs=True)

    def write(self, claim: Claim, set: Any, patience: float, beside: Any) -> None:
        assert set == {}
        if self.error:
            raise self.error
        self.fields.append(beside["log"])


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def kept(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptLogs]:
    monkeypatch.setattr(kept_log, "EVERY", 0.01)
    made = KeptLogs(sent, sent)  # type: ignore[arg-type]
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    made.start()
    sender = gevent.spawn(made.run)
    yield made
    logging.getLogger().setLevel(before)
    sender.kill()
    made.close()


@pytest.fixture
def work(kept: KeptLogs, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Return a run whose action is the greenlet of the test."""
    made = Work(Claim("/job/entries/entry-999-0000000001", "job/1", 1, 0.0, Session("s", 10)))
    here: Any = gevent.getcurrent()
    monkeypatch.setattr(
        here, "spawn_tree_locals", {TREE: Namespace(claim=made.claim, job_id="job/1", action="a")}, raising=False
    )
    kept.started(made)
    return made


def wait_for(count: int, sent: Sent) -> None:
    with gevent.Timeout(10):
        while len(sent.fields) < count:
            gevent.sleep(0.005)


def test_lines_of_an_action_and_its_greenlets_are_sent(work: Work, sent: Sent) -> None:
    logger.info("hello %s", "you")
    gevent.spawn(logger.warning, "two\nlines \x1b[31m").join()
    logger.debug("nothing")
    wait_for(1, sent)
    [first, second, third] = "".join(field["text"] for field in sent.fields).splitlines()
    assert first.endswith(" INFO     of.an.action hello you")
    assert second.endswith(" WARNING  of.an.action two")
    assert third == "    lines \\x1b[31m"
    assert work.log == {}


def test_lines_of_others_are_not_kept(work: Work) -> None:
    gevent.get_hub().loop.run_callback(logger.info, "the hub")
    gevent.sleep(0.02)
    assert work.lines is None


def test_lines_that_cannot_be_sent_are_sent_again(work: Work, sent: Sent) -> None:
    sent.error = OutOfPatience()
    logger.info("one")
    gevent.sleep(0.05)
    logger.info("two")
    sent.error = None
    wait_for(1, sent)
    assert [line.split()[-1] for line in sent.fields[0]["text"].splitlines()] == ["one", "two"]


def test_lines_wait_for_a_server_whose_kind_is_not_known_yet(work: Work, sent: Sent) -> None:
    asked: list[int] = []

    class Away:
        @property
        def keeps_logs(self) -> bool:
            asked.append(1)
            raise ServerAway("no connection")

    dialect = sent.dialect
    sent.dialect = Away()  # type: ignore[assignment]
    logger.info("one")
    with gevent.Timeout(10):
        while not asked:
            gevent.sleep(0.005)
    assert sent.fields == []
    sent.dialect = dialect
    wait_for(1, sent)


def test_an_outcome_takes_the_rest(work: Work, kept: KeptLogs, sent: Sent) -> None:
    logger.info("the rest")
    kept.ended(work, Succeed())
    logger.info("of code that runs on")
    assert work.log["log"]["text"].endswith("the rest\n")
    gevent.sleep(0.05)
    assert sent.fields == []


def test_nothing_is_sent_to_a_server_without_logs(work: Work, sent: Sent) -> None:
    sent.dialect.keeps_logs = False
    logger.info("one")
    gevent.sleep(0.05)
    assert sent.fields == []


def test_a_long_line_is_cut(work: Work) -> None:
    logger.info("x" * 100_000)
    assert "(cut, 100000" in work.log["log"]["text"] or "(cut, 655" in work.log["log"]["text"]
    assert len(work.log["log"]["text"]) < 9_000


# --- the server


def log_of(*reports: tuple[int, int, str]) -> list[tuple[int, int, str]]:
    """Return what is shown of a log after these reports: attempt, place, text."""
    log: dict[str, Any] = {"id": "log/1", "_attempts": []}
    for attempt, at, text in reports:
        log = appended(log, LogReport(at, text), attempt, "e", now())
    return [(each["attempt"], each["start"], each["text"]) for each in shown(log)]


def test_attempts_follow_each_other() -> None:
    assert log_of((1, 0, "a\n"), (3, 0, "b\n"), (1, 2, "late\n"), (3, 2, "c\n")) == [(1, 0, "a\n"), (3, 0, "b\nc\n")]
    assert log_of((1, 0, "a\n"), (2, 0, "")) == [(1, 0, "a\n")]


def test_a_gap_leaves_the_later_lines() -> None:
    assert log_of((1, 0, "a\n"), (1, 70_000, "b\n")) == [(1, 70_000, "b\n")]
    assert log_of((1, 70_000, "b\n")) == [(1, 70_000, "b\n")]


def test_the_last_lines_of_all_attempts_are_kept() -> None:
    line = "x" * 999 + "\n"
    [first, last] = log_of((1, 0, line * 60), (2, 0, line * 10))
    assert (first[0], last[0]) == (1, 2)
    assert (first[1], last[1]) == (60_000 - len(first[2]), 0)
    assert first[2] == line * 55
    assert log_of((1, 0, line), (2, 0, line * 65)) == [(2, 0, line * 65)]
    assert len(log_of(*((attempt, 0, "x\n") for attempt in range(1, 100)))) == KEPT_ATTEMPTS


def test_a_line_longer_than_a_log_loses_its_beginning() -> None:
    [(_, start, text)] = log_of((1, 0, "short\n"), (1, 6, "é" * 30_000), (1, 60_006, "é" * 30_000 + "\n"))
    assert text.endswith("é\n")
    assert LOG_BYTES - 2 <= len(text.encode()) <= LOG_BYTES
    assert start == 120_007 - len(text.encode())


# --- the command


def printed(*logs: list[tuple[int, int, str]], json: bool = False) -> list[str]:
    """Return the lines that a reader prints of these states of a log, one after the other."""
    out = StringIO()
    reader = LogReader(Namespace(screen=Screen(json=json, out=out), args=Namespace(json=json)))  # type: ignore[arg-type]
    for log in logs:
        attempts = [{"attempt": n, "executor": "e", "at": "T", "start": start, "text": text} for n, start, text in log]
        reader.show({"attempts": attempts})
    return out.getvalue().splitlines()


def test_each_line_is_printed_once() -> None:
    begins = "--- attempt 1 on e, T ---"
    assert printed([], [(1, 0, "a\n")], [(1, 0, "a\n")], [(1, 0, "a\nb\n")]) == [begins, "a", "b"]
    later = [(1, 0, "a\n"), (2, 0, "c\n")]
    assert printed([(1, 0, "a\n")], later) == [begins, "a", "--- attempt 2 on e, T ---", "c"]
    assert printed(later) == [begins, "a", "--- attempt 2 on e, T ---", "c"]


def test_lines_that_are_not_kept_are_counted() -> None:
    begins = "--- attempt 1 on e, T ---"
    assert printed([(1, 5000, "z\n")]) == [begins, "… (5,000 bytes are not kept)", "z"]
    assert printed([(1, 0, "a\n")], [(1, 10, "z\n")]) == [begins, "a", "… (8 bytes are not kept)", "z"]


def test_json_has_the_new_lines_as_records() -> None:
    first, second = (loads(line) for line in printed([(1, 0, "ä\n")], [(1, 0, "ä\nb\n")], json=True))
    assert (first["start"], first["text"]) == (0, "ä\n")
    assert (second["start"], second["text"]) == (3, "b\n")
