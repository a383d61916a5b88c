"""`job`: the collection and its items (docs/reference/api.md, "Jobs")."""

from __future__ import annotations

import logging

import falcon

from geventjob.cimi.document import STOP, Document
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import MODIFY, acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import operation, public
from geventjob.server.gate.children import BATCH, is_open
from geventjob.server.http.decode import decode
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_json, set_result
from geventjob.server.jobs.lifecycle import Edit, JobEdit
from geventjob.server.jobs.service import Jobs
from geventjob.server.problem import Problem
from geventjob.server.resources.collection import collection, one
from geventjob.server.resources.job_body import parse_job_add, parse_job_edit
from geventjob.server.resources.search_parameters import parameters, search_query, selection

log = logging.getLogger(__name__)

_ACL = acl("ROLE", "ADMIN", [("ROLE", "USER", "VIEW")])
ACTIONS = ("close", "release", "rerun", "stack", "stop")
"""Operations of a job, by their names in the path."""


class JobResource:
    """Requests for single jobs, and searches."""

    def __init__(self, jobs: Jobs, sessions: Sessions) -> None:
        self._jobs = jobs
        self._sessions = sessions

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add a job."""
        caller = self._caller(req)
        caller.require_may_add()
        (added,) = self._jobs.add([parse_job_add(decode(read_body(req)))], caller)
        if isinstance(added, Exception):
            raise added
        set_result(resp, added, "created", 201)

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search the jobs that the caller may see."""
        caller = self._caller(req)
        caller.require_role("USER")
        given, wanted = search_query(req, caller)
        answer = collection(
            "job",
            self._jobs.search(wanted, caller),
            acl=_ACL,
            operations=_collection_operations(caller),
            item_operations=lambda job: _operations(job, caller),
            select=selection(given),
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one job."""
        caller = self._caller(req)
        job = self._jobs.get(f"job/{name}", caller)
        set_json(resp, one(req, job, _operations(job, caller)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Edit a job and respond with the whole job: SlipStream's engine takes its state from the response."""
        caller = self._caller(req)
        given = parameters(req)
        force = given.get("force", ("false",))[0] == "true"
        if force:
            caller.require_role("ADMIN")
        delete = [path for path in selection(given) or () if "/" not in path]
        edit = Edit(parse_job_edit(decode(read_body(req)), delete), delete, force=force)
        if force:
            log.warning("job/%s: %s forces an edit of %s", name, caller.username, ", ".join([*edit.set, *delete]))
        (edited,) = self._jobs.edit([JobEdit(f"job/{name}", edit)], caller)
        if isinstance(edited, Exception):
            raise edited
        set_json(resp, public(edited))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete a job and its entry in the queue."""
        self._jobs.delete(f"job/{name}", self._caller(req))
        set_result(resp, f"job/{name}", "deleted")

    def on_get_record(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with what the runs of a job were doing when they were ended."""
        set_json(resp, self._jobs.record(f"job/{name}", self._caller(req)))

    def on_get_log(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with the last lines that the action has logged."""
        set_json(resp, self._jobs.log(f"job/{name}", self._caller(req)))

    def on_post_action(self, req: falcon.Request, resp: falcon.Response, name: str, action: str) -> None:
        """Stop, release or run again a job, ask for the stack of a running job, or close a batch."""
        if action == "rerun":
            read_body(req)
            set_result(resp, self._jobs.rerun(f"job/{name}", self._caller(req)), "created", 201)
            return
        do = {
            "stop": self._jobs.stop,
            "release": self._jobs.release,
            "stack": self._jobs.stack,
            "close": self._jobs.close_batch,
        }.get(action)
        if do is None:
            message = f'undefined action (post, ["job" "{action}"]) for {req.path}'
            raise Problem(404, message, resource_id=req.path)
        read_body(req)
        set_json(resp, public(do(f"job/{name}", self._caller(req))))

    def on_get_why(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Explain the state of a job."""
        set_json(resp, self._jobs.why(f"job/{name}", self._caller(req)))

    def _caller(self, req: falcon.Request) -> Caller:
        return self._sessions.caller_of(req)


def _operations(job: Document, caller: Caller) -> list[dict[str, str]]:
    """Return the operations of a job. Stop is listed in every state and for all rights, as in SlipStream."""
    id = job["id"]
    own = [operation("edit", id), operation("delete", id)] if caller.may(MODIFY, job) else []
    release = [operation("release", f"{id}/release")] if own and "until" in job.get("held", ()) else []
    close = [operation("close", f"{id}/close")] if own and BATCH in job and is_open(job) else []
    rerun = [operation("rerun", f"{id}/rerun")] if caller.may_add and job.get("state") in FINAL else []
    return [*own, *release, *close, *rerun, operation(STOP, f"{id}/stop")]


def _collection_operations(caller: Caller) -> list[dict[str, str]]:
    add = (
        [operation("add", "job"), operation("bulk-add", "job/bulk-add"), operation("batch", "job/batch")]
        if caller.may_add
        else []
    )
    delete = [operation("bulk-delete", "job/bulk-delete")] if caller.is_admin else []
    names = ["bulk-stop", "bulk-release", *(["bulk-rerun"] if caller.may_add else [])]
    delete += [operation(name, f"job/{name}") for name in names]
    return [*add, operation("bulk-edit", "job/bulk-edit"), *delete]
