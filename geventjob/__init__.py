"""A distributed job engine for I/O-bound work.

The names here are for programs, actions and distributors. Each is loaded on first use, so that
`from geventjob import Client` loads neither gevent nor any part of the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geventjob.cimi.client import Client
    from geventjob.cimi.outcome import JobFailed
    from geventjob.ends import JobLost, JobStopped, ProcessDied
    from geventjob.executor.job import Job
    from geventjob.plugins import Action, Distributor, action, distributor
    from geventjob.plugins.retries import Backoff, GiveUp, Retry

    __version__: str

__all__ = [
    "Action",
    "Backoff",
    "Client",
    "Distributor",
    "GiveUp",
    "Job",
    "JobFailed",
    "JobLost",
    "JobStopped",
    "ProcessDied",
    "Retry",
    "__version__",
    "action",
    "distributor",
]

_HOMES = {
    "Action": "geventjob.plugins",
    "Backoff": "geventjob.plugins.retries",
    "Client": "geventjob.cimi.client",
    "Distributor": "geventjob.plugins",
    "GiveUp": "geventjob.plugins.retries",
    "Job": "geventjob.executor.job",
    "JobFailed": "geventjob.cimi.outcome",
    "JobLost": "geventjob.ends",
    "JobStopped": "geventjob.ends",
    "ProcessDied": "geventjob.ends",
    "Retry": "geventjob.plugins.retries",
    "action": "geventjob.plugins",
    "distributor": "geventjob.plugins",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("geventjob")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
