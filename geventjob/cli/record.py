"""The record of a run in words: for `geventjob show --record` and `geventjob stack`."""

from __future__ import annotations

from typing import Any

from geventjob.cli.screen import Screen, span

WHY = {
    "timeout": "timed out",
    "stop": "was stopped",
    "loss": "lost its job",
    "shutdown": "was ended by a shutdown",
    "abandonment": "was abandoned: it swallows its end",
    "asked": "runs",
}


def print_record(screen: Screen, record: dict[str, Any]) -> None:
    """Print a record: the facts, the last lines, and the stack, the innermost call last."""
    why = WHY.get(record["why"], record["why"])
    screen.line(f"--- attempt {record['attempt']} on {record['executor']} {why}, {record['at']} ---", "dim")
    facts = {
        "ran for": span(record["ran"]),
        "hub held": f"{record['hubHeld']:g} s at most",
        "session": record["session"],
        "progress": f"{record['progress']:g} %" if "progress" in record else None,
    }
    for name, fact in facts.items():
        if fact is not None:
            screen.line(f"{name:<9} {fact}")
    for title, text in (("last lines", record.get("lines")), ("stack", record["stack"])):
        if text:
            screen.line(f"{title}:")
            for line in text.splitlines():
                screen.line(f"  {line}")
