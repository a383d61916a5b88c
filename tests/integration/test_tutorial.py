"""What docs/tutorial.md tells to write works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.answering import Reply, answering
from tests.fleet import ended, fleet, until

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
FILES = re.compile(r"```python\n# (\w+/\w+\.py)\n(.*?)```", re.DOTALL)


def test_the_tutorial(tmp_path: Path) -> None:
    files = dict(FILES.findall(TUTORIAL.read_text()))
    assert sorted(files) == ["actions/check_site.py", "actions/count_jobs.py", "distributors/check_sites.py"]
    with answering(lambda asked: Reply(404 if "missing" in asked.path else 200)) as site, fleet(tmp_path) as made:
        (tmp_path / "distributors").mkdir()
        for name, text in files.items():
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
