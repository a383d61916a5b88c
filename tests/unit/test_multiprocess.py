"""multiprocessing in an executor: waits that leave the hub free, and new processes that find drop-in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.watching.processes import LARGE
from tests.support.watching.scenario import Answers, answer

ACTION = """
import os, sys

from geventjob import action


@action("mine")
def mine(job):
    pass


def note(path):
    with open(path, "w") as file:
        file.write(f"{sys.modules['__mp_main__'].__name__} {'geventjob.executor.engine' in sys.modules}")
    os._exit(4)
"""

found_by = Answers(
    "processes.maps fork", "processes.maps spawn", "processes.joins fork", "processes.joins spawn", "processes.locks"
)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_maps_while_the_hub_runs(method: str) -> None:
    assert found_by[f"processes.maps {method}"] == [number * number for number in range(20)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_messages_and_the_exit_code_of_a_process_arrive(method: str) -> None:
    assert found_by[f"processes.joins {method}"] == {"sizes": [1, LARGE], "code": 3}


def test_a_lock_that_another_process_holds_is_waited_for() -> None:
    assert found_by["processes.locks"] == [False, False, True]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_new_process_finds_a_drop_in_file_and_loads_no_engine(tmp_path: Path, method: str) -> None:
    (tmp_path / "mine.py").write_text(ACTION)
    assert answer("processes.imports", str(tmp_path), method) == {"code": 4, "note": "__mp_main__ False"}
