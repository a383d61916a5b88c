"""The lines that actions log, kept with their jobs (docs/reference/api.md, "Logs").

The lines of a run go to the server each EVERY seconds, and at its end with the outcome. A run that logs nothing costs
nothing here. A line that cannot be sent in time is lost to the job, never to the log of the executor.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import cast

import gevent

from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError, Refused
from geventjob.coordination.base import Claim
from geventjob.executor.decision import Decision
from geventjob.executor.lines import Lines
from geventjob.executor.running import running_in
from geventjob.executor.work import LAST_WRITE, Work
from geventjob.executor.writes import ClaimLost, OutOfPatience, Writes
from geventjob.log.formatting import LineFormatter, format_time, printable

EVERY = 2.0
"""Seconds between two writes of a run's lines."""
LONGEST = 8_000
"""Characters of one line."""


class KeptLogs(logging.Handler):
    """The handler that keeps lines of actions, and the greenlet that sends them."""

    def __init__(self, writes: Writes, client: Client) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._writes = writes
        self._client = client
        self._works: dict[Claim, Work] = {}
        self._dirty: set[Work] = set()

    def start(self) -> None:
        """Keep the lines that are logged from now on, until `close`."""
        logging.getLogger().addHandler(self)

    def close(self) -> None:
        """Keep no more lines."""
        logging.getLogger().removeHandler(self)
        super().close()

    # --- hooks of a run

    def started(self, work: Work) -> None:
        """Keep the lines of this run from now on."""
        self._works[work.claim] = work

    def ended(self, work: Work, decision: Decision) -> None:
        """Leave the lines of this run to its outcome. The lines of code that runs on are not kept."""
        self._works.pop(work.claim, None)
        self._dirty.discard(work)

    # --- in the code that logs

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep the line of a record that an action logs. Never raises.

        Without a lock: the lines of native threads belong to no action, and greenlets do not switch in here but in the
        `__str__` of a message.
        """
        running = running_in(gevent.getcurrent())
        work = self._works.get(running.claim) if running else None
        if work is None:
            return False
        line = _line(record, cast(LineFormatter, self.formatter))
        work.lines = work.lines or Lines()
        work.lines.add(line)
        self._dirty.add(work)
        return True

    # --- the greenlet that sends

    def run(self) -> None:
        """Send the lines of all runs that have new ones, again and again."""
        while True:
            gevent.sleep(EVERY)
            dirty, self._dirty = self._dirty, set()
            if dirty:
                self._send_all(dirty)

    def _send_all(self, dirty: set[Work]) -> None:
        """Send the lines of these runs. While the server is away, they go with later ones."""
        try:
            keeps = self._client.dialect.keeps_logs
        except CimiError:
            self._dirty |= dirty
            return
        if keeps:
            gevent.joinall([gevent.spawn(self._send, work) for work in dirty])

    def _send(self, work: Work) -> None:
        field = work.log
        if not field or work.claim not in self._works:
            return
        try:
            with suppress(ClaimLost, Refused):
                self._writes.write(work.claim, {}, LAST_WRITE, field)
                assert work.lines
                work.lines.sent(field)
        except OutOfPatience:
            self._dirty.add(work)


def _line(record: logging.LogRecord, formatter: LineFormatter) -> bytes:
    text = formatter.text(record)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… (cut, {len(text)} characters)"
    line = printable(f"{format_time(record.created)} {record.levelname:<8} {record.name} {text}")
    return line.replace("\n", "\n    ").encode(errors="backslashreplace") + b"\n"
