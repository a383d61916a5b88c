"""Tests of actions: an action is run here as an executor would run it, without server and queue.

`run_action` is one call for the whole life of a job; `Rehearsal` goes attempt by attempt. `geventjob.testing.plugin` is
the plugin for pytest (docs/how-to/test-actions.md).
"""

from geventjob.testing.rehearsal import Rehearsal, run_action
from geventjob.testing.stub import SteppedClock

__all__ = ["Rehearsal", "SteppedClock", "run_action"]
