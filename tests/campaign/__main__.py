"""Run one campaign, and print what it found; the exit code is 1 if a row of the table does not hold."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.campaign.campaign import Campaign
from tests.campaign.check import checked, takeovers
from tests.campaign.evidence import Evidence
from tests.campaign.schedule import Shape, plan


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # all processes end, as with Ctrl-C
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    both = options.store == "elasticsearch"
    shape = Shape(servers=2 if both else 1, elasticsearch=both)
    faults = plan(seed, options.seconds, shape)
    print(f"seed {seed}, store {options.store}, {options.seconds:g} s, load {os.getloadavg()[0]:.1f}", flush=True)
    print("\n".join(map(str, faults)), flush=True)
    folder = Path(tempfile.mkdtemp(prefix=f"campaign-{seed}-"))
    campaign = Campaign(folder, shape, seed)
    began = time.monotonic()
    try:
        evidence = campaign.run(faults)
    finally:
        campaign.close()
    found = checked(evidence)
    print(f"\n{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}: {summary(evidence)}")
    for kind, reason in campaign.faults.skipped.items():
        print(f"no faults of the kind {kind}: {reason}")
    print(table(found))
    if any(found.values()) or options.keep:
        print(f"seed {seed}: the record and all logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return int(any(found.values()))


def summary(evidence: Evidence) -> str:
    """Return what happened in numbers: what was not exercised was not checked."""
    runs = [run for each in evidence.runs.values() for run in each]
    seconds = [each.seconds for each in takeovers(evidence) if each.seconds is not None]
    kinds = Counter(line["kind"] for line in evidence.added.values())
    states = Counter(job["state"] for job in evidence.jobs.values())
    again = sum(len(each) > 1 for each in evidence.runs.values())
    stalls = f"{sum(seconds for _, seconds in evidence.stalls):.1f} s of stalls of the machine"
    longest = f"{len(seconds)} takeovers, the longest {max(seconds):.2f} s" if seconds else "no takeover"
    return (
        f"{len(evidence.outages)} faults, {len(evidence.added)} adds {dict(kinds)}, {len(evidence.jobs)} jobs"
        f" {dict(states)}, {len(runs)} runs, {again} jobs ran again, {longest}, {stalls}"
    )


def table(found: dict[str, list[str]]) -> str:
    """Return the rows with their counts, and the first of what was found."""
    lines = []
    for row, wrong in found.items():
        lines.append(f"{len(wrong):4}  {row}")
        lines += [f"      - {each}" for each in wrong[:10]]
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, help="seed of the schedule; without it a new one")
    parser.add_argument("--seconds", type=float, default=60, help="length of the schedule (default 60)")
    parser.add_argument("--store", choices=("sqlite", "elasticsearch"), default="sqlite", help="default sqlite")
    parser.add_argument("--keep", action="store_true", help="keep the record and the logs, also when all holds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
