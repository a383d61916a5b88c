"""A member of a fleet in a process of its own, which tests freeze and kill. Run as a module, the process itself."""

from __future__ import annotations

if __name__ == "__main__":
    import geventjob.patch  # noqa: F401

import json
import os
import signal
import sys
import traceback
from itertools import count
from typing import Any

import gevent
from gevent import subprocess
from gevent.event import AsyncResult
from gevent.fileobject import FileObject

from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Leadership, Session
from tests.support.waiting import eventually


class Process:
    """The process as the test sees it. Calls go over a pipe to the `Servant`; a call may be awaited later."""

    def __init__(self, where: dict[str, Any], name: str, timeout: float) -> None:
        self._numbers = count(1)
        self._answers: dict[int, AsyncResult[Any]] = {}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.coordination.process", json.dumps([where, name, timeout])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = gevent.spawn(self._read)
        self.name = name
        self.call("ready")

    @property
    def pid(self) -> int:
        return self._popen.pid

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of the servant's method."""
        return self.begin(method, *arguments).get(timeout=60)

    def begin(self, method: str, *arguments: Any) -> AsyncResult[Any]:
        number = next(self._numbers)
        answer: AsyncResult[Any] = AsyncResult()
        self._answers[number] = answer
        self._popen.stdin.write(json.dumps([number, method, arguments]).encode() + b"\n")
        self._popen.stdin.flush()
        return answer

    def is_dead(self) -> bool:
        return self._popen.poll() is not None

    def stop(self) -> None:
        """Freeze all threads of the process, and check that they are frozen."""
        os.kill(self.pid, signal.SIGSTOP)
        eventually(lambda: self._state() == "T")

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process with SIGKILL, frozen or not."""
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
        self._reader.join()
        self._popen.stdin.close()
        self._popen.stdout.close()

    def _state(self) -> str:
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def _read(self) -> None:
        for line in self._popen.stdout:
            number, result, error = json.loads(line)
            if error is None:
                self._answers.pop(number).set(result)
            else:
                self._answers.pop(number).set_exception(AssertionError(error))


class Servant:
    """Carries out the calls of the test with a coordination. Objects that JSON cannot hold have names."""

    def __init__(self, where: dict[str, Any], name: str, timeout: float) -> None:
        from tests.contract.coordination.fleets import connect

        self._coordination = connect(where, name, timeout)
        self._coordination.on_lost = self._on_lost
        self._coordination.on_session = self._on_session
        self._claims: dict[str, Claim] = {}
        self._lost: list[list[str]] = []
        self._sessions: list[Session] = []
        self._messages: list[Any] = []
        self._led: list[list[float]] = []
        self._coordination.start()

    def ready(self) -> int:
        return os.getpid()

    def put(self, *items: list[Any]) -> list[str]:
        return self._coordination.put([(job, priority) for job, priority in items])

    def take(self, limit: int, timeout: float | None) -> list[str]:
        claims = self._coordination.take(limit, timeout=timeout)
        self._claims.update((claim.entry, claim) for claim in claims)
        return [claim.entry for claim in claims]

    def consume(self, *entries: str) -> None:
        self._coordination.consume([self._claims[entry] for entry in entries])

    def release(self, *entries: str) -> None:
        self._coordination.release([self._claims[entry] for entry in entries])

    def are_lost(self, *entries: str) -> list[bool]:
        return [self._claims[entry].lost for entry in entries]

    def losses(self) -> list[list[str]]:
        """Return the entries of each call of `on_lost`."""
        return self._lost

    def sessions(self) -> int:
        return len(self._sessions)

    def announce(self, role: str, info: dict[str, Any]) -> None:
        self._coordination.announce(role, info)

    def lead(self, election: str) -> float:
        """Lead, and record how long leadership is held. Return the time of the election (boottime)."""
        leadership = self._coordination.lead(election)
        assert leadership is not None
        moments = [boottime()] * 2
        self._led.append(moments)
        gevent.spawn(self._note, leadership, moments)
        return moments[0]

    def led(self) -> list[list[float]]:
        """Return for each leadership the first and the last moment at which it was held."""
        return self._led

    def listen(self, dies_in: Any = None) -> None:
        """Keep each message. Die while handling the message that equals `dies_in`."""

        def handle(message: dict[str, Any]) -> None:
            if message == dies_in:
                os.kill(os.getpid(), signal.SIGKILL)
            self._messages.append(message)

        self._coordination.listen(handle)

    def messages(self) -> list[Any]:
        return self._messages

    def _note(self, leadership: Leadership, moments: list[float]) -> None:
        while True:
            now = boottime()  # read before `held`: the process may freeze between the two
            if not leadership.held:
                break
            moments[1] = now
            gevent.sleep(0.001)

    def _on_lost(self, claims: Any) -> None:
        self._lost.append([claim.entry for claim in claims])

    def _on_session(self, session: Session) -> None:
        self._sessions.append(session)


def _serve(servant: Servant, number: int, method: str, arguments: list[Any]) -> None:
    try:
        answer = [number, getattr(servant, method)(*arguments), None]
    except Exception:
        answer = [number, None, traceback.format_exc()]
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    servant = Servant(*json.loads(sys.argv[1]))
    for line in FileObject(sys.stdin.fileno(), "rb", closefd=False):
        gevent.spawn(_serve, servant, *json.loads(line))


if __name__ == "__main__":
    main()
