"""Whether an executor takes jobs, and why not: the orders of administrators, and the announcement about them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from geventjob.clock import cimi_time, now
from geventjob.coordination.member import LONGEST_REASON, Announcement
from geventjob.executor.take import Taker
from geventjob.notify import Notifier

log = logging.getLogger(__name__)

IDENTITY = ("host", "pid", "since")
"""Facts in the announcement of an executor that tell its process from a later one of the same name."""


class Standing:
    """Quiet, resume and stop (docs/operations.md, "Quiet executors").

    A quiet executor takes no jobs, goes on with the jobs that it has, and keeps its session.
    """

    def __init__(
        self,
        taker: Taker,
        announcement: Announcement,
        notifier: Notifier,
        stop: Callable[[str], None],
    ) -> None:
        """Take jobs. `stop(why)` begins the graceful shutdown."""
        self._taker = taker
        self._announcement = announcement
        self._notifier = notifier
        self._stop = stop
        self._drains = False

    def obey(self, order: Mapping[str, Any]) -> None:
        """Carry out an order `{"order", "to", "by", "why"}`.

        An order to an earlier process of this name is ignored: messages outlive the process that they are for.
        """
        to, own = order["to"], self._announcement.info
        if any(to.get(name) != own[name] for name in IDENTITY):
            log.info("ignored an order to an earlier process: %s", order["order"])
            return
        why = " ".join(f"{order['by']}: {order.get('why') or ''}".split()).removesuffix(":")
        if self._drains:
            log.info("ignored an order, since this executor drains: %s, by %s", order["order"], why)
        elif order["order"] == "quiet":
            self.quiet(why)
        elif order["order"] == "resume":
            self.resume(why)
        elif order["order"] == "stop":
            log.info("this executor is stopped by %s", why)
            self._stop(why)
        else:
            log.warning("unknown order: %.200r", order)

    def quiet(self, why: str) -> None:
        """Take no more jobs until `resume`."""
        self._taker.quiet()
        log.info("this executor is quiet, it takes no more jobs: %s", why)
        self._tell("quiet", why)

    def resume(self, by: str) -> None:
        """Take jobs again."""
        self._taker.resume()
        log.info("this executor takes jobs again: %s", by)
        self._announcement.tell(quiet=None)
        self._notifier.status("")

    def drain(self, why: str) -> None:
        """Take no more jobs: the process ends when its jobs have ended."""
        self._drains = True
        self._taker.stop()
        self._tell("draining", why)

    def _tell(self, state: str, why: str) -> None:
        """Show the state in `geventjob nodes` and in `systemctl status`."""
        why = why[:LONGEST_REASON]
        self._announcement.tell(quiet={"state": state, "why": why, "at": cimi_time(now())})
        self._notifier.status(f"{state}: {why}")
