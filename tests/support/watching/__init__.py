"""Scenarios for the watch over actions, each run in a process of its own: `python -m tests.support.watching NAME`.

Scenarios use SIGALRM, kernel timers and callbacks of the garbage collector, which a process has only once. A scenario
is a function whose return value is printed as JSON; `tests/unit/test_watch*.py` holds the expected values.
"""
