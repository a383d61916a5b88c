"""Actions that end their executor each time: these are given up, and none of the jobs beside."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from tests.fault.hostile import INNOCENTS, INTERRUPTIONS, SESSION, kept_alive
from tests.fault.test_hostile_actions import ACTIONS
from tests.support.fleet import Process, ended, fleet, until

KILLERS = (
    "leaves_at_once_greenlet",
    "breaks_memory_greenlet",
    "leaves_the_stack_greenlet",
    "closes_everything_greenlet",
    "ends_its_fork_server_process",
)


def test_actions_that_end_their_executor_are_given_up_and_none_beside(tmp_path: Path) -> None:
    """All of them at once; tests/fault/hostile.py runs each alone, and more, which take longer."""
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server(*SESSION)
        client, alive = made.client(), list[Process]()
        killers = [client.submit(name) for name in KILLERS]
        beside = [
            id for id in client.bulk_add([{"action": "well_behaved_greenlet"}] * INNOCENTS) if isinstance(id, str)
        ]

        def over() -> bool:
            kept_alive(made, alive)
            return not client.queue()["entries"]

        until(over, 300, every=0.1)
        jobs = ended(client, [*killers, *beside])
        assert [(jobs[id]["state"], jobs[id]["interruptions"]) for id in killers] == [("FAILED", INTERRUPTIONS)] * 5
        assert Counter(jobs[id]["state"] for id in beside) == {"SUCCESS": INNOCENTS}
        assert len(alive) > INTERRUPTIONS
        [last] = ended(client, [client.submit("well_behaved_process")]).values()
        assert last["state"] == "SUCCESS"
        assert kept_alive(made, alive).stop(60) == 0
