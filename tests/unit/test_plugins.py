"""Actions and distributors: marks and the search for plugins."""

import logging
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from geventjob.plugins import Action, Distributor, PluginError, PluginSet, action, distributor, find_actions
from geventjob.plugins import find_distributors as find_distributors_in
from geventjob.plugins.isolation import Isolation
from geventjob.plugins.specs import ActionSpec

HEAD = "from geventjob.plugins import Action, Distributor, action, distributor\n"


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """Write drop-in files by name into a new folder for each call."""
    made: list[Path] = []

    def make(**files: Any) -> Any:
        new = tmp_path / f"folder{len(made)}"
        new.mkdir()
        made.append(new)
        for name, code in files.items():
            (new / f"{name}.py").write_text(HEAD + textwrap.dedent(code))
        return str(new)

    return make


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Install packages with entry points, and unload their modules after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: Any, code: str, points: Any) -> Any:
        (tmp_path / f"{name}.py").write_text(HEAD + textwrap.dedent(code))
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(points)
        return str(tmp_path / f"{name}.py")

    yield install
    for name in set(sys.modules) - before:
        del sys.modules[name]


# --- what an author writes


def test_the_three_kinds_of_action_get_their_job(folder: Any) -> None:
    found = find_actions([folder(kinds="""
        @action("a_function")
        def work(job):
            return ("function", job)

        @action("a_class", timeout=3)
        class Work(Action):
            def do_work(self):
                return (type(self).__name__, self.executor, self.job)

        @action("an_old_class", preempt=False)
        class Old(object):
            def __init__(self, executor, job):
                self.args = executor, job

            def do_work(self):
                return self.args
    """)])  # fmt: skip
    run = {name: found.get(name).instance("executor", "job")() for name in ("a_function", "a_class", "an_old_class")}
    assert run == {
        "a_function": ("function", "job"),
        "a_class": ("Work", "executor", "job"),
        "an_old_class": ("executor", "job"),
    }
    assert [found.get(n).timeout for n in ("a_function", "a_class")] == [None, 3]
    assert [found.get(n).preempt for n in ("a_class", "an_old_class")] == [True, False]


def test_each_job_has_an_instance_of_its_own(folder: Any) -> None:
    found = find_actions([folder(a="""
        @action("own")
        class Own(Action):
            def do_work(self):
                self.n = getattr(self, "n", 0) + 1
                return self.n
    """)])  # fmt: skip
    spec = found.get("own")
    assert [spec.instance(None, None)(), spec.instance(None, None)()] == [1, 1]


def test_an_action_without_a_name_has_that_of_its_code(folder: Any) -> None:
    found = find_actions([folder(a="""
        @action
        def bare(job): pass

        @action()
        def called(job): pass

        @action
        class Bare(Action):
            def do_work(self): pass

        @action(timeout=2)
        def with_timeout(job): pass
    """)])  # fmt: skip
    assert {"bare", "called", "Bare", "with_timeout"} <= set(found.names)
    assert found.get("with_timeout").timeout == 2


def test_aliases_name_the_same_action(folder: Any) -> None:
    found = find_actions([folder(a="""
        @action("tidy_up", aliases=["jobs_tidy", "tidy"])
        def tidy_up(job): pass

        @action("other", aliases="another")
        def other(job): pass
    """)])  # fmt: skip
    assert found.get("jobs_tidy") is found.get("tidy") is found.get("tidy_up")
    assert found.get("jobs_tidy").name == "tidy_up"
    assert {"jobs_tidy", "tidy", "tidy_up", "another"} <= set(found.names)


def test_the_decorator_gives_back_what_it_stands_on() -> None:
    def work(job: Any) -> Any:
        return job

    class Work(Action):
        def do_work(self) -> Any:
            return 7

    assert action("a")(work) is work
    assert action(work) is work
    assert action("b")(Work) is Work
    assert Work(None, None).do_work() == 7


class Plain:
    def do_work(self) -> None: ...


def generator(job: Any) -> Iterator[Any]:
    yield


async def async_generator(job: Any) -> AsyncIterator[Any]:
    yield


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: action("a")(cast("Any", 3)), "a function or a class"),
        (lambda: action("a")(type("No", (), {})), "has no method do_work"),
        (lambda: action("a")(type("No", (Action,), {})), "has no method do_work"),
        (lambda: action("a")(generator), "not a generator"),
        (lambda: action("a")(async_generator), "not a generator"),
        (lambda: action("a b")(Plain), "a name is up to 100"),
        (lambda: action("")(Plain), "a name is up to 100"),
        (lambda: action("x" * 101)(Plain), "a name is up to 100"),
        (lambda: action("a", aliases=["b/c"])(Plain), "a name is up to 100"),
        (lambda: action("a", timeout=0)(Plain), "timeout is seconds above 0"),
        (lambda: action("a", timeout=cast("Any", "3"))(Plain), "timeout is seconds above 0"),
        (lambda: action("a", timeout=float("nan"))(Plain), "timeout is seconds above 0"),
        (lambda: distributor("a")(generator), "a distributor is a class"),
        (lambda: distributor("a")(type("No", (Distributor,), {})), "has no method jobs"),
        (lambda: distributor("a/b")(type("D", (), {"jobs": generator})), "a name is up to 100"),
    ],
)
def test_what_no_action_or_distributor_can_be_is_said_at_once(make: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        make()


# --- what a process finds


def test_nothing_is_registered_by_importing(folder: Any) -> None:
    mine, yours = folder(a="@action('mine')\ndef f(job): pass"), folder(a="@action('yours')\ndef f(job): pass")
    first, second = find_actions([mine]), find_actions([yours])
    assert (first.get("yours"), second.get("mine")) == (None, None)
    assert first.get("mine").source == f"{mine}/a.py"
    assert first.folders == (mine,)


def test_what_a_file_imports_is_not_its_own(folder: Any, packages: Any) -> None:
    packages(
        "somebodys",
        "@action('theirs')\ndef work(job): pass\n@action\nclass Base(Action):\n  def do_work(self): pass",
        "",
    )
    found = find_actions([folder(a="""
        from somebodys import *

        class Derived(Base):
            "Has no mark of its own."

        @action("mine")
        class Mine(Base):
            pass
    """)])  # fmt: skip
    assert found.get("mine").target.__name__ == "Mine"
    assert (found.get("theirs"), found.get("Base")) == (None, None)
    assert found.failures == {}


def test_one_thing_under_two_names_of_a_module_is_one(folder: Any) -> None:
    found = find_actions([folder(a="@action\ndef work(job): pass\nagain = work")])
    assert "work" in found.names


def test_files_of_one_name_do_not_meet(folder: Any) -> None:
    code = "import json\n@action('{0}')\ndef work(job): return json.dumps('{0}')"
    one, two = folder(json=code.format("one")), folder(json=code.format("two"))
    found = find_actions([one, two])
    assert [found.get(n).instance(None, None)() for n in ("one", "two")] == ['"one"', '"two"']
    assert sys.modules["json"].__name__ == "json"
    assert found.get("one").target.__module__ != found.get("two").target.__module__
    assert sys.modules[found.get("one").target.__module__].__file__ == f"{one}/json.py"


def test_a_folder_that_is_named_twice_is_read_once(folder: Any, tmp_path: Path) -> None:
    one = folder(a="@action('once')\ndef work(job): pass")
    (tmp_path / "link").symlink_to(one)
    assert "once" in find_actions([one, one, str(tmp_path / "link"), f"{one}/"]).names


def test_hidden_private_and_other_files_are_left_alone(folder: Any, tmp_path: Path) -> None:
    one = folder(_private="raise SystemExit", a="@action('seen')\ndef work(job): pass")
    for name in (".#a.py", "a.py~", "notes.txt"):
        (tmp_path / "folder0" / name).write_text("raise SystemExit")
    (tmp_path / "folder0" / "__pycache__").mkdir()
    found = find_actions([one])
    assert (found.get("seen") is not None, found.failures) == (True, {})


def test_a_file_may_have_any_name(folder: Any) -> None:
    assert find_actions([folder(**{"my-action 2.0": "@action('seen')\ndef work(job): pass"})]).get("seen")


def test_no_bytecode_is_left_and_none_is_believed(folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    one = folder(a="@action('before')\ndef work(job): pass")
    find_actions([one])
    (tmp_path / "folder0" / "a.py").write_text(HEAD + "@action('after_')\ndef work(job): pass")
    assert "after_" in find_actions([one]).names
    assert [f.name for f in (tmp_path / "folder0").iterdir()] == ["a.py"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import gevent; raise gevent.GreenletExit", "GreenletExit"),
        ("import gevent; raise gevent.Timeout(1)", "Timeout: 1 second"),
        ("def (", "SyntaxError: "),
        ("raise ValueError('a\\nb')", "ValueError: a b"),
        ("@action('x y')\ndef f(job): pass", "ValueError: a name is up to 100"),
        ("class Odd(BaseException):\n  def __str__(self): return 1/0\nraise Odd", "Odd: its text cannot be had"),
    ],
)
def test_a_file_that_does_not_import_costs_only_itself(
    code: str, said: str, folder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bad = folder(bad=code, good="@action('good')\ndef work(job): pass")
    before = set(sys.modules)
    with caplog.at_level(logging.ERROR):
        found = find_actions([bad])
    assert "good" in found.names
    assert list(found.failures) == [f"{bad}/bad.py"]
    assert found.failures[f"{bad}/bad.py"].startswith(said)
    [record] = [r for r in caplog.records if r.name == "geventjob.plugins.find"]
    assert f"{bad}/bad.py" in record.getMessage()
    assert record.exc_info
    assert not [name for name in set(sys.modules) - before if name.endswith("_bad")]


def test_nothing_of_a_file_that_fails_is_used(folder: Any) -> None:
    found = find_actions([folder(bad="@action('half')\ndef work(job): pass\n1/0")])
    assert found.get("half") is None


def test_a_file_that_cannot_be_decoded(folder: Any, tmp_path: Path) -> None:
    one = folder()
    (tmp_path / "folder0" / "bad.py").write_bytes(b"x = '\xff'\n")
    assert list(find_actions([one]).failures) == [f"{one}/bad.py"]


def test_an_interrupt_goes_through(folder: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        find_actions([folder(a="raise KeyboardInterrupt")])


def test_two_of_one_name_are_an_error_that_names_both(folder: Any) -> None:
    one, two = (
        folder(a="@action('twice')\ndef f(job): pass"),
        folder(b="@action('x', aliases='twice')\ndef f(job): pass"),
    )
    with pytest.raises(PluginError) as error:
        find_actions([one, two])
    assert str(error.value) == f"two are named 'twice': one in {one}/a.py, one in {two}/b.py"


def test_two_of_one_name_in_one_file(folder: Any) -> None:
    with pytest.raises(PluginError, match=r"two are named 'twice': one in .*/a\.py, one in .*/a\.py"):
        find_actions([folder(a="@action('twice')\ndef f(job): pass\n@action('twice')\ndef g(job): pass")])


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("isolation='thread'", "isolation is 'process' or None, not 'thread'"),
        ("memory='512M'", "memory is a limit of a process: it needs isolation='process'"),
        ("isolation='process', memory='much'", "memory is bytes, as '512m' or '2g', of at least 64m, not 'much'"),
        ("isolation='process', memory=4096", "memory is bytes, as '512m' or '2g', of at least 64m, not 4096"),
    ],
)
def test_an_impossible_isolation_is_refused_in_words(folder: Any, given: str, error: str) -> None:
    one = folder(a=f"@action('apart', {given})\ndef f(job): pass")
    assert find_actions([one]).failures == {f"{one}/a.py": f"ValueError: {error}"}


def test_an_isolation_is_part_of_the_spec(folder: Any) -> None:
    found = find_actions(
        [folder(a="@action('a', isolation='process', memory='512M')\ndef f(job): pass\n@action\ndef b(job): pass")]
    )
    a, b = found.get("a"), found.get("b")
    assert a
    assert b
    assert a.isolation == Isolation(512 * 1024 * 1024)
    assert b.isolation is None


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=f"folder {tmp_path}/no cannot be searched: No such file"):
        find_actions([str(tmp_path / "no")])


def test_what_is_built_by_hand() -> None:
    spec = ActionSpec("a", print, None, True, "here")
    found = PluginSet([spec])
    assert (found.get("a"), found.get("b"), found.names, found.failures) == (spec, None, ["a"], {})


def test_what_no_longer_imports_is_kept(folder: Any, packages: Any) -> None:
    one = folder(
        a="@action\ndef a(job): return 'old'", b="@action\ndef b(job): return 'old'", c="@action\ndef c(job): pass"
    )
    points = "[geventjob.actions]\nby_point = somebodys:by_point\n"
    installed = packages("somebodys", "def by_point(job): return 'old'", points)
    before = find_actions([one])
    Path(one, "a.py").write_text("no Python")
    Path(one, "b.py").write_text("from geventjob import action\n@action\ndef b(job): return 'new'")
    Path(one, "c.py").unlink()
    Path(installed).write_text("no Python")
    del sys.modules["somebodys"]
    merged = before.merged(find_actions([one]))
    assert {name: merged.get(name).instance(None, None)() for name in ("a", "b", "by_point")} == {
        "a": "old",
        "b": "new",
        "by_point": "old",
    }
    assert merged.outdated == ["a", "by_point"]
    assert set(merged.failures) == {f"{one}/a.py", "entry point by_point = somebodys:by_point"}
    assert "c" not in merged.names
    assert merged.get("c"), "for a job that was claimed before"
    again = merged.merged(find_actions([one]))
    assert again.outdated == ["a", "by_point"]
    assert before.get("b").instance(None, None)() == "old", "nothing has changed so far"
    before.replace(merged)
    assert before.get("b").instance(None, None)() == "new"


# --- entry points


def test_entry_points_of_installed_packages(packages: Any) -> None:
    file = packages(
        "somebodys",
        """
        @action("by_module")
        def one(job): return 1

        @action("by_mark")
        def two(job): return 2

        def three(job): return 3

        class Four(Action):
            def do_work(self): return 4
        """,
        "[geventjob.actions]\nall = somebodys\nmarked = somebodys:two\n"
        "by_point = somebodys:three\nfour = somebodys:Four\n",
    )
    found = find_actions()
    names = ("by_module", "by_mark", "by_point", "four")
    assert [found.get(name).instance(None, None)() for name in names] == [1, 2, 3, 4]
    assert {found.get(name).source for name in names} == {file}
    assert found.get("marked") is None


def test_an_entry_point_that_does_not_import(packages: Any) -> None:
    packages("somebodys", "1/0", "[geventjob.actions]\nbroken = somebodys\nmissing = somebodys_no:x\n")
    found = find_actions()
    assert found.failures == {
        "entry point broken = somebodys": "ZeroDivisionError: division by zero",
        "entry point missing = somebodys_no:x": "ModuleNotFoundError: No module named 'somebodys_no'",
    }


def test_an_entry_point_that_is_no_action(packages: Any) -> None:
    packages("somebodys", "NUMBER = 3", "[geventjob.actions]\nnumber = somebodys:NUMBER\n")
    assert list(find_actions().failures) == ["entry point number = somebodys:NUMBER"]


# --- distributors


def test_distributors_are_found_like_actions(folder: Any, packages: Any) -> None:
    packages("somebodys", """
        class Unmarked(Distributor):
            def jobs(self): yield {}
    """, "[geventjob.distributors]\nby_point = somebodys:Unmarked\n")  # fmt: skip
    one = folder(
        any_name="""
        @distributor("nightly")
        class Nightly(Distributor):
            cron = "0 3 * * *"

            def jobs(self):
                yield {"action": "report", "by": (self.client, self.settings)}

        class Helper(Distributor):
            def jobs(self): yield {}
    """
    )
    found = find_distributors_in([one])
    nightly = found.get("nightly")
    assert (nightly.old, nightly.source) == (False, f"{one}/any_name.py")
    assert list(nightly.target("client", "settings").jobs()) == [{"action": "report", "by": ("client", "settings")}]
    assert nightly.target.unless_pending is True
    assert found.get("by_point").target.__name__ == "Unmarked"
    assert found.get("any_name") is None


def test_old_distributors_have_the_name_of_their_file(folder: Any) -> None:
    code = """
        class JobsCleanup(object):
            ACTION_NAME = "cleanup_jobs"

            def __init__(self):
                self.collect_interval = 60

            def job_generator(self):
                yield {"action": self.ACTION_NAME}
    """
    found = find_distributors_in([folder(job_distributor_my_cleanup=code, plain_name=code)])
    spec = found.get("my_cleanup")
    assert spec.old
    assert list(spec.target().job_generator()) == [{"action": "cleanup_jobs"}]
    assert found.get("plain_name").old


def test_an_old_distributor_whose_file_is_no_name_costs_the_whole_file(folder: Any) -> None:
    code = """
        @distributor("new")
        class New(Distributor):
            def jobs(self): yield {}

        class Old:
            ACTION_NAME = "old"
            def job_generator(self): yield {}
    """
    one = folder(**{"no name": code})
    found = find_distributors_in([one])
    assert found.get("new") is None
    assert found.failures[f"{one}/no name.py"].startswith("ValueError: a name is up to 100 of letters")


def test_two_distributors_of_one_name(folder: Any) -> None:
    code = "@distributor('d')\nclass D(Distributor):\n  def jobs(self): yield {}"
    with pytest.raises(PluginError, match=r"two are named 'd': one in .*/a\.py, one in .*/b\.py"):
        find_distributors_in([folder(a=code, b=code)])


# --- what is shipped


def test_all_that_is_shipped_imports() -> None:
    assert find_actions().failures == {}
    assert find_distributors_in().failures == {}


def test_an_author_needs_no_gevent_and_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage would import gevent
    code = "import sys, geventjob.plugins; print({'gevent', 'requests', 'kazoo', 'falcon'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
