"""The log: its lines, its errors, its waits, and files that many processes share."""

import fcntl
import json
import logging
import os
import re
import select
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gevent
import gevent.pool
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob.log import SELDOM, TREE, FileHandler, LineFormatter, RateLimit, running_action
from geventjob.log.handlers import LARGEST_FILE, StderrHandler

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ +\d+ \S+ \[(-|\S+ \S+)\] .*")
PATCHED = "import geventjob.patch, gevent, logging, os, sys, threading, time\nfrom pathlib import Path\n"
PATCHED += "from geventjob import log\n"


class Running:
    def __init__(self, job_id: Any, action: Any) -> None:
        self.job_id = job_id
        self.action = action


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Any]:
    """Return a logger whose lines go to a file, and a function that returns the lines."""
    handler = FileHandler(tmp_path / "x.log")
    logger = logging.Logger("test.lines")
    logger.addHandler(handler)
    yield logger, lambda: (tmp_path / "x.log").read_text().splitlines()
    handler.close()


def program(code: str, *argv: Any, **how: Any) -> Any:
    """Run code in a new process that gevent patches."""
    how = {"capture_output": True, "text": True, "timeout": 60, **how}
    return subprocess.run([sys.executable, "-c", PATCHED + textwrap.dedent(code), *map(str, argv)], **how)


def record(msg: Any, *args: Any, **more: Any) -> Any:
    made = logging.makeLogRecord({"name": "a.b", "levelname": "INFO", "msg": msg, "args": args})
    made.__dict__.update(more)
    return made


# --- what a line says


def test_what_strangers_cause_is_a_line_a_minute_with_a_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("geventjob.log.rate_limit.time.monotonic", lambda: clock[0])
    handler = FileHandler(tmp_path / "x.log")
    handler.addFilter(RateLimit())
    logger = logging.Logger("test.seldom")
    logger.addHandler(handler)

    def written() -> Any:
        return [line.partition("] ")[2] for line in (tmp_path / "x.log").read_text().splitlines()]

    for n in range(500):
        logger.warning("refused %d", n, extra=SELDOM)
        logger.warning("ours %d", n) if n < 2 else None
    logger.warning("another kind", extra=SELDOM)
    assert written() == ["refused 0", "ours 0", "ours 1", "another kind"]
    clock[0] += 60
    logger.warning("refused %d", 500, extra=SELDOM)
    logger.warning("refused %d", 501, extra=SELDOM)
    assert written()[4:] == ["refused 500 (and 499 more like this since the last line)"]
    handler.close()


def test_a_log_at_debug_tells_no_url_of_an_action(tmp_path: Path) -> None:
    ran = program(
        """
        import requests
        from gevent.pywsgi import WSGIServer
        def app(environ, start): start("200 OK", []); return [b"x"]
        server = WSGIServer(("127.0.0.1", 0), app, log=None)
        server.start()
        log.configure("executor", sys.argv[1], "debug")
        requests.get(f"http://127.0.0.1:{server.server_port}/x?token=hunter2")
        logging.getLogger("other").debug("written at debug")
        """,
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    said = (tmp_path / "executor.log").read_text()
    assert "written at debug" in said
    assert "hunter" not in said


def test_a_line_has_utc_time_level_process_logger_job_and_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    line = LineFormatter().format(record("hello %s", "world", created=1772352930.0015, levelname="WARNING"))
    assert line == f"2026-03-01T08:15:30.001Z WARNING  {os.getpid()} a.b [-] hello world"
    monkeypatch.undo()
    time.tzset()


def test_lines_of_an_action_and_of_all_it_spawns_carry_its_job(lines: Any) -> None:
    logger, written = lines

    def leaf(n: Any) -> None:
        gevent.sleep(0)
        logger.info("of %d", n)

    def body(n: Any) -> None:
        cast(Any, gevent.getcurrent()).spawn_tree_locals = {TREE: Running(f"job/{n}", f"act{n}")}
        leaf(n)
        thread = threading.Thread(target=leaf, args=(n,))
        thread.start()
        pool = gevent.pool.Pool(2)
        pool.map(leaf, [n, n])
        gevent.spawn(lambda: gevent.spawn(leaf, n).join()).join()
        thread.join()

    gevent.joinall([gevent.spawn(body, n) for n in range(200)], raise_error=True)
    logger.info("of none")
    found = [re.search(r"\[(?:job/(\d+) act\1|-)\] of (\w+)$", line).groups() for line in written()]
    assert sorted(found, key=str) == sorted([(str(n), str(n)) for n in range(200)] * 5 + [(None, "none")], key=str)


def test_a_record_may_speak_of_another_greenlet() -> None:
    other = gevent.spawn(lambda: None)
    other.spawn_tree_locals = {TREE: Running("job/7", "seven")}
    assert "[job/7 seven]" in LineFormatter().format(record("x", greenlet=other))
    assert running_action() == "-"
    other.join()


def test_a_traceback_is_indented(lines: Any) -> None:
    logger, written = lines
    try:
        raise ValueError("a\nb")
    except ValueError:
        logger.exception("it failed\n")
    assert LINE.fullmatch(written()[0])
    assert written()[0].endswith("] it failed")
    assert all(line.startswith("    ") for line in written()[1:])
    assert written()[-2:] == ["    ValueError: a", "    b"]


@given(st.text(), st.text(), st.text(max_size=20))
def test_no_text_forges_a_line(message: Any, argument: Any, name: Any) -> None:
    made = record("%s", message, name=name)
    made.exc_text = argument
    first, *rest = LineFormatter().format(made).split("\n")
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z INFO ", first)
    assert all(line.startswith("    ") for line in rest)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", "".join([first, *rest]))


def test_a_log_in_in_a_url_is_masked() -> None:
    line = LineFormatter().format(record("at %s", "https://elastic:hunter2@es:9200/x and http://u:hunter3@b"))
    assert line.endswith("at https://***@es:9200/x and http://***@b")


def test_a_line_has_an_end() -> None:
    line = LineFormatter().format(record("x" * 10_000_000))
    assert len(line) < 70_000
    assert line.endswith("… (cut, 10000000 characters)")


# --- it raises nothing


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("message", "args", "said"),
    [
        ("%d", ("x",), "cannot format the message '%d': TypeError"),
        ("%s %s", ("x",), "cannot format the message '%s %s': TypeError"),
        ("%s", (Unprintable(),), "cannot format the message '%s': RuntimeError: no text"),
        (Unprintable(), (), "RuntimeError: no text"),
        ("\ud800", (), "\\ud800"),
    ],
)
def test_a_wrong_message_is_told_not_raised(message: Any, args: Any, said: str, lines: Any) -> None:
    logger, written = lines
    logger.error(message, *args)
    assert LINE.fullmatch(written()[0])
    assert said in written()[0]


def test_an_odd_action_does_not_cost_the_line(lines: Any) -> None:
    logger, written = lines

    def body() -> None:
        cast(Any, gevent.getcurrent()).spawn_tree_locals = {TREE: object()}
        logger.info("hello")

    gevent.spawn(body).get()
    assert "a line of test.lines cannot be made: AttributeError" in written()[0]


def test_a_full_disk_costs_lines_only_and_is_told_when_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.symlink_to("/dev/full")
    handler = FileHandler(path)
    for n in range(3):
        assert handler.handle(record("lost %s", n))
    path.unlink()
    handler.handle(record("kept"))
    handler.handle(record("kept too"))
    first, second, third = path.read_text().splitlines()
    assert "WARNING" in first
    assert first.endswith("3 lines could not be written: No space left on device")
    assert second.endswith("] kept")
    assert third.endswith("] kept too")
    handler.close()


def test_each_line_that_was_to_be_written_with_others_counts_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.symlink_to("/dev/full")
    handler = FileHandler(path)
    handler.handle_all([record("lost"), record("lost too")])
    assert handler.lost == 2
    handler.close()


def test_stderr_gets_many_lines_with_few_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, writes = StderrHandler(), list[bytes]()
    monkeypatch.setattr(handler, "put", lambda data: writes.append(data) or len(data))
    handler.handle_all([record("x" * 1000) for _ in range(5)] + [record("y" * 5000), record("last")])
    assert [write.count(b"\n") for write in writes] == [3, 2, 1, 1]
    assert all(write.endswith(b"\n") for write in writes)


def test_a_line_that_was_written_in_part_does_not_swallow_the_next(tmp_path: Path) -> None:
    code = """
        import resource
        path = Path(sys.argv[1])
        handler = log.FileHandler(path)
        say = lambda text: handler.handle(logging.makeLogRecord({"msg": text, "name": "n", "levelname": "INFO"}))
        say("first")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, resource.RLIM_INFINITY))
        say("second")
        say("third")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        say("fourth")
    """
    ran = program(code, tmp_path / "x.log")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, torn, told, last = (tmp_path / "x.log").read_text().splitlines()
    assert first.endswith("first")
    assert len(torn) == 10
    assert told.endswith("2 lines could not be written: File too large")
    assert last.endswith("fourth")


def test_a_folder_that_goes_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    handler = FileHandler(folder / "x.log")
    (folder / "x.log").unlink()
    folder.rmdir()
    handler.handle(record("lost"))
    folder.mkdir()
    handler.handle(record("kept"))
    told, kept = (folder / "x.log").read_text().splitlines()
    assert "1 lines could not be written: No such file or directory" in told
    assert kept.endswith("kept")
    handler.close()


# --- it waits for nobody


def test_native_threads_log_beside_greenlets_without_hanging(tmp_path: Path) -> None:
    """With a lock of gevent's nearly every greenlet hangs (docs/measurements.md)."""
    code = """
        log.configure("executor", sys.argv[1])
        sys.setswitchinterval(1e-6)
        def lines(name):
            for n in range(200):
                logging.getLogger(f"{name}.{n}").info("line")
        pool = gevent.get_hub().threadpool
        native = [pool.spawn(lines, f"native{n}") for n in range(8)]
        greenlets = [gevent.spawn(lines, f"greenlet{n}") for n in range(20)]
        done = gevent.wait([*native, *greenlets], timeout=30)
        print(len(done))
        sys.stdout.flush()
        os._exit(0)
    """
    ran = program(code, tmp_path)
    assert (ran.stdout, ran.stderr) == ("28\n", "")
    assert len((tmp_path / "executor.log").read_text().splitlines()) == 28 * 200


def test_a_message_that_waits_does_not_hold_the_lock() -> None:
    code = """
        from gevent.event import Event
        log.configure("executor")
        told = Event()
        class Slow:
            def __str__(self):
                told.wait()
                return "slow"
        slow = gevent.spawn(logging.info, "%s", Slow())
        gevent.sleep(0)
        gevent.get_hub().threadpool.spawn(logging.info, "native").get(timeout=20)
        told.set()
        slow.get(timeout=20)
    """
    ran = program(code)
    assert ran.returncode == 0, ran.stderr
    assert [line.rpartition("] ")[2] for line in ran.stderr.splitlines()] == ["native", "slow"]


def test_a_reader_of_stderr_that_does_not_read_holds_nobody_up() -> None:
    code = """
        log.configure("executor")
        began = time.monotonic()
        for n in range(5000):
            logging.info("x" * 10_000)
        print(time.monotonic() - began, flush=True)
        sys.stdin.read()
        logging.info("back")
    """
    argv = [sys.executable, "-c", PATCHED + textwrap.dedent(code)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert float(child.stdout.readline()) < 20
        stuck = b""
        while select.select([child.stderr.fileno()], [], [], 0)[0]:
            stuck += os.read(child.stderr.fileno(), 1 << 16)
        err = child.communicate(timeout=60)[1].decode()
    assert child.returncode == 0
    assert stuck.count(b"\n") > 1
    assert re.fullmatch(
        r"\n?\S+ WARNING +\d+ geventjob.log \[-\] \d+ lines could not be written: nobody reads\n\S+ INFO .* back\n", err
    )


def test_a_closed_stderr_is_nothing_to_speak_of(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        assert os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT) == 2  # as a socket may get that number
        import logging
        from geventjob import log
        log.configure("executor")
        logging.error("nobody hears it")
        print("done")
    """
    ran = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", code, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n")
    assert (tmp_path / "x").read_text() == ""


# --- files


def test_a_file_is_moved_on_at_its_largest_and_five_are_kept(tmp_path: Path) -> None:
    handler = FileHandler(tmp_path / "log" / "x.log", largest=1000)
    for n in range(200):
        handler.handle(record("line %d", n))
    files = sorted(f.name for f in (tmp_path / "log").iterdir())
    assert files == ["x.log", *[f"x.log.{n}" for n in range(1, 6)]]
    kept = "".join((tmp_path / "log" / name).read_text() for name in [*reversed(files[1:]), files[0]])
    numbers = [int(line.rpartition(" ")[2]) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 200))
    for file in (tmp_path / "log").iterdir():
        assert file.stat().st_size <= 1000
        assert file.stat().st_mode & 0o777 == 0o640
    handler.close()


def test_the_mode_does_not_hang_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileHandler(tmp_path / "x.log").close()
        os.umask(0o077)
        FileHandler(tmp_path / "y.log").close()
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("x.log", "y.log")] == [0o640, 0o640]


def test_a_line_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    handler = FileHandler(tmp_path / "x.log", largest=100)
    for text in ("a", "b" * 300, "c"):
        handler.handle(record(text))
    assert [len((tmp_path / f"x.log{n}").read_text().splitlines()) for n in ("", ".1", ".2")] == [1, 1, 1]
    handler.close()


def test_a_file_grows_where_others_rotate(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_bytes(b"x" * LARGEST_FILE)
    program('log.configure("server", sys.argv[1], rotate=False); logging.info("last line")', tmp_path, check=True)
    assert [file.name for file in tmp_path.iterdir()] == ["server.log"]
    assert (tmp_path / "server.log").read_text().endswith("last line\n")
    program('log.configure("server", sys.argv[1]); logging.info("first line")', tmp_path, check=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["server.log", "server.log.1"]


def test_a_file_that_logrotate_moved_is_followed_by_a_new_one(tmp_path: Path) -> None:
    handler = FileHandler(tmp_path / "x.log")
    handler.handle(record("before"))
    (tmp_path / "x.log").rename(tmp_path / "moved")
    handler.handle(record("after"))
    assert (tmp_path / "moved").read_text().endswith("before\n")
    assert (tmp_path / "x.log").read_text().endswith("after\n")
    handler.close()


def test_a_file_that_another_process_moved_is_written_no_more(tmp_path: Path) -> None:
    one, two = FileHandler(tmp_path / "x.log", largest=200), FileHandler(tmp_path / "x.log", largest=200)
    for _ in range(4):
        one.handle(record("of one"))
    two.handle(record("of two"))
    assert (tmp_path / "x.log").read_text().splitlines()[-1].endswith("of two")
    assert (tmp_path / "x.log.1").exists()
    assert not (tmp_path / "x.log.2").exists()
    one.close()
    two.close()


def test_processes_that_share_a_file_lose_no_line_as_it_is_moved(tmp_path: Path) -> None:
    code = """
        handler = log.FileHandler(Path(sys.argv[1]), largest=5000, kept=60)
        for n in range(300):
            handler.handle(logging.makeLogRecord({"msg": f"{sys.argv[2]}-{n}", "name": "n", "levelname": "INFO"}))
        print(handler.lost)
    """
    argv = [sys.executable, "-c", PATCHED + textwrap.dedent(code), str(tmp_path / "x.log")]
    running = [subprocess.Popen([*argv, str(p)], stdout=subprocess.PIPE, text=True) for p in range(4)]
    assert [child.communicate(timeout=60)[0] for child in running] == ["0\n"] * 4
    files = list(tmp_path.iterdir())
    assert len(files) > 5
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert sorted(line.rpartition(" ")[2] for line in lines) == sorted(f"{p}-{n}" for p in range(4) for n in range(300))
    assert all(LINE.fullmatch(line) for line in lines)


def test_while_another_process_moves_the_file_lines_go_on(tmp_path: Path) -> None:
    handler = FileHandler(tmp_path / "x.log", largest=200)
    with open(tmp_path / "x.log") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for n in range(10):
            handler.handle(record("line %d", n))
    assert [f.name for f in tmp_path.iterdir()] == ["x.log"]
    handler.handle(record("line 10"))
    assert sorted(f.name for f in tmp_path.iterdir()) == ["x.log", "x.log.1"]
    assert handler.lost == 0
    handler.close()


def test_a_file_that_cannot_be_moved_is_written_on(tmp_path: Path) -> None:
    for n in range(1, 6):
        (tmp_path / f"x.log.{n}").mkdir()
        (tmp_path / f"x.log.{n}" / "full").mkdir()
    handler = FileHandler(tmp_path / "x.log", largest=200)
    for n in range(10):
        handler.handle(record("line %d", n))
    assert len((tmp_path / "x.log").read_text().splitlines()) == 10
    with open(tmp_path / "x.log") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    handler.close()


# --- turns of jobs, and JSON


TURNS = """
    import json
    log.configure("executor", form=sys.argv[1], jobs=sys.argv[2])
    log.turn("started", "%s started", "job/1", run="job/1 copy", attempt=1)
    log.turn("ended", "%s failed\\nat https://me:hunter2@there", "job/1", level=logging.ERROR, run="job/1 copy", code=3)
    log.write_turns()
    logging.getLogger("other").info("two\\nlines \\x1b[0m \\u2028 \\ud800")
"""


def test_json_lines_have_the_fields_of_a_turn() -> None:
    ran = program(TURNS, "json", "all")
    started, ended, other = map(json.loads, ran.stderr.splitlines())
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each.pop("time")) for each in (started, ended, other)
    )
    assert all(each.pop("pid") > 1 for each in (started, ended, other))
    common = {"logger": "geventjob.jobs", "job": "job/1", "action": "copy"}
    assert started == {**common, "level": "INFO", "message": "job/1 started", "event": "started", "attempt": 1}
    text = "job/1 failed\nat https://***@there"
    assert ended == {**common, "level": "ERROR", "message": text, "event": "ended", "code": 3}
    assert other == {"level": "INFO", "logger": "other", "message": "two\nlines \x1b[0m \u2028 \ud800"}


@pytest.mark.parametrize(("wanted", "count"), [("all", 3), ("failed", 2), ("none", 1)])
def test_the_turns_to_log_are_chosen(wanted: str, count: int) -> None:
    lines = [line for line in program(TURNS, "text", wanted).stderr.splitlines() if not line.startswith(" ")]
    assert len(lines) == count
    assert lines[-1].endswith("other [-] two")


def test_turns_are_written_soon_and_at_the_end(tmp_path: Path) -> None:
    code = """
        log.configure("executor", sys.argv[1])
        for n in range(3):
            log.turn("started", "%s started", f"job/{n}", run=f"job/{n} copy")
        said = lambda: open(sys.argv[1] + "/executor.log").read()
        assert "job/2 started" not in said()
        while "job/2 started" not in said():
            gevent.sleep(0.01)
        log.turn("ended", "the last turn")
    """
    ran = program(code, tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = (tmp_path / "executor.log").read_text().splitlines()
    assert [line.partition("] ")[2] for line in lines] == [*(f"job/{n} started" for n in range(3)), "the last turn"]


# --- a whole process


def test_without_a_folder_it_is_stderr() -> None:
    ran = program('log.configure("server"); logging.getLogger("geventjob.x").info("hello")')
    assert LINE.fullmatch(ran.stderr.strip())
    assert ran.stderr.endswith("geventjob.x [-] hello\n")


def test_everything_that_happens_in_a_process_is_in_its_file(tmp_path: Path) -> None:
    code = """
        import warnings
        log.configure("executor", sys.argv[1])
        logging.getLogger("somebodys.action").info("a library speaks")
        logging.getLogger("kazoo.client").info("chatter")
        logging.getLogger("kazoo.client").warning("kazoo warns")
        warnings.warn("a warning")
        class Action:
            job_id, action = "job/1", "fails"
        def body():
            gevent.getcurrent().spawn_tree_locals = {log.TREE: Action}
            gevent.spawn(lambda: 1 / 0).join()
        gevent.spawn(body).join()
        thread = threading.Thread(target=lambda: [][1])
        thread.start()
        thread.join()
        class Odd:
            def __del__(self):
                raise KeyError("in del")
        Odd()
        raise ValueError("the\\nend")
    """
    ran = program(code, tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == f"geventjob-executor: ValueError: the end; see {tmp_path}/executor.log\n"
    written = (tmp_path / "executor.log").read_text()
    heads = [line for line in written.splitlines() if not line.startswith("    ")]
    assert all(LINE.fullmatch(line) for line in heads)
    levels = [(line.split()[1], line.split()[3]) for line in heads]
    assert levels == [
        ("INFO", "somebodys.action"),
        ("WARNING", "kazoo.client"),
        ("WARNING", "py.warnings"),
        ("ERROR", "geventjob.log"),
        ("ERROR", "geventjob.log"),
        ("ERROR", "geventjob.log"),
        ("CRITICAL", "geventjob.log"),
    ]
    assert "[job/1 fails]" in heads[3]
    for text in ("ZeroDivisionError", "IndexError", "KeyError: 'in del'", "ValueError: the\n    end"):
        assert text in written


def test_the_level(tmp_path: Path) -> None:
    code = """
        log.configure("executor", sys.argv[1], sys.argv[2])
        for name in ("geventjob.x", "kazoo.client"):
            logging.getLogger(name).debug("d")
            logging.getLogger(name).info("i")
            logging.getLogger(name).error("e")
    """
    said = {}
    for level in ("debug", "info", "error"):
        program(code, tmp_path / level, level, check=True)
        found = re.findall(r"(\S+) \[-\] (\w)", (tmp_path / level / "executor.log").read_text())
        said[level] = {name[0]: "".join(text for n, text in found if n == name) for name, _ in found}
    assert said == {"debug": {"g": "die", "k": "die"}, "info": {"g": "ie", "k": "e"}, "error": {"g": "e", "k": "e"}}


def test_a_folder_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = program('log.configure("executor", sys.argv[1])', tmp_path / "file" / "log")
    assert ran.returncode == 2
    folder = tmp_path / "file" / "log"
    assert ran.stderr == (
        f"geventjob-executor: --log-dir: expected a folder that can be written, {folder}: Not a directory\n"
    )


def test_a_child_of_a_process_logs_on(tmp_path: Path) -> None:
    code = """
        log.configure("executor", sys.argv[1])
        logging.info("parent")
        child = os.fork()
        logging.info("child" if child == 0 else "parent again")
        if child:
            os.waitpid(child, 0)
    """
    program(code, tmp_path, check=True)
    lines = (tmp_path / "executor.log").read_text().splitlines()
    assert sorted(line.rpartition("] ")[2] for line in lines) == ["child", "parent", "parent again"]
    assert len({line.split()[2] for line in lines}) == 2


def test_the_shipped_place_is_a_file_by_command(tmp_path: Path) -> None:
    for command in ("executor", "distributor", "server", "up"):
        program(f'log.configure("{command}", sys.argv[1])', tmp_path, check=True)
    assert sorted(Path(f).name for f in tmp_path.iterdir()) == [
        "distributor.log",
        "executor.log",
        "server.log",
        "up.log",
    ]
