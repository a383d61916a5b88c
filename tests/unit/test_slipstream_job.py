"""What old actions and distributors import and expect (CIMI.md §7)."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import pytest
import slipstream.api

import slipstream.job
from geventjob.executor.job import Job
from geventjob.plugins import find_actions, find_distributors
from slipstream.job.actions import ActionNotImplemented, action, register_action
from slipstream.job.distributor import Distributor
from slipstream.job.util import (
    InterruptException,
    assure_path_exists,
    classlogger,
    load_module,
    override,
    random_wait,
    wait,
)

TESTS = Path(__file__).parent.parent


def test_it_lies_beside_slipstreams_own_package() -> None:
    assert Path(slipstream.api.__file__ or "").parents[1] != Path(slipstream.job.__file__ or "").parents[1]
    assert not (Path(slipstream.job.__file__ or "").parents[1] / "__init__.py").exists()


def test_old_actions_are_found_whichever_way_they_import(tmp_path: Path) -> None:
    found = find_actions([str(TESTS / "actions" / "old")], unsafe=True)
    assert not found.failures
    for name, source in ("old_inventory", "inventory.py"), ("old_records_cleanup", "records_cleanup.py"):
        spec = found.get(name)
        assert spec
        assert Path(spec.source).name == source
    (tmp_path / "broken.py").write_text("from ..connectors import nothing\n")
    [(file, why)] = find_actions([str(tmp_path)]).failures.items()
    assert (Path(file).name, why) == ("broken.py", "ModuleNotFoundError: No module named 'slipstream.job.connectors'")


def test_an_old_distributor_has_the_name_of_its_file() -> None:
    found = find_distributors([str(TESTS / "distributors" / "old")], unsafe=True)
    spec = found.get("old_inventory")
    assert spec
    assert spec.old


def test_a_class_is_registered_by_a_call_too() -> None:
    class Old:
        def do_work(self) -> None:
            pass

    assert register_action("one", Old) is Old
    assert Old.__geventjob_action__.name == "one"  # type: ignore[attr-defined]
    assert action()(Old) is Old
    assert Old.__geventjob_action__.name == "Old"  # type: ignore[attr-defined]
    assert issubclass(ActionNotImplemented, Exception)
    assert issubclass(InterruptException, Exception)


def test_a_distributors_options_have_their_defaults() -> None:
    class Old(Distributor):
        def _set_command_specific_options(self, parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--shelves", type=int, default=3)

    made = Old.__new__(Old)
    made.args = argparse.Namespace(name="me")
    made.__init__()  # type: ignore[misc]
    assert (made.args.shelves, made.args.name) == (3, "me")
    for method in (made.job_generator, made._get_jobs_type):
        with pytest.raises(NotImplementedError):
            method()


def test_small_things(tmp_path: Path) -> None:
    started = time.monotonic()
    wait(0.01)
    wait(-1)
    random_wait(0.01, 0.02)
    assert 0.02 <= time.monotonic() - started < 5

    @classlogger
    class Logs:
        logger: Any

        @override
        def method(self) -> int:
            return 1

    assert Logs.logger.name == "Logs"
    assert Logs().method() == 1
    assure_path_exists(str(tmp_path / "a" / "b" / "file"))
    assure_path_exists("file")
    assert (tmp_path / "a" / "b").is_dir()
    assert load_module("os.path").join("a", "b") == "a/b"


def test_a_missing_attribute_is_a_key_error_and_an_attribute_error() -> None:
    job: Any = Job({"id": "job/1"}, lambda attributes: attributes, None)  # type: ignore[arg-type]
    for kind in (KeyError, AttributeError):
        with pytest.raises(kind, match=r"^job/1 has no 'parentJob'$"):
            job.parentJob  # noqa: B018
    assert not hasattr(job, "parentJob")
    assert getattr(job, "parentJob", None) is None
    with pytest.raises(KeyError):
        job["parentJob"]
    with pytest.raises(TypeError):
        job["state"] = "SUCCESS"
