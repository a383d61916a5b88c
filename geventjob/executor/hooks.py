"""The hooks of a run: functions that are called when an action is about to start, and when its end is decided.

A hook has a file of its own and does one thing (`run_log` writes the log). It runs in the greenlet of the run: an
exception that it raises is logged and changes nothing, a hook that waits delays the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from geventjob.executor.decision import Decision
from geventjob.executor.work import Work

log = logging.getLogger(__name__)

OnStart = Callable[[Work], None]
"""Called when the job is RUNNING, before the action's code begins."""
OnEnd = Callable[[Work, Decision], None]
"""Called once for each run that was started, before the decision is carried out. A refusal of the server may still
lead to another decision."""


@dataclass(frozen=True)
class Hooks:
    """The hooks of an executor, called in their order."""

    on_start: Sequence[OnStart] = ()
    on_end: Sequence[OnEnd] = ()

    def start(self, work: Work) -> None:
        """Call the hooks of a start."""
        for hook in self.on_start:
            _call(hook, work)

    def end(self, work: Work, decision: Decision) -> None:
        """Call the hooks of an end."""
        for hook in self.on_end:
            _call(hook, work, decision)


def _call(hook: Callable[..., None], work: Work, *rest: Any) -> None:
    try:
        hook(work, *rest)
    except Exception:
        log.exception("%s: a hook of its run failed", work.claim.job)
