"""The demo of `geventjob up --demo`: a hundred jobs, their progress and outcomes, and commands to try next."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from geventjob import config
from geventjob.cimi.client import Client
from geventjob.job.states import FINAL

ACTION = "dummy_test_action"

Job = dict[str, Any]


def jobs() -> Iterator[Job]:
    """Yield a hundred jobs: most sleep a little, some fail in several ways, one computes, one is stopped."""
    kinds: list[tuple[int, str, dict[str, Any]]] = [
        (80, "sleep", {"seconds": 0.5}),
        (8, "return code 3", {"seconds": 0.2, "return_code": 3}),
        (8, "exception", {"seconds": 0.2, "error": "an error of the demo"}),
        (2, "time limit", {"seconds": 60}),
        (1, "compute", {"compute": 3}),
        (1, "stop", {"seconds": 60}),
    ]
    for count, name, payload in kinds:
        for _ in range(count):
            job = {"action": ACTION, "name": name, "targetResource": {"href": "dummy"}, "payload": payload}
            yield job | ({"timeout": 2} if name == "time limit" else {})


class Demo:
    """One run of the demo."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console
        self._mark = f"demo-{time.time_ns()}"

    def run(self) -> Counter[tuple[str, str]]:
        """Submit the jobs, show their progress, and return (kind, state) → number of jobs."""
        ids = self._client.bulk_add([job | {"properties": {"demo": self._mark}} for job in jobs()])
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task("the demo's jobs", total=len(ids))
            stopped = False
            while True:
                states = self._states()
                progress.update(bar, completed=sum(states[state] for state in FINAL))
                if sum(states[state] for state in FINAL) >= len(ids):
                    return self._outcomes()
                stopped = stopped or self._stop_one()
                time.sleep(0.2)

    def _search(self, filter: str = "", **parameters: Any) -> dict[str, Any]:
        mine = f"properties/demo='{self._mark}'"
        return self._client.search("job", filter=f"{mine} and {filter}" if filter else mine, **parameters)

    def _states(self) -> Counter[str]:
        found = self._search(last=0, aggregation="terms:state")
        buckets = found["aggregations"]["terms:state"]["buckets"]
        return Counter({bucket["key"]: bucket["doc_count"] for bucket in buckets})

    def _stop_one(self) -> bool:
        running = self._search("name='stop' and state='RUNNING'")["jobs"]
        for job in running:
            self._client.operation(job["id"], "stop")
        return bool(running)

    def _outcomes(self) -> Counter[tuple[str, str]]:
        return Counter((job["name"], job["state"]) for job in self._search(select="name,state")["jobs"])


def main() -> None:
    """Run the demo and print commands to try. Arguments: the client's ini file, and the command line of `geventjob`."""
    client_ini, command = sys.argv[1:]
    console = Console()
    settings = config.parse("client", ["-c", client_ini])
    client = Client(settings.ss_url, settings.ss_user, settings.ss_pass, key=settings.ss_key, secret=settings.ss_secret)
    demo = Demo(client, console)
    table = Table("jobs", "kind", "outcome")
    for (kind, state), count in demo.run().items():
        table.add_row(str(count), kind, state)
    console.print(table)
    console.print("the engine stays up until Ctrl-C; try in a second terminal:")
    for line in ("submit dummy_test_action --count 1000 --wait", "jobs --last 10", "jobs --state FAILED", "nodes"):
        console.print(f"    {command} {line}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
