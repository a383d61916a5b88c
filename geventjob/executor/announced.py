"""The announcement of an executor about its actions, within bounds: many processes read the announcement."""

from __future__ import annotations

import json
from typing import Any

from geventjob.coordination.member import left_out
from geventjob.executor.limits import JobLimits
from geventjob.job.shapes import announced
from geventjob.plugins import Actions, ActionSpec

LARGEST_OPTIONS = 20_000
"""Bytes of the options of all actions together."""


def told(actions: Actions, limits: JobLimits) -> dict[str, Any]:
    """Return the announced attributes: `actions`, `leftOut`, `parameters` and `options`, the last two by action."""
    specs = {name: spec for name in actions.names if (spec := actions.get(name))}
    parameters = {name: spec.parameters for name, spec in specs.items()}
    shapes = {name: each.shape() for name, each in parameters.items() if each.fillable or each.rest}
    return {
        "actions": actions.names,
        "leftOut": left_out(actions.failures),
        "parameters": announced(shapes),
        "options": _options(specs, limits),
    }


def _options(specs: dict[str, ActionSpec], limits: JobLimits) -> dict[str, dict[str, Any]]:
    """Return timeout (seconds of a job without its own), retries, isolation and file of each action.

    The last may not fit.
    """
    found: dict[str, dict[str, Any]] = {}
    room = LARGEST_OPTIONS
    for name, spec in specs.items():
        given = {
            "timeout": limits.timeout({}, spec),
            "retries": spec.retry.retries,
            "isolation": "process" if spec.isolation else None,
            "memory": spec.isolation.memory if spec.isolation else None,
            "file": spec.source,
        }
        option = {key: value for key, value in given.items() if value is not None}
        room -= len(json.dumps({name: option}))
        if room < 0:
            break
        found[name] = option
    return found
