"""The examples of README and tutorial run as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.support.answering import Reply, answering
from tests.support.examples import ROOT, files
from tests.support.fleet import ended, fleet, until


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


def test_the_readme(tmp_path: Path) -> None:
    shown = files(ROOT / "README.md")
    assert sorted(shown) == ["actions/count_words.py", "actions/mirror.py", "distributors/mirror_nightly.py"]
    with answering(lambda asked: Reply(200, {"three": "words here"})) as site, fleet(tmp_path) as made:
        (tmp_path / "distributors").mkdir()
        for name, text in shown.items():
            (tmp_path / name).write_text(text)
        made.server()
        made.executor("worker")
        client = made.client()
        words = client.add("job", {"action": "count_words", "payload": {"url": site.url}})
        pages = client.add("job", {"action": "mirror", "payload": {"pages": [site.url, site.url]}})
        jobs = ended(client, [words, pages])
        assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
        assert jobs[words]["statusMessage"] == "3 words"
        folder = Path(jobs[pages]["statusMessage"].partition("2 pages in ")[2])
        assert sorted(file.name for file in folder.iterdir()) == ["0.html", "1.html"]
        shutil.rmtree(folder)
        made.distributor("one", f"--distributors-dir={tmp_path / 'distributors'}", "mirror_nightly")
        until(lambda: any(node.get("leads") == ["mirror_nightly"] for node in client.nodes()))
