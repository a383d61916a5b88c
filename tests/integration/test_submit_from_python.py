"""Programs that submit jobs and wait for results; the code of docs/how-to/submit-from-python.md runs as it stands."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client, JobFailed
from geventjob.cimi.errors import Invalid, NotFound, ServerAway
from tests.support.answering import Reply, answering
from tests.support.examples import ROOT, files
from tests.support.fleet import Fleet, fleet
from tests.support.ports import free_port

PAGE = ROOT / "docs" / "how-to" / "submit-from-python.md"
CHAINS = ROOT / "docs" / "how-to" / "chains.md"
ACTIONS = """
import time
from geventjob import action

@action("gives")
def gives(job, value: dict):
    return value

@action("says_no")
def says_no(job):
    raise RuntimeError("no")

@action("waits")
def waits(job):
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Yield a server and an executor that has the actions of the pages."""
    with fleet(tmp_path_factory.mktemp("programs")) as made:
        (made.actions_dir / "own.py").write_text(ACTIONS)
        for name, text in files(ROOT / "docs" / "how-to" / "parameters.md").items():
            (made.folder / name).write_text(text)
        made.server()
        made.executor("worker")
        yield made


@pytest.fixture(scope="module")
def client(made: Fleet) -> Iterator[Client]:
    with made.client(patience=1) as client:
        yield client


def test_the_result_is_the_output_of_the_action(client: Client) -> None:
    assert client.result(client.submit("gives", {"value": {"a": [1]}}), timeout=30) == {"a": [1]}
    assert client.result(client.submit("dummy_test_action", {"seconds": 0}), timeout=30) is None


def test_a_failed_or_stopped_job_is_raised_with_its_message(client: Client) -> None:
    failed = client.submit("says_no")
    with pytest.raises(JobFailed) as caught:
        client.result(failed, timeout=30)
    assert str(caught.value) == f"{failed} is FAILED: RuntimeError: no"
    assert (caught.value.state, caught.value.job["id"]) == ("FAILED", failed)
    assert client.wait(failed)["state"] == "FAILED"

    stopped = client.submit("waits")
    with pytest.raises(TimeoutError, match=rf"{stopped} is (QUEUED|RUNNING) after 0\.2 s"):
        client.result(stopped, timeout=0.2)
    client.operation(stopped, "stop")
    with pytest.raises(JobFailed, match=f"{stopped} is STOPPED"):
        client.result(stopped, timeout=30)


def test_the_options_are_attributes_of_the_job(client: Client) -> None:
    later = datetime.now(timezone(timedelta(hours=2))).replace(microsecond=0) + timedelta(days=1)
    options: dict[str, Any] = {
        "target": "site/one", "priority": 7, "name": "n", "tags": ["a", "b"], "properties": {"p": "q"}, "timeout": 5,
        "retries": 2, "not_before": later, "expires": "+3d", "key": "programs/1",
    }  # fmt: skip
    id = client.submit("gives", {"value": {}}, **options)
    assert client.submit("gives", {"value": {}}, **options | {"expires": "+3d"}) == id
    job = client.get(id)
    assert {"targetResource": {"href": "site/one"}, "priority": 7, "name": "n", "tags": ["a", "b"], "timeout": 5,
            "retries": 2, "idempotencyKey": "programs/1", "payload": {"value": {}}}.items() <= job.items()  # fmt: skip
    assert job["properties"]["p"] == "q"
    assert datetime.fromisoformat(job["notBefore"].replace("Z", "+00:00")) == later
    client.operation(id, "stop")


def test_what_is_wrong_is_an_error_before_a_job_is_made(client: Client) -> None:
    with pytest.raises(ValueError, match="not_before: 2030-01-31 00:00:00 has no time zone"):
        client.submit("gives", not_before=datetime(2030, 1, 31))
    with pytest.raises(ValueError, match="when_failed: says something only with after"):
        client.submit("gives", when_failed="run")
    with pytest.raises(ValueError, match="after: expected a list of ids, not 'job/1'"):
        client.submit("gives", after="job/1")
    with pytest.raises(Invalid, match=r"after\.jobs: job/1 does not exist, or you may not see it"):
        client.submit("gives", after=["job/1"])
    with pytest.raises(Invalid, match=r"after\.jobs: expected jobs, 1 to 1,000 ids"):
        client.submit("gives", after=["job/1"] * 1001)
    with pytest.raises(Invalid, match="priority"):
        client.submit("gives", priority=-1)
    with pytest.raises(NotFound):
        client.result("job/nothing")
    with Client(f"http://127.0.0.1:{free_port()}", patience=0.2) as nobody, pytest.raises(ServerAway):
        nobody.wait("job/1")


def test_threads_share_a_client(client: Client) -> None:
    results: list[Any] = []

    def one(n: int) -> None:
        results.append(client.result(client.submit("gives", {"value": {"n": n}}), timeout=60))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(result["n"] for result in results) == list(range(20))


def test_a_wait_outlasts_a_server_that_is_away(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        server = made.server()
        with made.client(patience=30) as client:
            id = client.submit("never_heard_of")
            found: list[Any] = []
            waiting = threading.Thread(target=lambda: found.append(client.wait(id, 60)))
            waiting.start()
            server.kill()
            made.server()
            client.operation(id, "stop")
            waiting.join(60)
            assert [job["state"] for job in found] == ["STOPPED"]


# --- the page


def ran(folder: Path, *words: str, **environment: str) -> str:
    """Run Python in a folder that has the scripts of the page, and return its output."""
    for name, text in (files(PAGE) | files(CHAINS)).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run([sys.executable, *words], cwd=folder / "scripts", capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert not done.stderr
    return done.stdout


def test_the_script(made: Fleet, tmp_path: Path) -> None:
    login = [made.url, "super", str(made.password_file)]
    with answering(lambda asked: Reply(200, text=b"a b a c")) as site:
        shown = ran(tmp_path, "count_words.py", *login, site.url)
    assert ast.literal_eval(shown) == {"a": 2, "b": 1, "c": 1}
    assert " is FAILED: ConnectionError: " in ran(tmp_path, "count_words.py", *login, site.url)


def test_the_script_of_chains(made: Fleet, tmp_path: Path) -> None:
    login = [made.url, "super", str(made.password_file)]
    with answering(lambda asked: Reply(200, text=b"a b a c")) as site:
        assert ran(tmp_path, "nightly_chain.py", *login, site.url, site.url) == "{'a': 2}\nSUCCESS\n"
    shown = ran(tmp_path, "nightly_chain.py", *login, site.url)
    assert re.fullmatch(r"job/\S+ is FAILED: job/\S+ is FAILED, and this job comes after it\nFAILED\n", shown)


@pytest.fixture
def program(made: Fleet, client: Client, tmp_path: Path) -> dict[str, str]:
    """Make an API key for a program; return the variables of its environment."""
    key = client.new_key(name="web", roles=["ADMIN"])
    (tmp_path / "secret").write_text(key.secret)
    return {
        "GEVENTJOB_SERVER": made.url,
        "GEVENTJOB_KEY": key.id,
        "GEVENTJOB_SECRET_FILE": str(tmp_path / "secret"),
    }


def test_flask(client: Client, program: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("flask")
    with answering(lambda asked: Reply(200, text=b"a b a c")) as site:
        code = f"""
            import json
            from flask_app import app
            web = app.test_client()
            answer = web.post("/words", json={{"url": "{site.url}"}})
            print(answer.status_code, answer.json["job"])
            print(json.dumps(web.get("/words/" + answer.json["job"]).json))
        """
        added, shown = ran(tmp_path, "-c", textwrap.dedent(code), **program).splitlines()
        status, id = added.split()
        assert status == "202"
        assert {"state", "statusMessage", "output"} == json.loads(shown).keys()
        assert client.result(id, timeout=30) == {"a": 2, "b": 1, "c": 1}


def test_django(client: Client, program: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("django")
    with answering(lambda asked: Reply(200, text=b"a b a c")) as site:
        code = f"""
            import os
            from django.conf import settings
            from django.test import RequestFactory
            database = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
            names = ("GEVENTJOB_SERVER", "GEVENTJOB_KEY", "GEVENTJOB_SECRET_FILE")
            settings.configure(DATABASES=database, **{{name: os.environ[name] for name in names}})
            import django
            django.setup()
            from django.db import transaction
            from django_views import order, words
            ask = RequestFactory()
            for _ in range(2):
                with transaction.atomic():
                    order(ask.post("/order", {{"url": "{site.url}"}}), 5)
                    assert words(ask.get("/words"), 6).content == b'{{"jobs": []}}'
            print(words(ask.get("/words"), 5).content.decode())
        """
        jobs = json.loads(ran(tmp_path, "-c", textwrap.dedent(code), **program))["jobs"]
        assert len(jobs) == 1
        assert client.result(jobs[0]["id"], timeout=30) == {"a": 2, "b": 1, "c": 1}


def test_the_client_needs_no_gevent(made: Fleet) -> None:
    code = f"""
        import sys
        from geventjob import Client, JobFailed
        with Client({made.url!r}, "super", open({str(made.password_file)!r}).read()) as client:
            assert client.result(client.submit("gives", {{"value": {{"a": 1}}}}), timeout=30) == {{"a": 1}}
        print([name for name in sys.modules if name.partition(".")[0] in ("gevent", "greenlet")])
    """
    environment = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    words = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
