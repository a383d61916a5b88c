"""Ask the executor of a running job for its stack, which comes back as a record of the job."""

from __future__ import annotations

from uuid import uuid4

from geventjob.cimi.document import Document
from geventjob.coordination.base import Coordination
from geventjob.server.gate.entries import entries_of
from geventjob.server.problem import Problem


def ask_for_stack(coordination: Coordination, job: Document) -> Document:
    """Send the request to the executor of the job. Return the text by which its record is known, `request`.

    Raises Problem 409 for a job that no executor of ours runs, CoordinationError.
    """
    executor = job.get("executor")
    holder = None
    if job["state"] in ("RUNNING", "STOPPING") and job.get("_owned"):
        (holder,) = coordination.holders(entries_of([job]))
    if holder is None or holder != executor:
        raise Problem(409, f"{job['id']} is {job['state']}: no executor runs it", resource_id=job["id"], job=job)
    request = uuid4().hex
    coordination.send(holder, {"stack": job["id"], "fence": job["fence"], "request": request})
    return {"id": job["id"], "executor": executor, "request": request}
