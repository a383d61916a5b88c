"""A thousand at once: greenlets of one executor, and jobs of one command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.fleet import Fleet, ended, fleet, until

ACTIONS = Path(__file__).parent.parent / "actions" / "mixed.py"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


class Site(BaseHTTPRequestHandler):
    """Answers each GET, and counts them."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


@pytest.fixture
def site() -> Iterator[str]:
    Site.asked.clear()
    with Server(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def command(made: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    login = ["--ss-url", made.url, "--ss-user", "super", "--ss-pass-file", str(made.password_file)]
    line = [sys.executable, "-m", "geventjob.cli.main", *login, *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def test_a_thousand_greenlets(engine: Fleet) -> None:
    executor = engine.executor("wide", "--threads", "1000")
    client = engine.client()
    ids = [str(id) for id in client.bulk_add([{"action": "waits", "payload": {"seconds": 4}}] * 1000)]
    until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"] == 1000)
    assert Counter(job["state"] for job in ended(client, ids).values()) == {"SUCCESS": 1000}
    assert executor.stop() == 0
    assert client.queue()["entries"] == 0


@pytest.mark.parametrize("action", ["dummy_test_action", "http_request"])
def test_a_thousand_jobs_of_the_command_line(engine: Fleet, site: str, action: str) -> None:
    engine.executor("one")
    payload = ["--payload", f'{{"url": "{site}/page"}}'] if action == "http_request" else []
    done = command(engine, "submit", action, *payload, "--count", "1000", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1000 jobs: 1000 SUCCESS\n")
    assert Site.asked == ({"/page": 1000} if payload else {})
