"""The points where the code of an action may be interrupted, found from its frames."""

import sys
from typing import Any

import pytest
from greenlet import greenlet

from geventjob.executor import safepoints
from geventjob.executor.safepoints import Point, SafePoints, begin

FRAME = greenlet(lambda: sys._getframe()).switch()
"""A frame of nothing but this module."""


def point_of(layers: Any, child: bool = False, waits: bool = False) -> Any:
    """Return the interruptions that the innermost of these functions may get, which call one another in this order.

    Each is given as `module` or `module:function`; `begin` marks the beginning of the action.
    """

    def probe() -> None:
        found.append(safepoints._point(sys._getframe(1), child, waits))

    def calling(layer: Any, inner: Any) -> Any:
        if layer == "begin":
            return lambda: begin(inner)
        module, _, name = layer.partition(":")
        name = name or "work"
        names = {"__name__": module, "_next": inner}
        exec(f"def {name}():\n    return _next()\n", names)
        return names[name]

    found: list[Any] = []
    call = probe
    for layer in reversed(layers):
        call = calling(layer, call)
    greenlet(call).switch()  # whose outermost frame is the first layer's
    return found[0]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("begin plugin", Point.ANY),
        ("begin geventjob.actions.http_request", Point.ANY),
        ("begin geventjob_actions_0badcafe_mine", Point.ANY),
        ("begin queue_tools", Point.ANY),
        ("begin geventjob.executor.runner plugin", Point.ANY),
        ("begin geventjob.executor.runner geventjob.plugins plugin json plugin", Point.ANY),
        ("begin plugin geventjob.executor.job", Point.NOTHING),
        ("begin plugin geventjob.executor.job plugin", Point.NOTHING),
        ("begin geventjob.executor.runner", Point.NOTHING),
        ("begin geventjob.executor.runner plugin geventjob.executor.job", Point.NOTHING),
        ("begin plugin logging plugin", Point.NOTHING),
        ("begin plugin gevent.pool", Point.NOTHING),
        ("begin plugin urllib3.connectionpool plugin", Point.NOTHING),
        ("begin plugin contextlib:__exit__ plugin", Point.NOTHING),
        ("begin plugin contextlib:inner plugin", Point.ANY),
        ("begin plugin contextlib:inner", Point.NOTHING),
        ("begin plugin gevent.timeout:with_timeout plugin", Point.ANY),
        ("begin plugin:__del__ plugin", Point.NOTHING),
        ("begin plugin plugin:__repr__", Point.RAISE),
        ("begin plugin plugin:__repr__ plugin", Point.RAISE),
        ("begin geventjob.executor.exception_text traceback plugin:__str__", Point.ANY),
        ("begin plugin geventjob.executor.job:set_status_message plugin:__str__", Point.ANY),
        ("begin plugin geventjob.executor.job:set_status_message", Point.NOTHING),
        ("begin plugin geventjob.executor.job:edit geventjob.cimi.body:encoded plugin", Point.ANY),
        ("begin plugin geventjob.executor.job:edit geventjob.executor.writes plugin", Point.NOTHING),
        ("begin plugin importlib._bootstrap new_module", Point.RAISE),
        ("begin plugin importlib._bootstrap new_module logging", Point.NOTHING),
        ("begin plugin importlib._bootstrap", Point.NOTHING),
        ("logging begin plugin", Point.ANY),
    ],
)
def test_points(layers: Any, expected: Any) -> None:
    assert point_of(layers.split()) is expected


def test_begin_itself_is_no_place_to_interrupt() -> None:
    assert point_of(["begin"]) is Point.NOTHING


def test_outside_of_begin_only_a_child_is_interrupted() -> None:
    assert point_of(["plugin"]) is Point.NOTHING
    assert point_of(["plugin"], child=True) is Point.ANY
    assert point_of(["plugin", "geventjob.executor.job"], child=True) is Point.NOTHING


def test_nothing_while_the_collector_runs_or_within_a_repr() -> None:
    points = SafePoints()

    class Thing:
        def __repr__(self) -> Any:
            found.append(points.at(FRAME, child=True))
            return ""

    try:
        assert points.at(FRAME, child=True) is Point.ANY
        found: list[Any] = []
        repr([Thing()])
        assert found == [Point.RAISE], "an exception takes the note away that one is inside of repr()"
        points._collection("start", {})
        assert points.at(FRAME, child=True) is Point.NOTHING
        points._collection("stop", {})
        assert points.at(FRAME, child=True) is Point.ANY
    finally:
        points.close()


def test_a_call_that_waits_in_multiprocessing_may_be_interrupted() -> None:
    for layers in ("plugin multiprocessing.connection", "plugin multiprocessing.popen_fork gevent.os:waitpid"):
        walk = ["begin", *layers.split()]
        assert point_of(walk) is Point.NOTHING
        assert point_of(walk, waits=True) is Point.ANY
    assert point_of(["begin", "plugin", "logging"], waits=True) is Point.NOTHING
