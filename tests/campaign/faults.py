"""The faults of a schedule, carried out on a system."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from geventjob.cimi.errors import CimiError
from tests.campaign.network import Wire
from tests.campaign.schedule import Fault
from tests.campaign.system import System
from tests.support.fleet import Process

Undo = Callable[[], Any]
Strike = Callable[[Fault], Undo]


@dataclass
class _UnderWay:
    """A fault that has begun."""

    until: float
    undo: Undo
    said: dict[str, Any]


class Faults:
    """Carries faults out: each begins at its time, and is over some time later."""

    def __init__(self, system: System, payload: dict[str, Any]) -> None:
        """Keep the system. `payload`: of the jobs that fill the pool."""
        self.system = system
        self.skipped: dict[str, str] = {}
        """Kind of fault → why this machine cannot have it."""
        self._payload = payload
        if not system.mounted:
            self.skipped["disk"] = "a small disk needs root and the store SQLite"
        if not system.clocks:
            self.skipped["clock"] = "a clock of its own needs a C compiler, cc"

    def run(self, faults: list[Fault]) -> None:
        """Carry all out, and return when the last is over.

        One thread does so: a JVM that a thread has started ends with this thread (tests/support/zookeeper.py).
        """
        start = time.monotonic()
        ahead, under_way = deque(faults), list[_UnderWay]()
        while ahead or under_way:
            now = time.monotonic() - start
            if ahead and ahead[0].at <= now:
                under_way += self._begun(ahead.popleft(), now)
            for each in [each for each in under_way if each.until <= now]:
                under_way.remove(each)
                each.undo()
                self.system.recorder.note("over", **each.said)
            self.system.tend()
            time.sleep(0.02)

    def _begun(self, fault: Fault, now: float) -> list[_UnderWay]:
        """Begin a fault, and return how it ends; nothing if this machine cannot have it."""
        if fault.kind in self.skipped:
            return []
        said = {"kind": fault.kind, "target": fault.target}
        begun = self.system.recorder.note("fault", **said)
        strike: Strike = getattr(self, f"_{fault.kind}")
        return [_UnderWay(now + fault.lasts, strike(fault), {**said, "begun": begun})]

    # --- processes

    def _kill(self, fault: Fault) -> Undo:
        if fault.target.startswith("zookeeper"):
            return self._kill_nodes(self._nodes(fault.target))
        if fault.target == "elasticsearch":
            return self._kill_nodes(self.system.cluster.nodes)
        part = self.system.parts[fault.target]
        part.kill()
        return part.start

    def _kill_nodes(self, nodes: Sequence[Any]) -> Undo:
        down = self.system.down
        for node in nodes:
            down.append(node)
            node.kill()
        return lambda: [(node.start(), down.remove(node)) for node in nodes]

    def _freeze(self, fault: Fault) -> Undo:
        if fault.target.startswith("zookeeper"):
            [node] = self._nodes(fault.target)
        elif fault.target == "elasticsearch":
            node = self.system.cluster.nodes[0]
        else:
            return self._freeze_process(self.system.parts[fault.target].process)
        node.freeze()
        return lambda: node.thaw()

    @staticmethod
    def _freeze_process(process: Process | None) -> Undo:
        assert process is not None
        _send(process, signal.SIGSTOP)
        return partial(_send, process, signal.SIGCONT)

    def _nodes(self, target: str) -> list[Any]:
        """Return the nodes of ZooKeeper that a target names."""
        servers = self.system.ensemble.servers
        which = target.rpartition("-")[2]
        leaders = [server for server in servers if which != "majority" and _leads(server)] or servers[:1]
        return servers[:2] if which == "majority" else leaders[:1] if which == "leader" else [servers[int(which)]]

    # --- connections

    def _cut(self, fault: Fault) -> Undo:
        self.system.network.each(fault.target, Wire.cut)
        return lambda: None

    def _refuse(self, fault: Fault) -> Undo:
        def refuse(wire: Wire, refusing: bool) -> None:
            wire.refusing = refusing
            wire.cut()

        self.system.network.each(fault.target, lambda wire: refuse(wire, True))
        return lambda: self.system.network.each(fault.target, lambda wire: refuse(wire, False))

    def _delay(self, fault: Fault) -> Undo:
        def late(wire: Wire, seconds: float) -> None:
            wire.delay = seconds

        self.system.network.each(fault.target, lambda wire: late(wire, fault.amount))
        return lambda: self.system.network.each(fault.target, lambda wire: late(wire, 0.0))

    def _silence(self, fault: Fault) -> Undo:
        self.system.network.each(fault.target, lambda wire: wire.silence(True))
        return lambda: self.system.network.each(fault.target, lambda wire: wire.silence(False))

    # --- resources

    def _clock(self, fault: Fault) -> Undo:
        clock = self.system.parts[fault.target].clock
        clock.set(fault.amount)
        return lambda: clock.set(0)

    def _pool(self, fault: Fault) -> Undo:
        filler = threading.Thread(target=self._fill, args=(int(fault.amount),))
        filler.start()
        return filler.join

    def _fill(self, count: int) -> None:
        job = {"action": "recorded", "payload": self._payload}
        with contextlib.suppress(CimiError), self.system.client(patience=5) as client:
            for id in client.bulk_add([job] * count):
                if isinstance(id, str):
                    self.system.recorder.note("added", job=id, kind="plain")

    def _disk(self, fault: Fault) -> Undo:
        filling = self.system.data / "filling"
        with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        return filling.unlink


def _send(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _leads(server: Any) -> bool:
    return bool(server.running and server.leads())
