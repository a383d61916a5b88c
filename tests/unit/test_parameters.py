"""Parameters of actions: filled from the payload, checked by annotations, announced as a shape."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob.cli.submit import warn
from geventjob.executor.decide import after_code
from geventjob.executor.decision import Fail
from geventjob.executor.ending import Raised
from geventjob.executor.job import Job
from geventjob.job.shapes import LARGEST, LARGEST_TOGETHER, announced, example, misfits, words
from geventjob.plugins import ActionSpec, PluginSet, find_actions
from geventjob.plugins.parameters import InvalidPayload
from geventjob.plugins.retries import RetryPolicy

HEAD = """
from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import msgspec

from geventjob import Action, action

if TYPE_CHECKING:
    from geventjob import Job
"""

Found = Callable[[str], ActionSpec]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Write the code of an action, and return its spec as an executor finds it."""
    numbers = iter(range(100))

    def find(code: str) -> ActionSpec:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        (folder / "it.py").write_text(HEAD + code)
        actions = find_actions([str(folder)])
        assert not actions.failures, actions.failures
        return cast(ActionSpec, actions.get("it"))

    return find


def made(payload: Any) -> Job:
    return Job({"id": "job/1", "action": "it", "payload": payload}, lambda document: document, cast(Any, None))


def run(spec: ActionSpec, payload: Any) -> Any:
    return spec.instance("executor", made(payload))()


def refused(spec: ActionSpec, payload: Any) -> str:
    with pytest.raises(InvalidPayload) as caught:
        spec.instance("executor", made(payload))
    return str(caught.value)


COUNT = """
@action("it")
def count(job: Job, url: str, limit: int = 10, by: Optional[str] = None):
    return [job.id, url, limit, by]
"""


def test_parameters_are_filled_from_the_payload(found: Found) -> None:
    spec = found(COUNT)
    assert run(spec, {"url": "u"}) == ["job/1", "u", 10, None]
    assert run(spec, {"url": "u", "limit": 3, "by": "b"}) == ["job/1", "u", 3, "b"]
    assert run(spec, {"url": "u", "by": None, "unknown": 1}) == ["job/1", "u", 10, None]


def test_what_does_not_fit_is_named(found: Found) -> None:
    spec = found(COUNT)
    assert refused(spec, {}) == "url: missing"
    assert refused(spec, {"limit": "x", "by": 5}) == (
        "url: missing; limit: expected int, got str; by: expected str or null, got int"
    )
    assert refused(spec, {"url": "u", "limit": True}) == "limit: expected int, got bool"
    assert refused(spec, "text") == "payload: expected an object"


def test_a_misfit_fails_the_job_at_once_whatever_the_retries_are(found: Found) -> None:
    with pytest.raises(InvalidPayload) as caught:
        found(COUNT).instance("executor", made({}))
    ending = Raised(caught.value, f"InvalidPayload: {caught.value}", "")
    eager = RetryPolicy(retries=9, retry_on=(BaseException,))
    assert after_code(ending, made({}), eager) == Fail("InvalidPayload: url: missing", kind="InvalidPayload")


def test_nested_types_are_made(found: Found) -> None:
    spec = found("""
class Size(enum.Enum):
    SMALL = "s"

@dataclass
class Page:
    url: str
    depth: int | None = None

class Plan(msgspec.Struct):
    pages: list[Page]

@action("it")
def it(job, plan: Plan, size: Size, at: dt.datetime, mode: Literal["a", "b"], n: Annotated[int, msgspec.Meta(ge=1)]):
    return [plan.pages[0].url, size.name, at.year, mode, n]
""")
    payload = {"plan": {"pages": [{"url": "u"}]}, "size": "s", "at": "2030-01-31T12:00:00Z", "mode": "a", "n": 1}
    assert run(spec, payload) == ["u", "SMALL", 2030, "a", 1]
    wrong = payload | {"plan": {"pages": [{"url": "u", "depth": "x"}]}, "size": "m", "n": 0, "mode": "c", "at": "today"}
    assert refused(spec, wrong).split("; ") == [
        "plan.pages[0].depth: expected int or null, got str",
        "size: none of the expected values",
        "at: invalid RFC3339 encoded datetime",
        "mode: none of the expected values",
        "n: expected int >= 1",
    ]


@pytest.mark.parametrize(
    ("annotation", "given", "made"),
    [
        ("float", 3, "3.0"),
        ("set[int]", [1], "{1}"),
        ("tuple[int, str]", [1, "a"], "(1, 'a')"),
        ("dict[str, int]", {"a": 1}, "{'a': 1}"),
        ("dt.timedelta", "PT60S", "datetime.timedelta(seconds=60)"),
        ("dt.date", "2030-01-31", "datetime.date(2030, 1, 31)"),
        ("uuid.UUID", "00000000-0000-0000-0000-000000000000", "UUID('00000000-0000-0000-0000-000000000000')"),
        ("decimal.Decimal", "1.5", "Decimal('1.5')"),
        ("bytes", "aGk=", "b'hi'"),
        ("Named", [1], "Named(x=1)"),
        ("Typed", {"x": 1}, "{'x': 1}"),
        ("object", {"x": 1}, "{'x': 1}"),
    ],
)
def test_the_types_of_the_page(found: Found, annotation: str, given: object, made: str) -> None:
    spec = found(f"""
import decimal
import uuid
from typing import NamedTuple, TypedDict

class Named(NamedTuple):
    x: int

class Typed(TypedDict):
    x: int

@action("it")
def it(job, value: {annotation}):
    return repr(value)
""")
    assert run(spec, {"value": given}) == made
    shape = spec.parameters.shape()
    assert misfits(shape, {"value": given}) == []
    spec.parameters.fill(example(shape))


def test_parameters_by_position_and_further_fields(found: Found) -> None:
    spec = found("""
@action("it")
def it(job, url: str, depth=2, /, *, limit: int = 10, **more: int):
    return [url, depth, limit, more]
""")
    assert run(spec, {"url": "u"}) == ["u", 2, 10, {}]
    assert run(spec, {"limit": 1, "b": 2, "depth": None, "url": "u"}) == ["u", None, 1, {"b": 2}]
    assert refused(spec, {"url": "u", "b": "x"}) == "b: expected int, got str"


def test_a_class_has_the_parameters_of_its_work(found: Found) -> None:
    spec = found("""
@action("it")
class It(Action):
    made = 0

    def __init__(self, executor, job):
        super().__init__(executor, job)
        It.made += 1

    def do_work(self, url: str, limit: int = 10):
        return [self.executor, self.job.id, url, limit]
""")
    assert refused(spec, {}) == "url: missing"
    assert spec.target.made == 0, "no code of the action runs before the check"
    assert run(spec, {"url": "u"}) == ["executor", "job/1", "u", 10]


@pytest.mark.parametrize(
    "code",
    [
        "def it(job): return job.payload",
        "def it(job: Job): return job.payload",
        "def it(*all, **more): return all[0].payload",
        "def it(job, *all, **more): return job.payload if not more else None",
        "class It(Action):\n    def do_work(self): return self.job.payload",
    ],
)
def test_an_action_without_parameters_reads_its_payload_by_itself(found: Found, code: str) -> None:
    spec = found(f'@action("it")\n{code}')
    assert not spec.parameters
    assert run(spec, {"any": 1}) == {"any": 1}


def test_the_parameters_of_what_a_decorator_wraps_count(found: Found) -> None:
    spec = found("""
import functools

def noted(code):
    @functools.wraps(code)
    def wrapper(*args, **kwargs):
        return ["noted", code(*args, **kwargs)]
    return wrapper

@action("it")
@noted
def it(job, url: str):
    return url
""")
    assert run(spec, {"url": "u"}) == ["noted", "u"]


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        ("file: Missing", "it: the annotation of file cannot be resolved: name 'Missing' is not defined"),
        ("file: dt.tzinfo", "it: no payload can give the parameter file: type <class 'datetime.tzinfo'>"),
        ("**file: dt.tzinfo", "it: no payload can give the parameter file: type <class 'datetime.tzinfo'>"),
    ],
)
def test_a_file_with_a_parameter_that_nothing_can_fill_is_left_out(tmp_path: Path, parameter: str, why: str) -> None:
    file = tmp_path / "it.py"
    file.write_text(HEAD + f'@action("it")\ndef it(job, {parameter}): pass\n')
    actions = find_actions([str(tmp_path)])
    assert why in actions.failures[str(file)]
    assert actions.get("it") is None


def test_a_parameter_that_nothing_can_fill_keeps_its_default(found: Found) -> None:
    spec = found("""
@action("it")
def it(job, url: str, get: Callable = len, session: Missing = None, /, path: dt.tzinfo = dt.timezone.utc):
    return [url, get is len, session, path is dt.timezone.utc]
""")
    assert run(spec, {"url": "u"}) == ["u", True, None, True]
    assert refused(spec, {"get": 1, "path": "x"}) == (
        "url: missing; get: no payload can give this parameter; path: no payload can give this parameter"
    )
    shape = spec.parameters.shape()
    assert set(shape["properties"]) == {"url"}
    assert misfits(shape, {"url": "u", "path": "x"}) == ["path: unknown"]


# --- shapes

SHAPED = """
@dataclass
class Page:
    url: str
    tags: list[str] = field(default_factory=list)

class Tree(msgspec.Struct):
    left: Optional[Tree] = None

@action("it")
def it(job, page: Page, at: dt.datetime, tree: Tree, kind: Literal["a", "b"], n: Annotated[int, msgspec.Meta(gt=3)],
       ratio: float, numbers: list[int], pair: tuple[int, str], limit: int = 10, by: Optional[str] = None,
       zone: Any = dt.timezone.utc):
    pass
"""


def test_the_example_fits_and_has_all_that_is_required(found: Found) -> None:
    spec = found(SHAPED)
    shape = spec.parameters.shape()
    payload = example(shape)
    payload["page"].setdefault("tags", [])  # msgspec below 0.23 shows no default of a factory
    assert payload == {
        "page": {"url": "text", "tags": []}, "at": "2030-01-31T12:00:00Z", "tree": {"left": None}, "kind": "a", "n": 4,
        "ratio": 0, "numbers": [0], "pair": [0, "text"], "limit": 10, "by": None,
    }  # fmt: skip
    spec.parameters.fill(payload)
    assert misfits(shape, payload) == []


def test_misfits_are_those_of_the_executor_and_unknown_fields(found: Found) -> None:
    shape = found(SHAPED).parameters.shape()
    payload = example(shape) | {
        "page": {"tags": [1]}, "kind": "c", "n": 5.5, "numbers": [1, "x"], "by": 3, "most": 5, "tree": {"left": 1},
        "ratio": True,
    }  # fmt: skip
    assert sorted(misfits(shape, payload)) == sorted([
        "page.url: missing",
        "page.tags[0]: expected string",
        'kind: expected "a" or "b"',
        "n: expected integer",
        "ratio: expected number",
        "numbers[1]: expected integer",
        "by: expected string or null",
        "tree.left: expected object or null",
        "most: unknown",
    ])  # fmt: skip
    assert misfits(shape, "text") == ["payload: expected object"]


def test_further_fields_are_not_unknown_where_the_code_takes_them(found: Found) -> None:
    shape = found('@action("it")\ndef it(job, url: str, **more: int): pass').parameters.shape()
    assert misfits(shape, {"url": "u", "a": 1}) == []
    assert misfits(shape, {"url": "u", "a": "x"}) == ["a: expected integer"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from(["a", "b", "c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["url", "left", "x"]), inner),
    max_leaves=4,
)


def test_a_comparison_agrees_with_the_executor(found: Found) -> None:
    spec = found("""
@dataclass
class Page:
    url: str
    x: Optional[int] = None

class Tree(msgspec.Struct):
    left: Optional[Tree] = None

@action("it")
def it(job, a: Page, b: Optional[int], c: Literal["a", "b"], d: list[float], e: Tree, f: dict[str, bool], g: Any,
       h: int | str | list[str] = 3):
    pass
""")
    shape = spec.parameters.shape()

    @given(st.fixed_dictionaries({}, optional=dict.fromkeys("abcdefgh", VALUES)))
    def agrees(payload: dict[str, Any]) -> None:
        wrong = {line.partition(":")[0][0] for line in misfits(shape, payload) if not line.endswith("unknown")}
        try:
            spec.parameters.fill(payload)
            told: set[str] = set()
        except InvalidPayload as error:
            told = {line[0] for line in str(error).split("; ")}
        assert wrong == told

    agrees()


def test_an_announcement_is_bounded(found: Found) -> None:
    wide = ", ".join(f"parameter_{n}: Page" for n in range(20))
    fields = "\n".join(f"    field_{n}: int = 0" for n in range(100))
    large = found(f'class Page(msgspec.Struct):\n{fields}\n@action("it")\ndef it(job, {wide}, **m: Page): pass')
    small = found(COUNT).parameters.shape()
    told = announced({"large": large.parameters.shape(), "small": small})
    assert told["small"] == small
    assert len(json.dumps(told["large"])) <= LARGEST < len(json.dumps(large.parameters.shape()))
    assert misfits(told["large"], {"parameter_0": 3, "more": 1}) == [f"parameter_{n}: missing" for n in range(1, 20)]
    assert (example(told["large"]), example(told["small"])) == (None, {"url": "text", "limit": 10, "by": None})
    many = announced({f"action_{n}": small for n in range(1000)})
    assert 50 < len(many) < 1000
    assert len(json.dumps(many)) <= 2 * LARGEST_TOGETHER


def test_an_executor_announces_the_shapes_by_name_and_alias(found: Found) -> None:
    from geventjob.executor.announced import told
    from geventjob.executor.limits import JobLimits

    spec = found(COUNT.replace('"it"', '"it", aliases="other"'))
    plain = found('@action("it")\ndef it(job): pass')
    assert set(told(PluginSet([spec]), JobLimits())["parameters"]) == {"it", "other"}
    injected = found('@action("it")\ndef it(job, zone: dt.tzinfo = None): pass')
    assert (
        told(PluginSet([plain]), JobLimits())["parameters"]
        == told(PluginSet([injected]), JobLimits())["parameters"]
        == {}
    )


# --- the warning of `submit`


class Fleet:
    """A stub for the context of a command: the announcements of executors, and what is noted."""

    def __init__(self, *shapes: Any) -> None:
        self.client = self.screen = self
        self.command = "geventjob"
        self.shapes = shapes
        self.noted: list[str] = []
        self.note = self.noted.append

    def nodes(self) -> list[Any]:
        return [
            {"role": "executor", "actions": ["it"], **({} if shape is None else {"parameters": {"it": shape}})}
            for shape in self.shapes
        ]


def test_a_payload_that_fits_no_executor_is_warned_of(found: Found) -> None:
    old, new = found(COUNT).parameters.shape(), found(COUNT.replace("url", "address")).parameters.shape()

    def noted(payload: dict[str, Any], *shapes: Any) -> list[str]:
        fleet = Fleet(*shapes)
        warn(cast(Any, fleet), "it", payload)
        return fleet.noted

    said = ["warning: payload: url: missing; most: unknown: see geventjob actions it"]
    assert noted({"most": 3}, old) == said
    assert noted({"url": "u"}, old) == noted({"url": "u"}, new, old) == noted({"most": 3}, old, None) == []
    assert noted({}, old, new) != []


def test_types_are_told_in_words(found: Found) -> None:
    shape = found(SHAPED).parameters.shape()
    told = {name: words(inner, shape["$defs"]) for name, inner in shape["properties"].items()}
    assert told["at"] == "date-time"
    assert told["numbers"] == "array of integer"
    assert told["kind"] == '"a" or "b"'
    assert told["by"] == "string or null"
    assert told["page"] == "object"
    assert told["zone"] == "any value"
