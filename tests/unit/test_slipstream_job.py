"""Imports and expectations of old actions and distributors (docs/slipstream.md)."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slipstream.api

import slipstream.job
from geventjob import Client
from geventjob.cimi.ss_api import SlipStreamError, SsApi
from geventjob.executor.context import ExecutorContext
from geventjob.executor.job import Job
from geventjob.plugins import PluginError, find_actions, find_distributors
from slipstream.job import util
from slipstream.job.actions import ActionNotImplemented, action, get_action, register_action
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
from tests.support.answering import Asked, Reply, answering

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
    made.__init__()
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


# --- what a job, an executor and the API are to old actions


def job_of(**attributes: Any) -> Job:
    document = {"id": "job/1", "state": "RUNNING", **attributes}
    return Job(document, lambda edit: {**document, **edit}, None)  # type: ignore[arg-type]


def test_a_job_is_a_dict_to_read_and_goes_into_json() -> None:
    job = job_of(action="a", targetResource={"href": "x"})
    assert json.loads(json.dumps(job)) == dict(job) == {**job}
    job.set_progress(3)
    assert json.loads(json.dumps(job))["progress"] == 3
    changes: list[Callable[[Any], Any]] = [
        lambda j: j.update(a=1),
        lambda j: j.pop("id"),
        lambda j: j.popitem(),
        lambda j: j.clear(),
        lambda j: j.setdefault("a", 1),
        lambda j: j.__delitem__("id"),
        lambda j: j.__ior__({"a": 1}),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="its setters"):
            change(job)


def test_what_an_edit_deletes_is_gone_from_the_job() -> None:
    job = Job({"id": "job/1", "name": "n"}, lambda edit: {"id": "job/1"}, None)  # type: ignore[arg-type]
    job.edit(description="d")
    assert job == {"id": "job/1"}


def test_a_state_is_chosen_for_the_end() -> None:
    job = job_of()
    assert (job.is_in_final_state(), job.end) == (False, None)
    job.set_state("RUNNING")
    assert not job.is_in_final_state()
    job.set_state("FAILED")
    assert job.is_in_final_state()
    assert job.end == "FAILED"
    for wrong in ("QUEUED", "STOPPING", "DONE"):
        with pytest.raises(ValueError, match=r"state|cannot make"):
            job.set_state(wrong)
    assert job_of(state="STOPPED").is_in_final_state()


def test_an_executor_has_its_options_its_name_and_its_end() -> None:
    context = ExecutorContext(None, argparse.Namespace(name="M. Garrison", threads=3))  # type: ignore[arg-type]
    assert (context.args.threads, context.name, context.stop_event.is_set()) == (3, "M. Garrison", False)


def test_the_api_has_its_address_and_its_user() -> None:
    with Client("http://one:1", "alice", "x") as client:
        assert (SsApi(client).endpoint, SsApi(client).username) == ("http://one:1", "alice")
    with Client("http://one:1") as client:
        assert SsApi(client).username is None

    def reply(asked: Asked) -> Reply:
        if asked.path == "/api/session":
            return Reply(201, {}, headers={"Set-Cookie": "a=b"}) if asked.method == "POST" else Reply(200, page)
        return Reply(404, {})

    page = {"count": 1, "sessions": [{"username": "bob"}]}
    reply.logins = True  # type: ignore[attr-defined]
    with answering(reply) as server, Client(server.url, key="credential/1", secret="s") as client:
        assert SsApi(client).username == "bob"


def test_a_conflict_names_what_is_there() -> None:
    """Old actions read `e.response.json()["resource-id"]`."""
    conflict = Reply(409, {"message": "conflict with vm/1", "resource-id": "vm/1"})
    with answering(lambda asked: conflict) as server, Client(server.url) as client:
        api = SsApi(client)
        client._entry_points = {"virtualMachines": "virtual-machine"}
        with pytest.raises(SlipStreamError) as caught:
            api.cimi_add("virtualMachines", {})
    assert caught.value.response.json()["resource-id"] == "vm/1"


def test_names_of_the_old_util() -> None:
    assert util.PY2 is False
    assert util.connector_classes["exoscale"] == "slipstream_exoscale.ExoscaleClientCloud"
    assert len(util.connector_classes) == 10


# --- files


def written(folder: Path, **files: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return str(folder)


def runs(found: Any, name: str) -> Any:
    spec = found.get(name)
    assert spec, found.failures
    return spec.instance(None, None)()


OLD_ACTION = """
from slipstream.job.actions import action
{imports}

@action("{name}")
class Old(object):
    def __init__(self, executor, job):
        pass

    def do_work(self):
        {late}
        return {value}
"""


def old(name: str, value: str, imports: str = "", late: str = "pass") -> str:
    return OLD_ACTION.format(name=name, value=value, imports=imports, late=late)


def test_helpers_beside_an_action(tmp_path: Path) -> None:
    found = find_actions(
        [
            written(
                tmp_path / "one",
                a=old("by_name", "only_here_helper.VALUE", "import only_here_helper"),
                b=old(
                    "relative", "x + wait.__name__", "from ..util import wait\nfrom .only_here_helper import VALUE as x"
                ),
                c=old("from_package", "only_here_helper.VALUE", "from . import only_here_helper"),
                d=old("late", "VALUE", late="from only_here_helper import VALUE"),
                e=old("of_another", "Old.__name__", "from .a import Old as _"),
                only_here_helper="VALUE = 'one'",
            ),
        ]
    )
    assert not found.failures
    values = {name: runs(found, name) for name in ("by_name", "relative", "from_package", "late", "of_another")}
    assert values == {
        "by_name": "one",
        "relative": "onewait",
        "from_package": "one",
        "late": "one",
        "of_another": "Old",
    }


def test_helpers_are_those_of_ones_own_folder_and_a_double_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [
        written(
            tmp_path / name,
            **{
                f"rel_{name}": old(f"rel_{name}", "VALUE", "from .double_helper import VALUE"),
                f"abs_{name}": old(f"abs_{name}", "double_helper.VALUE", "import double_helper"),
                "double_helper": f"VALUE = '{name}'",
            },
        )
        for name in ("one", "two")
    ]
    found = find_actions(folders)
    assert (runs(found, "rel_one"), runs(found, "rel_two")) == ("one", "two")
    said = [record.message for record in caplog.records if "double_helper" in record.message]
    assert len(said) == 1
    assert "`import double_helper` means" in said[0]


def test_what_is_installed_comes_before_a_file_of_its_name(tmp_path: Path) -> None:
    found = find_actions([written(tmp_path, json="X = 1", a=old("uses_json", "json.dumps([1])", "import json"))])
    assert runs(found, "uses_json") == "[1]"


def test_a_helper_is_read_anew_and_leaves_no_bytecode(tmp_path: Path) -> None:
    for value in ("1", "22"):
        one = written(
            tmp_path / "x", a=old("fresh", "fresh_helper.V", "import fresh_helper"), fresh_helper=f"V = {value}"
        )
        assert runs(find_actions([one]), "fresh") == int(value)
    assert sorted(file.name for file in (tmp_path / "x").iterdir()) == ["a.py", "fresh_helper.py"]


def test_old_files_of_what_is_shipped_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = find_actions(
        [
            written(
                tmp_path / "actions",
                jobs_cleanup=old("cleanup_jobs", "1"),
                dummy_test_action=old("dummy_test_action", "1"),
                mine=old("mine_of_old", "2"),
            )
        ]
    )
    assert runs(found, "mine_of_old") == 2
    for name in ("cleanup_jobs", "dummy_test_action"):
        spec = found.get(name)
        assert spec
        assert str(tmp_path) not in spec.source
    executor = "from slipstream.job.base import main\nfrom slipstream.job.executor import Executor\nmain(Executor)\n"
    distributor = "from slipstream.job.distributor import Distributor\nclass D(Distributor):\n    ACTION_NAME = 'a'\n"
    distributors = find_distributors(
        [
            written(
                tmp_path / "scripts",
                job_executor=executor,
                job_executor_one_action=executor,
                job_distributor_jobs_cleanup=distributor,
                job_distributor_dummy_test_action=distributor,
                job_distributor_own=distributor,
            )
        ]
    )
    assert not found.failures | distributors.failures
    own = distributors.get("own")
    assert own
    assert own.old
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    for file in (
        "actions/jobs_cleanup",
        "actions/dummy_test_action",
        "scripts/job_executor",
        "job_executor_one_action",
    ):
        assert any(f"{file}.py" in message and "left out" in message for message in warned), (file, warned)
    assert len(warned) == 6


def test_a_new_file_of_a_shipped_name_is_an_error_still(tmp_path: Path) -> None:
    new = "from geventjob import action\n@action('dummy_test_action')\ndef f(job): pass\n"
    with pytest.raises(PluginError, match="two are named 'dummy_test_action'"):
        find_actions([written(tmp_path, mine=new)])


@pytest.mark.parametrize("late", ["map(print, [1])", "filter(None, [1])", "zip([1], [2])"])
def test_a_statement_that_does_nothing_in_python_3_leaves_the_file_out(tmp_path: Path, late: str) -> None:
    """SlipStream's own virtual_machines_collect would delete the record of each machine without a look at it."""
    found = find_actions([written(tmp_path, a=old("lazy", "0", late=late), b=old("eager", "0", late=f"list({late})"))])
    assert runs(found, "eager") == 0
    [(file, why)] = found.failures.items()
    assert Path(file).name == "a.py"
    assert re.search(r"^SyntaxError: (map|filter|zip)\(…\) on line 11 does nothing in Python 3: write a for loop$", why)


def test_an_action_by_its_name(tmp_path: Path) -> None:
    found = find_actions([written(tmp_path, a=old("called_by_another", "5"))])
    spec = found.get("called_by_another")
    assert spec
    assert get_action("called_by_another") is spec.target
    assert get_action("cleanup_jobs").__name__ == "JobsCleanup"
    assert get_action("nobody_has_this") is None
