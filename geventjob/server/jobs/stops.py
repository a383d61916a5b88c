"""Stop a job, and choose one of many stops to send the message to its executor.

`_stop` in the document is the stop that sends the message, and its time:
`["<name of the stop>", <seconds since 1970>]`.
"""

from __future__ import annotations

from datetime import datetime

from geventjob.cimi.document import Document
from geventjob.server.life.changes import changed

RETELL = 60.0
"""Seconds after which another stop sends the message again: the server of the first stop may have died before."""


def stopped(job: Document, *, now: datetime, teller: str = "") -> Document:
    """Return the job after a stop with the name `teller`; the very same document if the stop changes nothing."""
    state = job["state"]
    if state == "QUEUED":
        return changed(job, {"state": "STOPPED"}, (), now)
    if state == "RUNNING":
        return changed(job, {"state": "STOPPING"}, (), now) | {"_stop": [teller, now.timestamp()]}
    if state == "STOPPING" and ("_stop" not in job or now.timestamp() - job["_stop"][1] > RETELL):
        return job | {"_stop": [teller, now.timestamp()]}
    return job


def tells(job: Document, teller: str) -> bool:
    """Return whether the stop with this name must send the message to the executor of the job, which is STOPPING."""
    return bool(job["state"] == "STOPPING" and job.get("_owned") and job["_stop"][0] == teller)


def untold(job: Document, teller: str) -> Document:
    """Return the job after the stop with this name failed to send its message, so that the next stop sends one."""
    if job.get("_stop", [""])[0] != teller:
        return job
    return {name: value for name, value in job.items() if name != "_stop"}
