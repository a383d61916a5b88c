"""Schedules as data: how late their jobs are made, and what they cost at rest.

`python -m bench.schedules`: one server and one distributor as real processes, over SQLite and over ZooKeeper, in some
minutes. Figures of one run: read them as ±30 %.
"""

import os
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from geventjob import Client
from geventjob.calendar.stored import milliseconds
from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.zookeeper import shared

MANY = 1000
"""Schedules that are due in the same second, and then at rest."""
NEW = 10
"""Schedules that are added one after another."""
REST = 20.0
"""Seconds of rest; a minute passes before, for which a distributor looks back."""


def seen(client: Client) -> str:
    """Return the time from the add of a schedule of each second to its first job."""
    waits = []
    for number in range(NEW):
        begun = time.time()
        id = client.add("schedule", {"name": f"new-{number}", "every": 1, "action": "nothing"})
        until(lambda id=id: client.search("job", filter=f"idempotencyKey^='{id}@'", last=0)["count"], every=0.01)
        waits.append(time.time() - begun)
        client.delete(id)
        time.sleep(0.37)  # so that the adds come at different parts of a second
    return f"{sorted(waits)[NEW // 2]:.2f} s, at most {max(waits):.2f} s"


def late(client: Client) -> str:
    """Return how late the jobs of a schedule of each second are made."""
    id = client.add("schedule", {"name": "exact", "every": 1, "action": "nothing"})
    time.sleep(REST)
    client.delete(id)
    found = client.search("job", filter=f"idempotencyKey^='{id}@'")["jobs"]
    waits = sorted(milliseconds(job["created"]) - int(job["idempotencyKey"].partition("@")[2]) for job in found)
    return f"{waits[len(waits) // 2]} ms, at most {waits[-1]} ms"


def at_once(client: Client) -> str:
    """Return the time in which many schedules that are due in the same second make their jobs."""
    before, tick = client.search("job", last=0)["count"], (int(time.time()) // 60 + 2) * 60
    for number in range(MANY):
        schedule = {"name": f"s{number}", "cron": f"{tick // 60 % 60} * * * *", "action": "nothing"}
        client.add("schedule", schedule)
    time.sleep(max(0.0, tick - time.time()))
    until(lambda: client.search("job", last=0)["count"] >= before + MANY, seconds=60, every=0.02)
    return f"{time.time() - tick:.2f} s"


def at_rest(processes: list[Process]) -> str:
    """Return the CPU of the server and of the distributor while nothing is due."""
    time.sleep(62)
    before = [cpu(process) for process in processes]
    time.sleep(REST)
    used = [100 * (cpu(process) - begun) / REST for process, begun in zip(processes, before, strict=True)]
    return " and ".join(f"{each:.1f} %" for each in used)


def cpu(process: Process) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(made: Fleet) -> list[str]:
    """Return the figures of one fleet."""
    made.server()
    with made.client() as client:
        made.distributor("bench", "schedules")
        until(lambda: any(one.get("leader") for one in client.distributors()))
        return [seen(client), late(client), at_once(client), at_rest(made.processes)]


def main() -> None:
    table = Table(title="schedules as data")
    for column in (
        "coordination",
        "from the add to the first job, each second",
        "from a tick to its job",
        f"{MANY} ticks at once",
        f"CPU of server and distributor, {MANY} at rest",
    ):
        table.add_column(column)
    for name in ("SQLite", "ZooKeeper"):
        hosts = shared().hosts if name == "ZooKeeper" else ""
        with tempfile.TemporaryDirectory() as folder, fleet(Path(folder), hosts) as made:
            table.add_row(name, *measured(made))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
