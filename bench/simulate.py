"""Fleets of 10, 100 and 1,000 executors over one ZooKeeper ensemble: `python -m bench.simulate [--executors 10,100]`.

The take loop, the queue and the promoter are the real ones. ZooKeeper is a model with measured costs
(bench/simulation/model.py; `python -m bench.zookeeper --costs FILE` measures them), and time is virtual, so that a
fleet of hundreds of machines passes on one. docs/one-ensemble.md has the results and the assumptions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Figures = dict[str, float]

CPU = 0.00022
"""Seconds of CPU of an executor for a job (docs/performance.md, W1)."""
WRITE = 0.01
"""Seconds in which a server answers an edit."""
ENOUGH = 3_600.0
"""Virtual seconds after which a fleet is given up."""


def simulated(args: argparse.Namespace, executors: int) -> Figures:
    """Run one fleet in this process until all entries are taken, and return its figures."""
    from bench.simulation import virtual_time

    virtual_time.install()
    import gevent
    from gevent.event import Event

    from bench.simulation.fleet import Executor, fill, joined, spread
    from bench.simulation.held_jobs import HeldJobs
    from bench.simulation.model import Costs, Model
    from geventjob.clock import boottime
    from geventjob.server.leaders.promoter import Promoter

    model = Model(Costs(**args.costs), args.servers)
    server = joined(model, "server", args.session_timeout)
    fill(model, args.entries)
    store = HeldJobs(WRITE)
    store.add([_held(number) for number in range(args.held)])
    promoter = Promoter(store, server)
    wanted, times, done = args.entries + args.held, list[float](), Event()

    def taken(claim: Any) -> None:
        times.append(boottime())
        if len(times) == wanted:
            done.set()

    began = boottime()
    settings = {"age_share": args.age_share, "relist_interval": args.relist_interval}
    gevent.spawn(promoter.keep)
    fleet = [
        Executor(
            joined(model, f"executor-{number}", args.session_timeout, **settings),
            args.slots, args.seconds, CPU, WRITE, taken,
        )
        for number in range(executors)
    ]  # fmt: skip
    done.wait(ENOUGH)
    lasted = max(times, default=began) - began
    each = [executor.taken for executor in fleet]
    collisions = sum(executor.collisions for executor in fleet)
    requests = {kind: model.counts[kind] for kind in model.counts if kind[0].isupper()}
    return {
        "entries taken": len(times),
        "seconds": lasted,
        "taken/s": len(times) / lasted,
        "least possible, s": wanted / (executors * args.slots) * args.seconds - args.seconds,
        "requests/s": sum(requests.values()) / lasted,
        "operations/s": model.counts["operations"] / lasted,
        "names listed/s": model.counts["names listed"] / lasted,
        "requests a job": sum(requests.values()) / max(1, len(times)),
        "collisions, %": 100 * collisions / max(1, len(times) + collisions),
        "fairness": spread(each),
        "least taken": min(each),
        "median taken": statistics.median(each),
        "most taken": max(each),
        "leader busy with writes, %": 100 * model.busy["writes"] / lasted,
        "each server busy with reads, %": 100 * model.busy["reads"] / args.servers / lasted,
    }


def _held(number: int) -> dict[str, Any]:
    """Return a job whose time was over when the clock started."""
    moment = "2020-01-01T00:00:00.000Z"
    return {
        "id": f"job/held-{number}",
        "state": "QUEUED",
        "action": "noop",
        "priority": 500,
        "created": moment,
        "updated": moment,
        "notBefore": moment,
        "held": {"why": "notBefore", "detail": "until then", "until": moment},
    }


def apart(arguments: list[str], executors: int) -> Figures:
    """Run one fleet in a process of its own: a virtual clock cannot be set back."""
    command = [sys.executable, "-m", "bench.simulate", *arguments, "--once", str(executors)]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Figures = json.loads(done.stdout)
    return {**found, "real seconds": time.monotonic() - began}


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executors", default="10,100,1000", help="sizes of the fleets")
    parser.add_argument("--slots", type=int, default=1_000, help="slots of each executor")
    parser.add_argument("--entries", type=int, default=100_000, help="entries that stand in the queue")
    parser.add_argument("--held", type=int, default=1_000, help="due jobs that the promoter puts meanwhile")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of a job")
    parser.add_argument("--servers", type=int, default=3, help="servers of the ensemble")
    parser.add_argument("--session-timeout", type=float, default=10.0)
    parser.add_argument("--relist-interval", type=float, default=0.005)
    parser.add_argument("--age-share", type=int, default=8)
    parser.add_argument("--costs", type=_costs, default={}, help="file with costs, as bench.zookeeper writes it")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--once", type=int, help="run one fleet here, and print its figures as JSON")
    return parser.parse_args(arguments)


def _costs(name: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(Path(name).read_text())
    return found


def main() -> None:
    arguments = sys.argv[1:]
    args = parsed(arguments)
    if args.once:
        print(json.dumps(simulated(args, args.once)))
        return
    from rich.console import Console
    from rich.table import Table

    fleets = {size: apart(arguments, int(size)) for size in args.executors.split(",")}
    table = Table("figure", *(f"{int(size):,} executors" for size in fleets), title=_title(args))
    for name in next(iter(fleets.values())):
        table.add_row(name, *(f"{found[name]:,.5g}" for found in fleets.values()))
    Console(width=120).print(table)
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name not in ("json", "once")}
        args.json.write_text(json.dumps({"settings": settings, "fleets": fleets}, indent=1) + "\n")


def _title(args: argparse.Namespace) -> str:
    return f"{args.entries:,} entries, {args.slots:,} slots each, jobs of {args.seconds:g} s, {args.servers} servers"


if __name__ == "__main__":
    main()
