"""The parts of the command line that need no server."""

from __future__ import annotations

import argparse
import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from geventjob import config
from geventjob.cimi.errors import CimiError, Conflict, Forbidden, Invalid, LoginRefused, NotFound, ServerAway
from geventjob.cli import columns, job_options, jobs, screen
from geventjob.cli.errors import explain
from geventjob.cli.main import command_at, command_line, is_there, main
from geventjob.cli.screen import Screen
from geventjob.cli.up.folder import DataFolder
from geventjob.cli.watch import Counts
from geventjob.clock import cimi_time, moment_of, now
from geventjob.config import Settings, kinds
from geventjob.exit_code import ExitCode
from geventjob.job.copies import like
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("up", "up"),
        ("-c x.ini up --port 1", "up"),
        ("--config=x.ini --json up", "up"),
        ("--data-dir up jobs", "jobs"),
        ("--ss-insecure --ss-url up submit up", "submit"),
        ("--timeout 3 up", "up"),
        ("--json", None),
        ("", None),
    ],
)
def test_the_command_is_the_first_word_that_belongs_to_no_option(line: str, command: str | None) -> None:
    words = line.split()
    at = command_at(words)
    assert (None if at is None else words[at]) == command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LoginRefused("no"), 5),
        (Forbidden(403, "no"), 5),
        (ServerAway("gone"), 4),
        (NotFound(404, "none"), 6),
        (Invalid(400, "wrong"), 2),
        (Conflict(409, "no"), 1),
        (CimiError("strange"), 1),
    ],
)
def test_what_comes_from_the_server_has_its_exit_code(error: CimiError, code: int) -> None:
    assert explain(error, 10)[0] == code


def test_the_page_of_commands_has_every_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text().replace("`", "")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page.partition("## Exit codes")[2], re.MULTILINE)
    assert rows == [(str(int(code)), code.meaning) for code in ExitCode]


def test_ages_and_spans() -> None:
    assert [screen.span(s) for s in (None, 0, 99.9, 100, 10_799, 10_800, 259_199, 259_200)] == [
        None,
        "0 s",
        "99 s",
        "1 min",
        "179 min",
        "3 h",
        "71 h",
        "3 d",
    ]
    assert screen.age(cimi_time(now() - timedelta(minutes=5))) == "5 min"
    assert screen.age(cimi_time(now() + timedelta(minutes=5))) == "0 s"
    assert screen.age("nonsense") is None


def test_what_would_steer_a_terminal_is_not_shown() -> None:
    assert screen.clean("a\x1b[31mred\r\nb\x9b") == "a [31mred  b "
    out = io.StringIO()
    Screen(out=out).table(("id", "message"), [("job/1", "\x1b]0;title\x07"), ("job/22", None)])
    assert out.getvalue() == "ID      MESSAGE\njob/1    ]0;title\njob/22\n"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("message", [None, "short", "word " * 50, "\u5b57" * 100])
def test_a_table_of_jobs_has_the_state_at_any_width(width: int, message: str | None) -> None:
    from rich.cells import cell_len
    from rich.console import Console

    id = "job/01234567-0123-0123-0123-0123456789ab"
    rows = [
        (id, "RUNNING 100 %", "an_action_with_a_name_that_is_long", "179 min", "99 s", message),
        (id, "SUCCESS", "short", "3 s", None, None),
    ]
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    console.print(screen.rendered(columns.USUAL, rows, console.width))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert all(cell_len(line) <= width for line in lines)
    assert lines[1].startswith("01234567  RUNNING 100 %  an_action")
    assert "179 min  99 s" in lines[1]
    assert lines[1].rstrip().endswith("…") == (message is not None and len(message) > 20)


def test_attributes_of_several_lines_are_indented() -> None:
    shown = screen.attributes({"id": "job/1", "payload": {"a": [1]}, "statusMessage": "one\ntwo", "returnCode": 0})
    assert shown[0] == "id             job/1"
    assert "statusMessage  one" in shown
    assert " " * 15 + "two" in shown
    assert "returnCode     0" in shown


def test_progress_without_a_terminal_is_lines_that_differ() -> None:
    out = io.StringIO()
    with Screen(out=out).progress(100) as update:
        for text in ("QUEUED", "QUEUED", "RUNNING 1 %", "SUCCESS"):
            update(0, text)
    assert out.getvalue().splitlines() == ["QUEUED", "RUNNING 1 %", "SUCCESS"]
    out = io.StringIO()
    with Screen(out=out).progress(100, every=60) as update:
        for text in ("1", "2", "3"):
            update(0, text)
    assert out.getvalue().splitlines() == ["1", "3"]


def test_counts_in_words() -> None:
    counts = Counts({"SUCCESS": 3, "QUEUED": 2, "RUNNING": 0})
    assert (str(counts), counts.ended, counts.all) == ("2 QUEUED, 3 SUCCESS", 3, 5)
    assert str(Counts()) == "none"


def test_payload_from_text_and_file(tmp_path: Path) -> None:
    assert job_options.payload('{"a": 1}') == {"a": 1}
    (tmp_path / "p.json").write_text('{"b": "ü"}')
    assert job_options.payload(f"@{tmp_path}/p.json") == {"b": "ü"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (job_options.payload, "[1]"),
        (job_options.payload, "{"),
        (job_options.payload, "[" * 100_000),
        (job_options.payload, "@/nowhere"),
        (job_options.payload, "@/"),
        (kinds.whole(0, 999), "1000"),
        (kinds.whole(0, 999), "-1"),
        (kinds.whole(0, 999), "³"),
        (kinds.count, "0"),
        (kinds.count, "1000001"),
        (kinds.count, "9" * 5000),
        (job_options.pair, "novalue"),
        (job_options.pair, "=x"),
        (jobs.state, "DONE"),
    ],
)
def test_a_wrong_value_is_refused_in_words(kind: object, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected|cannot read"):
        kind(text)  # type: ignore[operator]


def test_a_job_that_is_run_again_asks_for_the_same_and_has_nothing_of_its_life() -> None:
    old = {
        "id": "job/1",
        "state": "FAILED",
        "action": "a",
        "payload": {"x": 1},
        "priority": 3,
        "timeout": 5,
        "targetResource": {"href": "job"},
        "affectedResources": [{"href": "job"}],
        "properties": {"zookeeper-path": "/job/entries/entry-003-0000000001", "mine": "1"},
        "acl": {"owner": {"principal": "alice", "type": "USER"}},
        "idempotencyKey": "k",
        "statusMessage": "broken",
        "returnCode": 1,
        "started": "x",
        "duration": 1,
        "attempts": 2,
        "executor": "e",
    }
    assert like(old) == {
        "action": "a",
        "payload": {"x": 1},
        "priority": 3,
        "timeout": 5,
        "targetResource": {"href": "job"},
        "properties": {"mine": "1"},
        "acl": {"owner": {"principal": "alice", "type": "USER"}},
    }
    assert "properties" not in like({"action": "a", "properties": {"zookeeper-path": "/x"}})


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["--data-dir", "/nowhere", "jobs"],
        ["jobs", "\udce9"],
        ["submit"],
        ["jobs", "--state", "DONE"],
        ["jobs", "--last", "-1"],
        ["jobs", "--nonsense"],
        ["submit", "a", "--priority", "1000"],
        ["submit", "a", "--payload", "{"],
        ["submit", "a", "--payload", "[]"],
        ["submit", "a", "--property", "x"],
        ["submit", "a", "--count", "0"],
        ["submit", "a b", "c"],
        ["--timeout", "0", "jobs"],
        ["--ss-url", "ftp://x", "jobs"],
        ["-c", "/nowhere.ini", "jobs"],
        ["user", "add"],
        ["user"],
        ["stop"],
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert re.fullmatch(r"geventjob: .+\n", shown.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sumbit", "x"], "unknown command 'sumbit': did you mean submit?; expected one of submit "),
        (["user", "lst"], "unknown command 'lst': did you mean list?; expected one of list add passwd delete"),
        (["jobs", "--stat", "x"], "unrecognized argument: --stat: did you mean --state?"),
        (["jobs", "--ss-usr=alice"], "unrecognized argument: --ss-usr: did you mean --ss-user?"),
        (["--data-dir", "/nowhere", "jobs"], "--data-dir /nowhere has no client.ini: `geventjob up --data-dir"),
        (["jobs", "\udce9"], "word 2 of the command line is not UTF-8 text"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.startswith(f"geventjob: {said}")


def test_a_bare_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: geventjob ")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("jobs", "geventjob"),
        ("-c my.ini jobs --last 3", "geventjob -c my.ini"),
        ("jobs --json --ss-url http://x:1 --timeout 3", "geventjob --ss-url http://x:1"),
        ("--ss-user=alice --ss-pass secret --ss-insecure jobs", "geventjob --ss-user=alice --ss-insecure"),
        ("--ss-pass=secret jobs", "geventjob"),
    ],
)
def test_a_hint_has_the_options_that_the_command_was_called_with(arguments: str, command: str) -> None:
    assert command_line(arguments.split()) == command


@pytest.mark.parametrize(
    ("filter", "names"),
    [
        ("state='a and b' and stat!=\"x\"", ["state", "stat"]),
        ("(priority<10 or null=name) and created>2019-04-02T08:15:30.123Z", ["priority", "name", "created"]),
        ("targetResource/href^='x' and property['y']='z'", ["targetResource/href"]),
        ("5<priority and true=and", ["priority"]),
    ],
)
def test_the_attributes_of_a_filter(filter: str, names: list[str]) -> None:
    assert re.findall(jobs.ATTRIBUTE, re.sub(jobs.TEXT, "''", filter)) == names


def test_where_no_server_listens_the_way_to_start_one_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = Settings(ss_url=f"http://127.0.0.1:{free_port()}", data_dir=config.default_data_dir(), own_file=None)
    assert not is_there(settings, Screen())
    told = f"no server listens at {settings.ss_url}: `geventjob up` starts one here, --ss-url names another"
    assert capsys.readouterr().err == f"geventjob: {told}\n"
    settings.own_file = "client.ini"  # of an engine that may be on its way up again
    assert is_there(settings, Screen())
    assert "(client.ini)" in capsys.readouterr().err


def test_cron_shows_the_firings_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cron", "0 0 * * mon", "--after", "2027-01-01", "--count", "2"]) == 0
    assert capsys.readouterr().out == "Mon 2027-01-04 00:00 UTC\nMon 2027-01-11 00:00 UTC\n"
    assert main(["--json", "cron", "@hourly", "--after", "2027-01-01T01:30+01:00", "--count", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == ["2027-01-01T01:00:00Z", "2027-01-01T02:00:00Z"]
    capsys.readouterr()
    berlin = ["cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2027-03-27T12:00Z", "--count", "2"]
    assert main(berlin) == 0
    assert capsys.readouterr().out == (
        "Sun 2027-03-28 03:00 +02:00 (01:00 UTC)\nMon 2027-03-29 02:30 +02:00 (00:30 UTC)\n"
    )
    assert main([*berlin, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "local": "2027-03-28T03:00:00+02:00",
        "utc": "2027-03-28T01:00:00Z",
    }
    assert main(["cron", "@daily", "--timezone", "Asia/Tokyo", "--after", "2027-01-01", "--count", "1"]) == 0
    assert capsys.readouterr().out == "Sat 2027-01-02 00:00 +09:00 (Fri 15:00 UTC)\n"
    assert main(["cron", "* * * * *"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0 22-4 * * *"], "'0 22-4 * * *': hour '22-4': a range does not wrap: write 22-23,0-4"),
        (["@daily", "--after", "tomorrow"], "--after: expected a date as 2027-01-31"),
        (["@daily", "--after", "1969-12-31"], "--after: expected a date from 1970 on"),
        (["@daily", "--count", "0"], "--count: expected a whole number from 1 to 1000"),
    ],
)
def test_cron_says_what_is_wrong(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cron", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"geventjob: {said}")


def test_the_file_of_up_holds_any_password(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "admin-pass").write_text("'a # b\n")
    settings = config.parse("up", ["--data-dir", str(tmp_path / "data"), "--port", str(free_port())], {})
    DataFolder(settings).prepare()
    assert config.parse("client", ["--data-dir", str(tmp_path / "data")], {}).ss_pass == "'a # b"


def test_check_shows_the_options_of_a_units_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "slipstream-job-executor"
    file.write_text("DAEMON_ARGS='--ss-url=https://h --ss-pass=kept-from-eyes --threads=8'\n")
    assert main(["check", "--defaults", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == ["--ss-url=https://h", "--ss-pass=***", "--threads=8"]
    file.write_text("DAEMON_ARGS='--threads=8 --ss-pass=with blanks in it --name=x'\n")
    assert main(["check", "--defaults", str(file)]) == 2
    assert capsys.readouterr().out.split() == ["--threads=8", "--ss-pass=***", "***", "***", "***", "--name=x"]
    file.write_text("DAEMON_ARGS='--ss-pass=it's --threads=8'\n")
    assert main(["--json", "check", "--defaults", str(file)]) == 2
    assert "an open quote" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "more", "text", "said"),
    [
        ("slipstream-job-executor", [], "DAEMON_ARGS='--thread=8'", "warning: FILE: unknown option --thread: did you"),
        ("slipstream-job-executor", [], "DAEMON_ARGS='--threads=8 100'", "warning: FILE: one word too many; quote a"),
        ("slipstream-job-executor", [], "DAEMON_ARGS='--help'", "warning: FILE: unknown option --help"),
        ("slipstream-job-server", [], "DAEMON_ARGS=--port=1\nGEVENTJOB_HOST='a b'", "warning: FILE: --host: expected "),
        ("slipstream-job-server", [], "DAEMON_ARGS='--port=x'", "warning: FILE: --port: expected "),
        ("geventjob", [], "DAEMON_ARGS='--zk-hosts=h:2181'", "warning: FILE: unknown option --zk-hosts"),
        ("jobs", ["--command", "server"], "DAEMON_ARGS='--threads=8'", "warning: FILE: unknown option --threads"),
        ("jobs", [], "DAEMON_ARGS='--thread=8'", "note: FILE: the options are not checked: name the command by"),
        ("slipstream-job-distributor", [], "DAEMON_ARGS=''", "note: FILE: DAEMON_ARGS is empty"),
        ("slipstream-job-distributor", [], "ARGS='--all'", "note: FILE: DAEMON_ARGS is empty"),
        ("slipstream-job-distributor", [], "DAEMON_ARGS='jobs_cleanup --zk-hosts=h:2181'", ""),
    ],
)
def test_check_tells_what_a_command_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[str], text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(f"{text}\n")
    code = main(["check", "--defaults", str(file), *more])
    told = capsys.readouterr().err
    assert told.count("\n") == (1 if said else 0)
    assert told.startswith(said and f"geventjob: {said.replace('FILE', str(file))}")
    assert code == (2 if said.startswith("warning") else 0)


@pytest.mark.parametrize(("text", "said"), [(b"\xff", "is not UTF-8 text"), (None, "No such file")])
def test_check_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes | None, said: str
) -> None:
    file = tmp_path / "slipstream-job-executor"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--defaults", str(file)])
    assert said in capsys.readouterr().err


def test_columns_of_a_table_of_jobs() -> None:
    names = columns.names("state, payload/account,priority,tags,message")
    assert columns.needed(names) == ["id", "state", "progress", "held", "payload", "priority", "tags", "statusMessage"]
    job = {"id": "job/1", "state": "QUEUED", "payload": {"account": {"n": 7}}, "priority": 3, "tags": ["a", "b"]}
    assert columns.row(job, names) == ["QUEUED", '{"n": 7}', "3", '["a", "b"]', None]
    assert columns.row({"id": "job/1", "payload": "no object"}, ["payload/account"]) == [None]
    assert len(str(columns.cell({"output": ["x" * 1000]}, "output"))) == columns.LONGEST


def test_a_column_that_no_job_has() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no job has an attribute 'prioriti': did you mean priority"):
        columns.names("id,prioriti")


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("5m", 300), ("2h", 7200), ("3d", 259200)])
def test_since_a_time_ago(text: str, ago: int) -> None:
    assert abs((now() - moment_of(jobs.since(text))).total_seconds() - ago) < 60
    assert jobs.since("2026-04-02T08:00:00+02:00") == "2026-04-02T06:00:00.000Z"


@pytest.mark.parametrize("text", ["", "2", "h", "+2h", "-2h", "2026-04-02", "2 hours", "9999999999d", "999999999d"])
def test_since_of_another_text(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a time as 90s, 2h or 3d, or a date"):
        jobs.since(text)
