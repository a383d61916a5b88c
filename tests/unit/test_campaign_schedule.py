"""The schedule of the campaign: the seed alone decides, and each kind of fault comes."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.campaign.schedule import WEIGHTS, Fault, Shape, plan, targets

SHAPES = [Shape(), Shape(servers=2, elasticsearch=True)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_replays_its_schedule(shape: Shape) -> None:
    assert plan(7, 60, shape) == plan(7, 60, shape)
    assert len({tuple(plan(seed, 60, shape)) for seed in range(20)}) == 20


@pytest.mark.parametrize("shape", SHAPES)
def test_each_kind_and_each_target_comes(shape: Shape) -> None:
    seen = defaultdict(set)
    for seed in range(200):
        for fault in plan(seed, 60, shape):
            seen[fault.kind].add(fault.target)
    assert seen == {kind: set(targets(kind, shape)) for kind in WEIGHTS if targets(kind, shape)}


@pytest.mark.parametrize("seed", range(20))
def test_no_part_has_two_faults_at_once_and_no_fault_outlasts_its_round(seed: int) -> None:
    free: dict[str, float] = {}
    for fault in plan(seed, 120, Shape()):
        part = "zookeeper" if fault.target.startswith("zookeeper") else fault.target
        assert fault.at >= free.get(part, 0.0)
        free[part] = fault.at + fault.lasts


def test_a_fault_says_all_that_it_does() -> None:
    assert str(Fault(3.25, "delay", "executor-1>server-0", 2.0, 0.3)) == (
        "   3.2 s  delay executor-1>server-0 by 0.3, 2.0 s"
    )
