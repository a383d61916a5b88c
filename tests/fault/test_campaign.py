"""The short form of the campaign (tests/campaign): one seed, the smaller system, the same checker."""

from __future__ import annotations

from pathlib import Path

from tests.campaign.campaign import Campaign
from tests.campaign.check import TAKEN_OVER, checked
from tests.campaign.schedule import Shape, plan

SEED = 2314
SECONDS = 9.0
SHAPE = Shape(executors=2)


def test_all_holds_while_faults_strike(tmp_path: Path) -> None:
    faults = plan(SEED, SECONDS, SHAPE)
    campaign = Campaign(tmp_path, SHAPE, SEED, pause=6.0)
    try:
        evidence = campaign.run(faults)
    finally:
        campaign.close()
    found = checked(evidence)
    del found[TAKEN_OVER]  # other suites run beside this one: `make campaign` measures times
    assert {row: wrong for row, wrong in found.items() if wrong} == {}
    assert len(evidence.outages) == len(faults) - sum(fault.kind in campaign.faults.skipped for fault in faults)
    assert len(evidence.added) > 10
    assert evidence.runs
