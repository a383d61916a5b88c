"""Natural batching: the items collected during a request are sent with the next."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from geventjob.batch import Batcher
from tests.support.waiting import eventually


class Sender:
    """A request that takes as long as the test wants."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = Event()
        self.go.set()

    def __call__(self, batch: list[int]) -> list[int | BaseException]:
        self.batches.append(batch)
        self.go.wait()
        return [ValueError(item) if item < 0 else item * 10 for item in batch]


def test_alone_it_goes_at_once() -> None:
    sender = Sender()
    assert Batcher(sender)(1) == 10
    assert sender.batches == [[1]]


def test_what_gathers_meanwhile_goes_together_and_in_order() -> None:
    sender = Sender()
    batcher = Batcher(sender)
    sender.go.clear()
    first = gevent.spawn(batcher, 0)
    gevent.idle()
    others = [gevent.spawn(batcher, item) for item in range(1, 6)]
    gevent.idle()
    sender.go.set()
    assert [greenlet.get() for greenlet in [first, *others]] == [0, 10, 20, 30, 40, 50]
    assert sender.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_bad_item_fails_alone() -> None:
    sender = Sender()
    batcher = Batcher(sender)
    greenlets = [gevent.spawn(batcher, item) for item in (1, -2, 3)]
    gevent.joinall(greenlets)
    assert [greenlet.value for greenlet in greenlets] == [10, None, 30]
    assert isinstance(greenlets[1].exception, ValueError)


@pytest.mark.parametrize("error", [OSError("gone"), gevent.Timeout(1), gevent.GreenletExit()])
def test_what_the_request_raises_is_raised_in_each_caller(error: BaseException) -> None:
    def send(batch: list[int]) -> list[int]:
        raise error

    batcher = Batcher(send)
    answers = [batcher.submit(item) for item in range(3)]
    for answer in answers:
        with pytest.raises(type(error)):
            answer.get()


def test_it_goes_on_after_an_error() -> None:
    errors: list[Exception] = [OSError("once")]

    def send(batch: list[int]) -> list[int]:
        if errors:
            raise errors.pop()
        return batch

    batcher = Batcher(send)
    with pytest.raises(OSError, match="once"):
        batcher(1)
    assert batcher(2) == 2


def test_batches_are_bounded_by_count_and_by_size() -> None:
    sender = Sender()
    batcher: Batcher[int, int] = Batcher(sender, count=3, size=lambda item: item, limit=10)
    answers = [batcher.submit(item) for item in (1, 1, 1, 1, 9, 2, 30, 1)]
    assert [answer.get() for answer in answers] == [10, 10, 10, 10, 90, 20, 300, 10]
    assert sender.batches == [[1, 1, 1], [1, 9], [2], [30], [1]]


def test_an_item_stays_in_when_its_caller_is_killed() -> None:
    sender = Sender()
    batcher = Batcher(sender)
    sender.go.clear()
    gevent.spawn(batcher, 0)
    gevent.idle()
    killed = gevent.spawn(batcher, 1)
    gevent.idle()
    killed.kill()
    sender.go.set()
    assert batcher(2) == 20
    assert sender.batches == [[0], [1, 2]]


def test_a_short_answer_is_an_error_and_nobody_waits_for_ever() -> None:
    batcher: Batcher[int, int] = Batcher(lambda batch: batch[:-1])
    with pytest.raises(RuntimeError, match="0 results for a batch of 1"):
        batcher(1)


def test_a_batch_leaves_beside_another_once_it_is_worth_it() -> None:
    sender = Sender()
    batcher = Batcher(sender, flights=2, worth=3)
    sender.go.clear()
    answers = [batcher.submit(0)]
    gevent.idle()
    answers += [batcher.submit(item) for item in (1, 2)]
    gevent.idle()
    assert sender.batches == [[0]]
    answers += [batcher.submit(item) for item in (3, 4)]
    gevent.idle()
    assert sender.batches == [[0], [1, 2, 3, 4]]
    answers += [batcher.submit(item) for item in range(5, 9)]
    gevent.idle()
    assert len(sender.batches) == 2
    sender.go.set()
    assert [answer.get() for answer in answers] == [10 * item for item in range(9)]


def test_items_of_one_key_keep_their_order_though_two_batches_are_in_flight() -> None:
    sender = Sender()
    batcher: Batcher[int, int] = Batcher(sender, flights=2, order=lambda item: item % 10)
    sender.go.clear()
    answers = [batcher.submit(1)]
    gevent.idle()
    answers += [batcher.submit(item) for item in (11, 2, 21, 3)]
    gevent.idle()
    assert sender.batches == [[1], [2, 3]]
    sender.go.set()
    assert [answer.get() for answer in answers] == [10, 110, 20, 210, 30]
    assert sender.batches == [[1], [2, 3], [11, 21]]


def test_with_more_flights_a_batch_leaves_beside_the_one_in_flight() -> None:
    sender = Sender()
    batcher = Batcher(sender, flights=2)
    sender.go.clear()
    greenlets = []
    for item in range(4):
        greenlets.append(gevent.spawn(batcher, item))
        gevent.idle()
    assert sender.batches == [[0], [1]]
    sender.go.set()
    assert [greenlet.get() for greenlet in greenlets] == [0, 10, 20, 30]
    assert sender.batches == [[0], [1], [2, 3]]


@pytest.mark.parametrize("flights", [1, 2])
def test_it_has_finished_when_all_items_are_answered(flights: int) -> None:
    sender = Sender()
    batcher = Batcher(sender, flights=flights)
    batcher.finish()
    sender.go.clear()
    answers = []
    for item in range(3):
        answers.append(batcher.submit(item))
        gevent.idle()
    finished = gevent.spawn(batcher.finish)
    gevent.idle()
    assert not finished.ready()
    sender.go.set()
    finished.get()
    assert all(answer.ready() for answer in answers)


def test_some_items_go_before_others_in_their_order() -> None:
    sender = Sender()
    sender.go.clear()
    batch: Batcher[int, int] = Batcher(sender, count=3, first=lambda item: item > 10)
    answers = [batch.submit(1)]
    eventually(lambda: sender.batches == [[1]])
    answers += [batch.submit(item) for item in (2, 11, 3, 12, 4)]
    sender.go.set()
    gevent.wait(answers, timeout=3)
    assert sender.batches == [[1], [11, 12, 2], [3, 4]]
