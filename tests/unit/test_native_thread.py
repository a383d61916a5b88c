"""The native thread for calls that block."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import gevent
import pytest
from gevent.monkey import get_original

from geventjob.native_thread import NativeThread

get_native_id = get_original("threading", "get_native_id")


@pytest.fixture
def thread() -> Iterator[NativeThread]:
    made = NativeThread()
    yield made
    made.close(lambda: None)


def test_calls_run_in_one_other_thread_in_their_order(thread: NativeThread) -> None:
    order: list[int] = []

    def call(number: int) -> int:
        order.append(number)
        return int(get_native_id())

    calls = [gevent.spawn(thread.call, call, number) for number in range(20)]
    gevent.joinall(calls, raise_error=True)
    (where,) = {each.value for each in calls}
    assert where != get_native_id()
    assert order == list(range(20))


def test_an_error_is_raised_in_the_caller(thread: NativeThread) -> None:
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)
    assert thread.call(lambda: 7) == 7


def test_a_caller_that_is_killed_leaves_the_thread_to_others(thread: NativeThread) -> None:
    go = get_original("threading", "Event")()
    caller = gevent.spawn(thread.call, go.wait)
    gevent.sleep(0)
    caller.kill()
    go.set()
    assert thread.call(lambda: 7) == 7


def test_a_result_can_be_seen_without_a_turn_of_the_loop(thread: NativeThread) -> None:
    """By the files of the loop alone: code that computes gives way for it."""
    assert thread.call(lambda: 7) == 7  # the kernel knows the file from here on
    go = get_original("threading", "Event")()
    caller = gevent.spawn(thread.call, go.wait)
    gevent.sleep(0)
    go.set()
    poll = get_original("select", "poll")()
    poll.register(gevent.get_hub().loop.fileno(), select.POLLIN)
    assert poll.poll(10_000)
    caller.join()


def test_a_closed_thread_ends(thread: NativeThread) -> None:
    before = threading.active_count()
    other = NativeThread()
    assert other.call(lambda: 7) == 7
    last: list[int] = []
    other.close(lambda: last.append(1))
    assert last == [1]
    assert threading.active_count() == before
