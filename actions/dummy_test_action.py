"""A test action, which sleeps, computes or fails as its payload asks."""

import time
from typing import Any

from geventjob import Action, action

STEPS = 4
SECONDS = 0.02
WANTED = {"seconds": SECONDS, "compute": 0, "return_code": 0, "error": None}


@action("dummy_test_action")
class DummyTestAction(Action):
    """An action that sleeps a little and sets its progress.

    The payload may hold `seconds` to sleep, seconds to `compute` without a pause, the `return_code`, and the text of
    an `error` to raise.
    """

    def do_work(self) -> int:
        """Sleep and compute in steps, and return the return code. Raises ValueError, RuntimeError."""
        wanted = self.wanted()
        for step in range(STEPS):
            time.sleep(wanted["seconds"] / STEPS)
            compute(wanted["compute"] / STEPS)
            if wanted["seconds"] + wanted["compute"] > 1 and step < STEPS - 1:
                self.job.set_progress(100 * (step + 1) // STEPS)
        if wanted["error"] is not None:
            raise RuntimeError(wanted["error"])
        return int(wanted["return_code"])

    def wanted(self) -> dict[str, Any]:
        """Return the payload with defaults. Raises ValueError."""
        wanted = {**WANTED, **self.job.payload}
        for name, value in wanted.items():
            if name not in WANTED:
                raise ValueError(f"payload: unknown {name!r}, expected {', '.join(WANTED)}")
            if name == "error":
                continue
            whole = name == "return_code"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value < 0:
                raise ValueError(f"payload: {name}: expected a {'whole ' if whole else ''}number from 0, not {value!r}")
        return wanted


def compute(seconds: float) -> int:
    """Burn the processor, without a pause."""
    end = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < end:
        turns += 1
    return turns
