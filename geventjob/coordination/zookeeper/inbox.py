"""Inboxes: messages to a process by its name, kept until its handler has seen them."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import gevent
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from geventjob import supervise
from geventjob.backoff import Trouble
from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway
from geventjob.coordination.handlers import Handler, handle
from geventjob.coordination.names import inbox_name, inbox_owner
from geventjob.coordination.zookeeper.ensemble import Ensemble
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import INBOXES
from geventjob.coordination.zookeeper.numbers import renew
from geventjob.coordination.zookeeper.order import by_sequence

log = logging.getLogger(__name__)

_MESSAGE = re.compile(r"msg-(-?[0-9]{9,10})$")
SWEEP = 3600.0
"""Seconds between two searches for inboxes of dead executors. Each search also marks the own inbox as used."""
UNUSED = 86400.0 + SWEEP
"""Seconds without a mark after which the inbox of an executor that does not live is deleted: a day at least."""
PAUSE = 0.2


class ZooKeeperInbox:
    """The inbox of this process, read in a greenlet; and messages to other inboxes."""

    def __init__(self, ensemble: Ensemble, name: str) -> None:
        self._ensemble = ensemble
        self._name = name
        self._folder = f"{INBOXES}/{name}"
        self._swept = -math.inf
        self._handled: set[str] = set()
        self._greenlet: gevent.Greenlet[..., Any] | None = None

    def send(self, name: str, message: Mapping[str, Any], topic: str) -> None:
        """See `Coordination.send`."""
        membership = self._ensemble.now()
        nodes, folder = membership.nodes, f"{INBOXES}/{inbox_name(name, topic)}"
        create = nodes.create(f"{folder}/msg-", json.dumps(message).encode(), sequential=True)
        try:
            membership.ask(create)
        except NoNodeError:
            for answer in membership.ask_all([nodes.create(folder), create]):
                if isinstance(answer, Exception) and not isinstance(answer, NodeExistsError):
                    raise answer from None

    def listen(self, handler: Handler, topic: str) -> None:
        """See `Coordination.listen`."""
        if self._greenlet is not None:
            raise RuntimeError("this inbox has its handler already")
        self._folder = f"{INBOXES}/{inbox_name(self._name, topic)}"
        self._greenlet = supervise.spawn("the reader of the inbox", partial(self._run, handler), supervise.end_process)

    def close(self) -> None:
        """Stop reading. A message whose handler has not returned stays."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def disown(self) -> None:
        """Stop reading in a forked child; the parent reads on."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _run(self, handler: Handler) -> None:
        trouble = Trouble(log, "the inbox cannot be read")
        while True:
            membership = self._ensemble.wait()
            assert membership is not None
            try:
                self._read(membership, handler, trouble.end)
            except CoordinationAway:
                gevent.sleep(PAUSE)
            except KazooException as error:
                if isinstance(error, NoNodeError):
                    self._ensemble.mend(membership)
                gevent.sleep(trouble.pause(repr(error)))

    def _read(self, membership: Membership, handler: Handler, well: Callable[[], None]) -> None:
        """Handle messages for as long as the session lives. `well` is called after each list that succeeds.

        The own folder is made first: ZooKeeper may have lost its data since the last session.
        """
        changed = membership.event()
        self._swept = -math.inf

        def watch(_: Any) -> None:
            changed.set()

        while not membership.session.over:
            changed.clear()
            if boottime() >= self._swept + SWEEP:
                self.sweep(membership)
            names = membership.ask(membership.nodes.children(self._folder, watch))
            well()
            self._handle_all(membership, [f"{self._folder}/{name}" for name in _in_order(names)], handler)
            changed.wait(max(0.0, self._swept + SWEEP - boottime()))

    def _handle_all(self, membership: Membership, paths: Sequence[str], handler: Handler) -> None:
        for path, node in zip(paths, membership.read(paths), strict=True):
            if isinstance(node, tuple) and path not in self._handled:
                handle(handler, node[0] or b"")
            self._handled.add(path)  # not handled again if the deletion has no answer
            with contextlib.suppress(NoNodeError):
                membership.ask(membership.nodes.delete(path))
            self._handled.discard(path)

    def sweep(self, membership: Membership, unused: float = UNUSED) -> None:
        """Mark the own inbox as used, and delete the inboxes without a mark for `unused` seconds."""
        nodes = membership.nodes
        membership.ask_all([nodes.create(self._folder)])
        renew(membership, self._folder)
        now = membership.ask(nodes.write(self._folder, b"")).mtime
        names, live = membership.ask_each([nodes.children(INBOXES), nodes.children("/executors")])
        folders = [f"{INBOXES}/{name}" for name in sorted(names) if inbox_owner(name) not in live]
        for folder, node in zip(folders, membership.read(folders), strict=True):
            if isinstance(node, tuple) and now - node[1].mtime > 1000 * unused:
                log.info("%s is deleted: unused for longer than %g s", folder, unused)
                messages = membership.ask(nodes.children(folder))
                membership.ask_all(nodes.delete(path) for path in [*(f"{folder}/{name}" for name in messages), folder])
        self._swept = boottime()


def _in_order(names: Iterable[str]) -> list[str]:
    sequences = {name: int(match[1]) for name in names if (match := _MESSAGE.match(name))}
    return by_sequence(sequences, sequences.__getitem__)
