"""The programs in examples/, README and tutorial run unchanged."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.answering import Asked, Reply, answering
from tests.support.examples import ROOT, files
from tests.support.fleet import Fleet, ended, fleet, until


def test_the_tutorial(tmp_path: Path) -> None:
    shown = files(ROOT / "docs" / "tutorial.md")
    assert sorted(shown) == ["actions/check_site.py", "actions/count_jobs.py", "distributors/check_sites.py"]
    with answering(lambda asked: Reply(404 if "missing" in asked.path else 200)) as site, fleet(tmp_path) as made:
        (tmp_path / "distributors").mkdir()
        for name, text in shown.items():
            (tmp_path / name).write_text(re.sub(r"https://[\w.]+", site.url, text))
        made.server()
        made.executor("worker")
        client = made.client()
        ids = [
            client.add("job", {"action": "check_site", "payload": {"url": url}})
            for url in (site.url, f"{site.url}/missing")
        ]
        jobs = ended(client, ids)
        up, down = (jobs[id] for id in ids)
        assert (up["state"], down["state"]) == ("SUCCESS", "FAILED")
        assert re.fullmatch(r"\d+ ms at best", up["statusMessage"])
        assert down["statusMessage"].startswith("HTTPError: 404")

        made.distributor("one", f"--distributors-dir={tmp_path / 'distributors'}", "check_sites")
        checks = "targetResource/href^='site/' and state='SUCCESS'"
        sites = until(lambda: len(found := client.search("job", filter=checks)["jobs"]) == 2 and found)
        assert {job["targetResource"]["href"] for job in sites} == {"site/example", "site/python"}

        (count,) = ended(client, [client.add("job", {"action": "count_jobs"})]).values()
        assert count["statusMessage"] == "1 failed jobs"


EXAMPLES = ROOT / "examples"


def paged(asked: Asked) -> Reply:
    """Answer as a paged API: two pages of two items below `/short`, and pages without end below `/endless`."""
    page = int(asked.query.get("page", ["1"])[0])
    more = asked.path == "/endless" or page == 1
    here = f"http://{asked.headers['Host']}{asked.path}"
    items = [{"number": 2 * page - 1}, {"number": 2 * page}]
    return Reply(200, {"items": items, "total": 4, "next": f"{here}?page={page + 1}" if more else None})


@contextmanager
def engine(folder: Path) -> Iterator[Fleet]:
    """Start a server and an executor that has the actions of examples/."""
    with fleet(folder) as made:
        made.server()
        made.executor("worker", actions_dir=EXAMPLES / "actions")
        yield made


def test_a_client_submits_and_waits_for_an_action_that_copies_pages(tmp_path: Path) -> None:
    with answering(paged) as api, engine(tmp_path) as made:
        payload = f'{{"url": "{api.url}/short", "file": "{tmp_path}/items.jsonl"}}'
        program = [sys.executable, str(EXAMPLES / "submit_and_wait.py"), made.url, "super", str(made.password_file)]

        def submitted(*arguments: str) -> tuple[int, str]:
            ran = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=60)
            return ran.returncode, ran.stdout.splitlines()[-1]

        assert submitted("copy_pages", payload) == (0, f"SUCCESS 4 items in {tmp_path}/items.jsonl")
        assert (tmp_path / "items.jsonl").read_text().splitlines() == [f'{{"number": {n}}}' for n in (1, 2, 3, 4)]
        code, said = submitted("copy_pages", "{}")
        assert (code, said) == (1, "FAILED InvalidPayload: url: missing; file: missing")


def test_a_job_fans_out_and_waits_for_its_parts(tmp_path: Path) -> None:
    with answering(paged) as api, engine(tmp_path) as made:
        client = made.client()

        def added(**sources: str) -> str:
            payload = {"sources": {name: api.url + path for name, path in sources.items()}, "folder": str(tmp_path)}
            return client.add("job", {"action": "copy_all", "payload": payload})

        def parts(id: str) -> dict[str, Any]:
            return {part["name"]: part for part in client.search("job", filter=f"parentJob='{id}'")["jobs"]}

        good = added(one="/short", two="/short")
        job = ended(client, [good])[good]
        assert (job["state"], job["progress"], job["statusMessage"]) == ("SUCCESS", 100, "2 SUCCESS")
        assert {name: part["state"] for name, part in parts(good).items()} == {"one": "SUCCESS", "two": "SUCCESS"}
        assert (tmp_path / "one.jsonl").read_text() == (tmp_path / "two.jsonl").read_text() != ""

        stopped = added(three="/short", four="/endless")
        until(lambda: parts(stopped).get("four", {}).get("state") == "RUNNING")
        until(lambda: parts(stopped)["three"]["state"] == "SUCCESS")
        client.operation(stopped, "stop")
        assert ended(client, [stopped])[stopped]["state"] == "STOPPED"
        until(lambda: parts(stopped)["four"]["state"] == "STOPPED")


def test_a_coroutine_fetches_by_httpx_and_by_aiohttp(tmp_path: Path) -> None:
    with answering(lambda asked: Reply(404 if "missing" in asked.path else 200, text=b"x" * 1000)) as site:
        urls = [f"{site.url}/{number}" for number in range(20)]
        with engine(tmp_path) as made:
            client = made.client()

            def run(library: str, *urls: str) -> dict[str, Any]:
                payload = {"urls": urls, "library": library}
                [job] = ended(
                    client, [client.add("job", {"action": "fetch_all", "payload": payload, "retries": 0})]
                ).values()
                return job

            for library in ("httpx", "aiohttp"):
                job = run(library, *urls)
                assert (job["state"], job["progress"]) == ("SUCCESS", 100), job
                assert job["output"] == dict.fromkeys(urls, 1000)
            httpx, aiohttp = (run(library, f"{site.url}/missing") for library in ("httpx", "aiohttp"))
            assert (httpx["state"], aiohttp["state"]) == ("FAILED", "FAILED")
            assert httpx["statusMessage"].startswith("HTTPStatusError: Client error '404")
            assert aiohttp["statusMessage"].startswith("ClientResponseError: 404")


def test_a_distributor_adds_a_job_for_each_source(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        made.server()
        made.distributor("one", f"--distributors-dir={EXAMPLES / 'distributors'}", "copy_hourly")
        copies = "action='copy_pages' and state='QUEUED'"
        found = until(lambda: len(jobs := made.client().search("job", filter=copies)["jobs"]) == 2 and jobs)
        assert {job["targetResource"]["href"] for job in found} == {"source/orders", "source/customers"}


def test_every_example_is_on_the_page() -> None:
    there = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    assert set(re.findall(r"^\| `([\w/]+\.py)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)) == there


def test_the_readme(tmp_path: Path) -> None:
    ((name, text),) = files(ROOT / "README.md").items()
    assert name == "actions/count_words.py"
    with answering(lambda asked: Reply(200, {"three": "words here"})) as site, fleet(tmp_path) as made:
        (tmp_path / name).write_text(text)
        made.server()
        made.executor("worker")
        client = made.client()
        id = client.add("job", {"action": "count_words", "payload": {"urls": [site.url, site.url]}})
        job = ended(client, [id])[id]
        assert (job["state"], job["progress"], job["output"]) == ("SUCCESS", 100, {"words": 6, "pages": 2})
