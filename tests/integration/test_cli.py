"""`geventjob` as a process, against a real server and executor."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from geventjob import Client
from geventjob.clock import cimi_time, now
from tests.support.answering import Asked, Reply, answering
from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Fleet, ended, fleet, until
from tests.support.ports import free_port

ACTIONS = Path(__file__).parent.parent / "actions" / "mixed.py"
STEPS = """
import time
from geventjob import action

@action("steps")
def steps(job):
    for percent in range(0, 100, 20):
        job.set_progress(percent)
        job.set_status_message(f"at {percent}")
        time.sleep(job.payload.get("pace", 0.1))

@action("count_words", retries=3)
def count_words(job, url: str, limit: int = 10):
    return {"url": url, "limit": limit}
"""
JOB_ID = re.compile(r"job/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Yield a server, an executor, and a client.ini like that of `geventjob up`."""
    with fleet(tmp_path_factory.mktemp("cli")) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        (made.actions_dir / "steps.py").write_text(STEPS)
        ini = made.data_dir / "client.ini"
        ini.write_text(f"ss-url = {made.url}\nss-user = super\nss-pass = {PASSWORD}\n")
        ini.chmod(0o600)
        made.server()
        made.executor("worker")
        yield made


@pytest.fixture(scope="module")
def client(up: Fleet) -> Iterator[Client]:
    with up.client() as made:
        yield made


@pytest.fixture(scope="module")
def cli(up: Fleet) -> Cli:
    return Cli(up.data_dir)


# --- submit


def test_submit_prints_the_id_and_the_job_is_as_told(cli: Cli, client: Client, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"seconds": 0}')
    options = ["--target", "credential/ab-1", "--priority", "7", "--property", "a=b", "--property", "c=d=e"]
    done = cli("submit", "succeeds", *options, "--payload", f"@{tmp_path}/payload.json")
    assert JOB_ID.fullmatch(done.stdout.strip())
    assert not done.stderr
    job = client.get(done.stdout.strip())
    assert job["action"] == "succeeds"
    assert (job["priority"], job["targetResource"], job["payload"]) == (7, {"href": "credential/ab-1"}, {"seconds": 0})
    assert (job["properties"]["a"], job["properties"]["c"]) == ("b", "d=e")


def test_submit_json_prints_the_ids(cli: Cli, client: Client) -> None:
    (id,) = cli.json("submit", "succeeds")
    assert client.get(id)["action"] == "succeeds"
    assert len(set(cli.json("submit", "succeeds", "--count", "3"))) == 3


def test_submit_reads_its_payload_from_stdin(cli: Cli, client: Client) -> None:
    id = cli("submit", "succeeds", "--payload", "-", stdin='{"seconds": 0, "x": "ü"}').stdout.strip()
    assert client.get(id)["payload"]["x"] == "ü"


def test_the_same_key_makes_no_second_job(cli: Cli) -> None:
    first = cli("submit", "succeeds", "--key", "only-once").stdout
    assert cli("submit", "succeeds", "--key", "only-once").stdout == first
    assert "--key" in cli.wrong("submit", "succeeds", "--key", "only-once", "--priority", "3")
    many = cli.json("submit", "succeeds", "--count", "3", "--key", "of-three")
    assert cli.json("submit", "succeeds", "--count", "3", "--key", "of-three") == many


def test_wait_shows_the_way_and_the_outcome(cli: Cli) -> None:
    lines = cli("submit", "steps", "--wait").stdout.splitlines()
    assert JOB_ID.fullmatch(lines[0])
    assert any(re.fullmatch(r"RUNNING( \d+ %)?  at \d+", line) for line in lines)
    assert lines[-1].startswith("SUCCESS")
    assert "lost" in cli("submit", "raises", "--payload", '{"text": "all is lost"}', "--wait", code=1).stdout


def test_wait_for_many_is_one_question_for_all(cli: Cli, client: Client) -> None:
    done = cli("submit", "succeeds", "--count", "500", "--wait")
    lines = done.stdout.splitlines()
    assert sum(bool(JOB_ID.fullmatch(line)) for line in lines) == 500
    assert lines[-1] == "500 jobs: 500 SUCCESS"
    failed = cli("submit", "raises", "--payload", '{"text": "no"}', "--count", "12", "--wait", code=1).stdout
    assert "12 jobs: 12 FAILED" in failed
    assert "RuntimeError: no" in failed


def test_wait_runs_out_of_time_and_the_job_goes_on(cli: Cli, client: Client) -> None:
    options = ["--payload", '{"seconds": 30}', "--wait", "--timeout", "1"]
    done = cli("submit", "waits", *options, code=3)
    id = done.stdout.splitlines()[0]
    assert f"geventjob watch {id}" in done.stderr
    assert client.get(id)["state"] == "RUNNING"
    client.operation(id, "stop")
    many = cli("submit", "waits", *options, "--count", "2", code=3)
    for id in many.stdout.splitlines()[:2]:
        client.operation(id, "stop")
    assert "geventjob jobs --filter" in many.stderr


def test_ctrl_c_stops_watching_and_says_how_to_go_on(cli: Cli, client: Client) -> None:
    process = cli.start("submit", "waits", "--payload", '{"seconds": 30}', "--wait")
    assert process.stdout
    id = process.stdout.readline().strip()
    assert any(line.startswith("RUNNING") for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.splitlines() == [
        f"geventjob: {id} has not ended and goes on; to see more of it: geventjob watch {id}"
    ]
    assert client.get(id)["state"] == "RUNNING"
    client.operation(id, "stop")


def test_a_warning_when_nobody_announces_the_action(cli: Cli, client: Client) -> None:
    done = cli("submit", "never_heard_of")
    assert "no executor announces the action 'never_heard_of'" in done.stderr
    client.operation(done.stdout.strip(), "stop")


def test_a_warning_when_the_payload_does_not_fit_and_the_job_fails_at_once(cli: Cli, client: Client) -> None:
    done = cli("submit", "count_words", "--payload", '{"limit": "many", "most": 1}', "--wait", code=1)
    warning = (
        "warning: payload: url: missing; limit: expected integer; most: unknown: see geventjob actions count_words"
    )
    assert done.stderr.splitlines() == [f"geventjob: {warning}"]
    job = client.get(done.stdout.splitlines()[0])
    assert (job["state"], job["attempts"]) == ("FAILED", 1)
    assert job["statusMessage"] == "InvalidPayload: url: missing; limit: expected int, got str"
    assert [error["type"] for error in job["errors"]] == ["InvalidPayload"]


def test_an_action_is_shown_with_an_example_that_succeeds(cli: Cli, client: Client) -> None:
    lines = cli("actions", "count_words").stdout.splitlines()
    assert lines[0] == "count_words on worker"
    assert [line.split() for line in lines[1:4]] == [
        ["PARAMETER", "TYPE", "DEFAULT"],
        ["url", "string"],
        ["limit", "integer", "10", "optional"],
    ]
    assert lines[4] == """geventjob submit count_words --payload '{"url": "text", "limit": 10}'"""
    (version,) = cli.json("actions", "count_words")
    assert (version["action"], version["executors"]) == ("count_words", ["worker"])
    done = cli("submit", "count_words", "--payload", json.dumps(version["example"]), "--wait")
    assert not done.stderr
    assert client.get(done.stdout.splitlines()[0])["output"] == {"url": "text", "limit": 10}
    assert "the action reads its payload by itself" in cli("actions", "steps").stdout
    assert "no executor announces the action 'nothing'" in cli.wrong("actions", "nothing")


# --- jobs, show, stop, rerun, watch


def test_jobs_lists_the_newest_first(cli: Cli) -> None:
    ids = [cli.json("submit", "succeeds", "--priority", str(n))[0] for n in (1, 2, 3)]
    assert [job["id"] for job in cli.json("jobs", "--last", "3")] == ids[::-1]
    listed = cli("jobs", "--last", "2").stdout.splitlines()
    assert listed[0].split() == ["ID", "STATE", "ACTION", "AGE", "TOOK", "MESSAGE"]
    assert [line.split()[0] for line in listed[1:]] == [ids[2], ids[1]]
    before, after = cli("--json", "jobs", "--last", "1"), cli("jobs", "--last", "1", "--json")
    assert before.stdout == after.stdout


def test_jobs_by_state_action_and_filter(cli: Cli, client: Client) -> None:
    id = cli.json("submit", "answers", "--payload", '{"code": 3}', "--property", "mark=here")[0]
    ended(client, [id])
    assert cli.json("jobs", "--filter", "properties/mark='here' or id='x'", "--state", "failed")[0]["id"] == id
    assert cli.json("jobs", "--filter", "properties/mark='here' or id='x'", "--state", "SUCCESS") == []
    assert {job["action"] for job in cli.json("jobs", "--action", "answers")} == {"answers"}
    assert cli.json("jobs", "--action", "it's") == []
    assert "Invalid CIMI filter" in cli.wrong("jobs", "--filter", "state=")
    assert "--action" in cli.wrong("jobs", "--action", "both ' and \"")
    assert {job["state"] for job in cli.json("jobs", "--failed")} == {"FAILED"}
    assert cli.json("jobs", "--since", "1h", "--action", "answers")
    assert cli.json("jobs", "--since", cimi_time(now() + timedelta(days=1))) == []
    assert "--since: expected a time as 90s" in cli.wrong("jobs", "--since", "yesterday")


def test_jobs_with_columns(cli: Cli, client: Client) -> None:
    id = client.add("job", {"action": "answers", "tags": ["of columns"], "payload": {"account": 7}})
    listed = cli("jobs", "--filter", "tags='of columns'", "--columns", "id,priority,payload/account").stdout
    assert [line.split() for line in listed.splitlines()] == [["ID", "PRIORITY", "PAYLOAD/ACCOUNT"], [id, "999", "7"]]
    (shown,) = cli.json("jobs", "--filter", "tags='of columns'", "--columns", "tags")
    assert (shown["tags"], "payload" in shown, "state" in shown) == (["of columns"], False, False)
    assert "no job has an attribute 'tag': did you mean tags?" in cli.wrong("jobs", "--columns", "tag")


def test_show_by_any_name(cli: Cli, client: Client) -> None:
    (id,) = cli.json("submit", "answers", "--payload", '{"code": 0}')
    ended(client, [id])
    whole = client.get(id)
    for name in (id, id.removeprefix("job/"), id[:20], id.removeprefix("job/")[:16]):
        assert cli.json("show", name) == whole
    shown = cli("show", id).stdout.splitlines()
    assert shown[0].split() == ["id", id]
    assert shown[1].split() == ["state", "SUCCESS"]
    assert any(line.split() == ["returnCode", "0"] for line in shown)
    other = cli.json("submit", "succeeds")[0]
    assert [job["id"] for job in cli.json("show", id, other)] == [id, other]
    assert cli("show", id, "'", other, code=6).stdout.count("action  ") == 2


def test_a_job_is_submitted_with_name_tags_and_time_out(cli: Cli, client: Client) -> None:
    options = ["--name", "Monthly report", "--tag", "reports", "--tag", "of Alice", "--job-timeout", "90"]
    (id,) = cli.json("submit", "succeeds", *options)
    job = client.get(id)
    assert (job["name"], job["tags"], job["timeout"]) == ("Monthly report", ["reports", "of Alice"], 90)
    assert [found["id"] for found in cli.json("jobs", "--filter", "tags='of Alice'")] == [id]
    ended(client, [id])
    assert cli.json("rerun", id)["tags"] == job["tags"]
    assert "--job-timeout" in cli.wrong("submit", "succeeds", "--job-timeout", "0")
    assert "tags" in cli.wrong("submit", "succeeds", *["--tag", "x"] * 21)


def test_a_filter_with_an_attribute_that_no_job_has_is_warned_of(cli: Cli) -> None:
    cli.json("submit", "succeeds")
    done = cli("jobs", "--filter", "stat='SUCCESS' and priority<1000")
    assert done.stderr == "geventjob: warning: no job has an attribute 'stat': did you mean state?\n"
    assert not cli("jobs", "--filter", "state='SUCCESS' and priority=0").stderr


def test_a_position_in_a_filter_is_that_of_what_was_typed(cli: Cli) -> None:
    alone = cli.wrong("jobs", "--filter", "state='SUCCESS' und priority=3")
    assert "position 17: found und" in alone
    assert (
        cli.wrong("jobs", "--state", "FAILED", "--action", "x", "--filter", "state='SUCCESS' und priority=3") == alone
    )


def test_a_job_that_is_not_there(cli: Cli) -> None:
    whole = "job/01234567-0123-0123-0123-0123456789ab"
    for command in (
        ["show", whole],
        ["stop", "ffffffff-ffff"],
        ["rerun", whole],
        ["watch", "user/super"],
        ["show", "'"],
    ):
        cli.wrong(*command, code=6)


def test_a_beginning_that_fits_several_is_refused(cli: Cli) -> None:
    ids = cli.json("submit", "succeeds", "--count", "40")
    firsts = [id[4] for id in ids]
    several = next(first for first in firsts if firsts.count(first) > 1)
    assert "jobs begin with" in cli.wrong("show", several)


def test_stop_stops_each_and_goes_on_after_one_that_is_not_there(cli: Cli, client: Client) -> None:
    ids = cli.json("submit", "waits", "--payload", '{"seconds": 60}', "--count", "2")
    until(lambda: all(client.get(id)["state"] == "RUNNING" for id in ids))
    done = cli("stop", ids[0], "00000000-0000-0000-0000-000000000000", ids[1], "--json", code=6)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ids
    assert {job["state"] for job in ended(client, ids).values()} == {"STOPPED"}
    assert cli("stop", ids[0]).stdout == f"{ids[0]}  STOPPED  had ended already\n"


def test_a_job_for_later_is_released_and_one_that_fails_is_final(cli: Cli, client: Client) -> None:
    (id,) = cli.json("submit", "answers", "--payload", '{"code": 4}', "--not-before", "+2h", "--expires", "+3h")
    job = client.get(id)
    assert job["held"]["until"] == job["notBefore"] < job["expires"]
    assert f"QUEUED until {job['notBefore']}" in cli("jobs", "--action", "answers").stdout
    assert cli("why", id).stdout.startswith("The job waits until ")
    assert "released" in cli("release", id).stdout
    assert ended(client, [id])[id]["state"] == "FAILED"
    assert "was not held" in cli("release", id).stdout
    (retried,) = cli.json("submit", "raises", "--retries", "3")
    assert until(lambda: client.get(retried).get("held"))["why"] == "retry"
    cli("stop", retried)
    for option, value in (("--not-before", "tomorrow"), ("--expires", "+1x")):
        assert "expected a date with a time zone, as" in cli.wrong("submit", "succeeds", option, value)
    assert "--retries: expected a whole number from 0 to 100" in cli.wrong("submit", "succeeds", "--retries", "101")


def test_all_failed_jobs_that_match_are_run_again(cli: Cli, client: Client) -> None:
    (tag,) = {uuid4().hex}
    old = cli.json("submit", "answers", "--payload", '{"code": 4}', "--tag", tag, "--count", "230")
    cli.json("submit", "succeeds", "--tag", tag)
    ended(client, old)
    filter = ["--filter", f"tags='{tag}'"]
    assert cli("rerun", *filter, "--dry-run").stdout == "230 jobs in FAILED match\n"
    new = cli.json("rerun", *filter, "--key", tag)
    assert len(set(new) - set(old)) == 230
    reran = client.search("event", filter="content/state='reran' and content/resource/href='job'")["events"]
    assert [event["count"] for event in reran if tag in event["detail"]] == [230]
    again = cli.json("rerun", "--filter", f"tags='{tag}' and created<='{client.get(old[-1])['created']}'", "--key", tag)
    assert set(again) <= set(new), "a run that goes on makes no job twice"
    assert "expected IDs or --filter" in cli.wrong("rerun")
    assert "go with --filter" in cli.wrong("rerun", old[0], "--dry-run")


def test_rerun_makes_a_job_like_it(cli: Cli, client: Client) -> None:
    payload = ["--payload", '{"code": 4}', "--priority", "5", "--target", "job/x", "--property", "a=b"]
    (old,) = cli.json("submit", "answers", *payload)
    ended(client, [old])
    new = cli.json("rerun", old)
    assert new["id"] != old
    reran = f"content/resource/href='{old}' and content/state='reran'"
    assert client.search("event", filter=reran)["count"] == 1
    assert ended(client, [new["id"]])[new["id"]]["returnCode"] == 4
    for name in ("action", "payload", "priority", "targetResource", "acl"):
        assert new[name] == client.get(old)[name]
    assert new["properties"]["a"] == "b"
    assert new["properties"]["zookeeper-path"] != client.get(old)["properties"]["zookeeper-path"]
    (running,) = cli.json("submit", "waits", "--payload", '{"seconds": 60}')
    assert "only a job that has ended" in cli.wrong("rerun", running)
    cli("stop", running)
    several = cli("rerun", old, running[:12], new["id"], "job/00000000-0000-0000-0000-000000000000", code=6)
    assert len(several.stdout.splitlines()) == len(set(several.stdout.splitlines())) == 3
    cli("stop", several.stdout.splitlines()[1])


def test_watch_follows_a_job_to_its_end(cli: Cli) -> None:
    (id,) = cli.json("submit", "steps")
    lines = cli("watch", id[:30], "--json").stdout.splitlines()
    states = [json.loads(line)["state"] for line in lines]
    assert states[-1] == "SUCCESS"
    assert len(lines) == len(set(lines))
    (failing,) = cli.json("submit", "answers", "--payload", '{"code": 1}')
    assert cli("watch", failing, code=1).stdout.splitlines()[-1].startswith("FAILED")


def test_watch_shows_all_that_happens(cli: Cli) -> None:
    process = cli.start("watch")
    assert process.stdout
    (id,) = cli.json("submit", "waits", "--payload", '{"seconds": 60}')
    assert any(line.startswith(id) and "RUNNING" in line for line in process.stdout)
    cli("stop", id)
    assert any(line.startswith(id) and "STOPPED" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


# --- the fleet and users


def test_nodes_actions_and_queue(cli: Cli) -> None:
    nodes = cli.json("nodes")
    (worker,) = [node for node in nodes if node["name"] == "worker"]
    assert worker["role"] == "executor"
    assert "steps" in worker["actions"]
    assert any(line.split()[:2] == ["executor", "worker"] for line in cli("nodes").stdout.splitlines())
    assert {"action": "steps", "executors": ["worker"]} in cli.json("actions")
    assert ["steps", "worker"] in [line.split() for line in cli("actions").stdout.splitlines()]
    look = cli.json("queue")
    assert {"entries", "taken", "oldest", "head"} <= look.keys()
    assert re.match(r"\d+ in the queue.*; \d+ taken", cli("queue").stdout)


def test_the_queue_shows_what_comes_next(cli: Cli, client: Client) -> None:
    running = cli.json("submit", "waits", "--payload", '{"seconds": 60}', "--count", "25")
    until(lambda: all(client.get(id)["state"] == "RUNNING" for id in running))
    waiting = cli.json("submit", "nobody_has_this", "--count", "2", "--priority", "998")
    lines = until(lambda: (seen := cli("queue").stdout.splitlines()) and seen[-1].split()[1] in waiting and seen)
    assert lines[0].endswith("taken; next:")
    assert not any(id in line for id in running for line in lines)
    cli("stop", *running, *waiting)


def test_users_are_added_changed_and_deleted(cli: Cli, up: Fleet, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("first of alice\n")
    second.write_text("second of alice\n")
    for file in (first, second):
        file.chmod(0o600)
    assert "user/alice" in cli("user", "add", "alice", "--pass-file", str(first)).stdout
    assert "already" in cli.wrong("user", "add", "alice", "--pass-file", str(first))
    alice = Cli(None, GEVENTJOB_SS_URL=up.url, GEVENTJOB_SS_USER="alice", GEVENTJOB_SS_PASS_FILE=str(first))
    alice("jobs")
    assert "not allowed" in alice.wrong("nodes", code=5)
    missing = f"job/{uuid4()}"
    for command in ("show", "stop", "watch", "rerun"):
        assert f"{missing} does not exist, or you may not see it" in alice.wrong(command, missing, code=5)
    alice("user", "passwd", "alice", "--pass-file", str(second))
    assert "log-in refused" in alice.wrong("jobs", code=5)
    cli("user", "passwd", "alice", "--pass-file", "-", stdin="first of alice\n")
    alice("jobs")
    assert cli.json("user", "delete", "alice") == {"id": "user/alice"}
    alice.wrong("jobs", code=5)
    assert "no user alice" in cli.wrong("user", "delete", "alice")
    assert [line.split()[:3] for line in cli("user", "list").stdout.splitlines()][1] == ["user/super", "ADMIN", "USER"]
    assert [user["username"] for user in cli.json("user", "list")] == ["super"]
    assert "--pass-file is needed" in cli.wrong("user", "add", "bob")
    assert "empty" in cli.wrong("user", "add", "bob", "--pass-file", "/dev/null")
    cli("user", "add", "boss", "--admin", "--pass-file", str(first))
    boss = Cli(None, GEVENTJOB_SS_URL=up.url, GEVENTJOB_SS_USER="boss", GEVENTJOB_SS_PASS_FILE=str(first))
    assert boss.json("nodes")


def test_a_command_leaves_no_session_behind(cli: Cli, client: Client) -> None:
    def sessions() -> int:
        return sum("DELETE /api/session" in path for path in server.paths())

    def reply(asked: Asked) -> Reply:
        return Reply(200, {"count": 0, "jobs": []})

    with answering(reply) as server:
        Cli(None, GEVENTJOB_SS_USER="alice", GEVENTJOB_SS_PASS="secret")("--ss-url", server.url, "jobs")
    assert sessions() == server.sessions == 1


# --- where the server is, and is not


def test_the_server_is_found_by_flag_environment_and_file(up: Fleet, tmp_path: Path) -> None:
    ini = tmp_path / "my.ini"
    ini.write_text(f"ss-url = {up.url}\nss-user = super\nss-pass-file = {up.password_file}\n")
    nowhere = Cli(tmp_path)
    nowhere("-c", str(ini), "jobs")
    nowhere("jobs", "-c", str(ini))
    nowhere("jobs", "--data-dir", str(up.data_dir))
    flags = ["--ss-url", up.url, "--ss-user", "super", "--ss-pass-file", str(up.password_file)]
    nowhere("jobs", *flags)
    nowhere(*flags, "jobs")


def test_a_server_that_is_away_is_one_line_after_its_time(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    lonely = Cli(tmp_path, GEVENTJOB_SS_URL=url, GEVENTJOB_SS_USER="u", GEVENTJOB_SS_PASS="secret-word")
    started = time.monotonic()
    lonely("--version")
    start = time.monotonic() - started
    for command in (["jobs"], ["submit", "a"], ["stop", "0" * 8]):
        started = time.monotonic()
        line = lonely.wrong(*command, "--timeout", "0.5", code=4)
        assert url in line
        assert "secret-word" not in line
        assert 0.5 < time.monotonic() - started < 8 + 2 * start, "not the 10 s that it tries unless told"
    many = lonely("submit", "a", "--count", "3", "--key", "mine", "--timeout", "0.1", code=4).stderr
    assert "0 of 3 jobs were submitted; to go on: the same with --key mine" in many


def test_a_silent_server_is_away_too() -> None:
    def silent(asked: Asked) -> Reply:
        time.sleep(8)
        return Reply(200, {})

    silent.logins = True  # type: ignore[attr-defined]
    with answering(silent) as server:
        cli = Cli(None, GEVENTJOB_SS_URL=server.url, GEVENTJOB_SS_USER="u", GEVENTJOB_SS_PASS="p")
        started = time.monotonic()
        assert "no answer within 1 s" in cli.wrong("jobs", "--timeout", "1", code=4)
        assert time.monotonic() - started < 8


def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    def reply(asked: Asked) -> Reply:
        away = len([a for a in server.asked if a.path == "/api/job"]) < 3
        return Reply(503, {"message": "starting"}) if away else Reply(200, {"count": 0, "jobs": []})

    with answering(reply) as server:
        Cli(None, GEVENTJOB_SS_URL=server.url, GEVENTJOB_SS_USER="u", GEVENTJOB_SS_PASS="secret")("jobs")


def test_a_wrong_password_is_one_line_at_once(up: Fleet) -> None:
    wrong = Cli(None, GEVENTJOB_SS_URL=up.url, GEVENTJOB_SS_USER="super", GEVENTJOB_SS_PASS="not-this-one")
    started = time.monotonic()
    line = wrong.wrong("jobs", code=5)
    assert "log-in refused: invalid credentials for 'super'" in line
    assert "not-this-one" not in line
    assert time.monotonic() - started < 8
    nobody = Cli(None, GEVENTJOB_SS_URL=up.url)
    assert "no user was given" in nobody.wrong("jobs", code=5)


def test_wrong_usage_is_one_line(cli: Cli) -> None:
    assert cli.wrong("jobs", "--state", "DONE").startswith("geventjob: --state: expected one of QUEUED")
    assert cli.wrong("fly").startswith("geventjob: ")


def test_what_the_server_finds_wrong_is_wrong_usage(cli: Cli) -> None:
    assert "targetResource" in cli.wrong("submit", "succeeds", "--target", "No Such Thing")
    done = cli("submit", "succeeds", "--target", "No Such Thing", "--count", "3", code=2)
    assert "3 of 3 jobs were refused" in done.stderr
    assert not done.stdout.strip()


def test_help_and_version_need_nothing() -> None:
    lonely = Cli(Path("/nowhere"))
    assert "submit" in lonely("--help").stdout
    assert "--payload" in lonely("submit", "--help").stdout
    assert "--pass-file" in lonely("user", "add", "--help").stdout
    assert re.fullmatch(r"geventjob \d+\.\d+.*\n", lonely("--version").stdout)


def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    cli.json("submit", "succeeds", "--count", "300")
    line = f"{cli.command[0]} jobs --last 300 | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, env=cli.environ)
    assert done.stdout.startswith("ID")
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # all of it may have been in the pipe already


def test_the_password_is_in_no_process_list(up: Fleet) -> None:
    def silent(asked: Asked) -> Reply:
        until(lambda: seen.append(Path(f"/proc/{process.pid}/cmdline").read_text()) or True)
        return Reply(200, {"count": 0, "jobs": []})

    seen: list[str] = []
    with answering(silent) as server:
        cli = Cli(None)
        process = cli.start("--ss-url", server.url, "--ss-user", "alice", "--ss-pass", "secret", "jobs")
        assert process.wait(60) == 0
        process.communicate()
    assert seen
    assert all("secret" not in line and "***" in line for line in seen)


# --- on a terminal


def on_terminal(
    cli: Cli, *arguments: str, seconds: float = 30.0, until_shown: str = "", **environ: str
) -> tuple[int, str]:
    """Return the exit code and the screen; type Ctrl-C once the screen shows `until_shown`."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [*cli.command, *arguments],
        stdin=other,
        stdout=other,
        stderr=other,
        env=cli.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "24"} | environ,
        start_new_session=True,
    )
    os.close(other)
    shown, deadline = "", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([main], [], [], 0.1)[0]:
            try:
                shown += os.read(main, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                break
        if until_shown and until_shown in shown:
            process.send_signal(signal.SIGINT)
            until_shown = ""
    os.close(main)
    return process.wait(10), shown


def test_a_terminal_has_a_progress_bar_and_the_outcome(cli: Cli) -> None:
    code, shown = on_terminal(cli, "submit", "steps", "--payload", '{"pace": 0.4}', "--wait")
    assert code == 0, shown
    assert "━" in shown
    assert "RUNNING" in shown
    assert re.search(JOB_ID.pattern + r"  SUCCESS", shown)
    assert "\x1b[32m" in shown
    code, shown = on_terminal(cli, "submit", "succeeds", "--count", "50", "--wait", NO_COLOR="1")
    assert code == 0, shown
    assert "50 jobs: 50 SUCCESS" in shown
    assert "\x1b[32m" not in shown


def test_a_hint_carries_the_options_of_the_command(up: Fleet, tmp_path: Path) -> None:
    ini = up.data_dir / "client.ini"
    done = Cli(tmp_path)(
        *("-c", str(ini), "submit", "waits", "--payload", '{"seconds": 30}', "--wait", "--timeout", "1"), code=3
    )
    hint = done.stderr.rpartition(": ")[2].strip()
    assert hint == f"geventjob -c {ini} watch {done.stdout.splitlines()[0]}"
    Cli(tmp_path)("-c", str(ini), "stop", done.stdout.splitlines()[0])


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_of_any_width_shows_the_state_of_each_job(cli: Cli, client: Client, width: int) -> None:
    (id,) = cli.json("submit", "raises", "--payload", '{"text": "all is lost, and at length"}', "--tag", f"w{width}")
    ended(client, [id])
    code, shown = on_terminal(
        cli, "jobs", "--filter", f"tags='w{width}'", COLUMNS=str(width), NO_COLOR="1", TERM="dumb"
    )
    assert code == 0, shown
    header, row = shown.splitlines()
    assert header.split() == ["ID", "STATE", "ACTION", "AGE", "TOOK", "MESSAGE"]
    assert row.split()[:3] == [id[4:12], "FAILED", "raises"]
    assert max(len(header), len(row)) <= width


def test_a_terminal_has_a_live_table(cli: Cli) -> None:
    (id,) = cli.json("submit", "waits", "--payload", '{"seconds": 60}')
    code, shown = on_terminal(cli, "watch", until_shown=id[4:12])
    cli("stop", id)
    assert code == 0, shown
    assert "STATE" in shown


def test_a_terminal_asks_for_the_password(cli: Cli) -> None:
    main, other = pty.openpty()
    command = [*cli.command, "user", "add", "carol"]
    process = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, env=cli.environ, start_new_session=True
    )
    os.close(other)
    shown = ""
    for prompt in ("Password for carol: ", "The same again: "):
        while prompt not in shown:
            shown += os.read(main, 1000).decode()
        os.write(main, b"hers alone\n")
    assert process.wait(20) == 0
    os.close(main)
    assert "hers alone" not in shown
    cli("user", "delete", "carol")


# --- the whole engine


def test_stats_tells_of_everything(cli: Cli, client: Client) -> None:
    id = cli("submit", "succeeds", "--wait").stdout.split()[0]
    shown = cli("stats").stdout
    assert re.search(r"^jobs: .*SUCCESS", shown, re.MULTILINE)
    assert re.search(
        r"^last hour: [1-9]\d* in, [1-9]\d* out, \d+ failed; last minute: \d+ in, \d+ out$", shown, re.MULTILINE
    )
    assert re.search(r"^queue: \d+ entries, \d+ taken", shown, re.MULTILINE)
    assert re.search(r"^executors: 1, \d+ of \d+ slots taken$", shown, re.MULTILINE)
    assert re.search(r"^succeeds +[1-9]", shown, re.MULTILINE)
    told = cli.json("stats")
    assert {"jobs", "queue", "nodes", "rate", "attention", "running"} == told.keys()
    assert client.get(id)["state"] == "SUCCESS"


def test_top_without_a_terminal_prints_once(cli: Cli, client: Client) -> None:
    id = client.add("job", {"action": "steps", "payload": {"pace": 30}})
    until(lambda: client.get(id)["state"] == "RUNNING")
    shown = cli("top").stdout
    assert re.search(r"^worker .* [1-9]\d*/", shown, re.MULTILINE)
    assert re.search(rf"^{id} +steps +worker", shown, re.MULTILINE)
    client.operation(id, "stop")


def test_top_is_live_on_a_terminal(cli: Cli) -> None:
    code, shown = on_terminal(cli, "top", until_shown="EXECUTOR")
    assert code == 0, shown
    assert "jobs: " in shown
    assert "slots taken" in shown


def test_the_nearest_word(cli: Cli) -> None:
    assert cli.wrong("jobs", "--state", "FAILEDX").rstrip().endswith("did you mean FAILED?")
    assert "'answersx': did you mean answers?" in cli("submit", "answersx").stderr
    assert "'answersx': did you mean answers?" in cli.wrong("actions", "answersx")
