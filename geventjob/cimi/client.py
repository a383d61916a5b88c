"""The client of a job server, for any program: safe for threads and greenlets, without monkey-patching."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import formatdate, parsedate_to_datetime
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

from geventjob.cimi.answers import AddedAnswer
from geventjob.cimi.batches import JobBatch
from geventjob.cimi.body import encoded
from geventjob.cimi.dialects import Dialect, EditAnswer
from geventjob.cimi.document import ALL_ACTIONS, NEW_KEY, Document, new_key
from geventjob.cimi.errors import CimiError, Conflict, ForeignAnswer, Refused, ServerAway
from geventjob.cimi.filters import quoted
from geventjob.cimi.jobs import JobRequests
from geventjob.cimi.outcome import await_end, output_of
from geventjob.cimi.patience import patiently
from geventjob.cimi.session import CimiSession, by_key, by_password
from geventjob.cimi.transport import Request, Transport
from geventjob.clock import cimi_time

T = TypeVar("T")


class NewKey(msgspec.Struct):
    """An API key just after it was made."""

    id: str = msgspec.field(name="resource-id")
    secret: str = msgspec.field(name="secretKey")

    def __repr__(self) -> str:
        return f"NewKey({self.id!r})"


class _Nodes(msgspec.Struct):
    nodes: list[Document]


class _Attention(msgspec.Struct):
    attention: list[Document]


class _Distributors(msgspec.Struct):
    distributors: list[Document]


class _Sessions(msgspec.Struct):
    sessions: list[Document]


class _Pauses(msgspec.Struct):
    pauses: list[Document]


class FiredTick(msgspec.Struct):
    """The result of a tick: its jobs, or why it did not fire."""

    status: int
    message: str = ""
    jobs: list[str] = []


class _FiredTicks(msgspec.Struct):
    results: list[FiredTick]


class _Searched(msgspec.Struct):
    """The part of a search's answer that is checked."""

    count: int
    """SlipStream answers null if its store refused the query (docs/slipstream.md)."""


class Client:
    """A client that speaks to a CIMI server as one user.

    Every method raises ServerAway (no connection, no answer in time, 5xx, 429; `retry_after`: the pause that the server
    asked for), LoginRefused, or a kind of Refused: NotFound, Forbidden, Invalid, Conflict. The client logs in by
    itself, and again when its session has ended.
    """

    def __init__(
        self,
        url: str,
        user: str | None = None,
        password: str | None = None,
        *,
        key: str | None = None,
        secret: str | None = None,
        ca: str | None = None,
        insecure: bool = False,
        connections: int = 10,
        timeout: tuple[float, float] = (5, 30),
        patience: float = 30,
        max_body: int | None = None,
    ) -> None:
        """Keep the settings, and send nothing yet.

        `url` may hold several addresses of one service, comma-separated; the client stays with an address that answers.
        The log-in is as `user`, with an API `key`, or none. `ca`: file or folder of certificates to trust; `insecure`
        trusts any. `connections`: most calls at once, further calls wait. `timeout`: seconds to connect, seconds to
        wait for an answer. `patience`: seconds for which an add is tried again while the server is away. `max_body`:
        bytes that a proxy on the way takes in one request; bulk requests stay below (without it: as much as the server
        takes, less after a refusal for size).

        Raises ValueError for an impossible URL, and for a user together with a key.
        """
        if user is not None and key is not None:
            raise ValueError("both a user and a key were given: give one of them")
        self.url = url
        self.user = user
        self.key = key
        self.patience = patience
        self.max_body = max_body
        transport = Transport(url, ca=ca, insecure=insecure, connections=connections, timeout=timeout)
        self._session = CimiSession(transport, _log_in(user, password, key, secret))
        self._jobs = JobRequests(
            self._session, self._entry_point, connections=connections, patience=patience, max_body=max_body
        )
        self._entry_points: dict[str, str] | None = None

    def __repr__(self) -> str:
        who = f"user={self.user!r}" if self.key is None else f"key={self.key!r}"
        return f"Client({self.url!r}, {who})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client may still be used."""
        self._session.transport.close()

    def log_in_as(
        self, user: str | None = None, password: str | None = None, key: str | None = None, secret: str | None = None
    ) -> None:
        """Log in as this user, or with this API key, before the next request; nothing is sent for the same log-in."""
        self.user, self.key = user, key
        self._session.log_in_as(_log_in(user, password, key, secret))

    def log_out(self) -> None:
        """End the session on the server, if there is one. Raises no CimiError."""
        self._session.log_out()

    # --- one resource

    def get(self, id: str, select: Iterable[str] | None = None) -> Document:
        """Return the resource with this id; with `select`, only its id and the named attributes."""
        query = [("$select", ",".join(_with_id(select)))] if select is not None else []
        return self._session.call("GET", id, query=query, answer=Document)

    def add(self, kind: str, doc: Mapping[str, Any]) -> str:
        """Add a resource to a collection (`job`), and return its id.

        A job without an idempotencyKey is given one, so that the repeated tries during `patience` seconds never double
        the job (docs/reference/api.md, "Jobs"). A SlipStream server knows no keys: there an add is not tried again, and
        may have succeeded when ServerAway is raised. Raises ValueError for a number that JSON lacks, with its place.
        """
        if kind != "job":
            return self._session.call("POST", kind, json=doc, answer=AddedAnswer).id
        return self._jobs.add_one(encoded(_keyed(doc)))

    def submit(
        self,
        action: str,
        payload: Mapping[str, Any] | None = None,
        *,
        target: str | None = None,
        priority: int | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        not_before: datetime | str | None = None,
        expires: datetime | str | None = None,
        after: Sequence[str] = (),
        when_failed: Literal["fail", "run", "stop"] | None = None,
        key: str | None = None,
        unique: Mapping[str, Any] | None = None,
        if_exists: Literal["fail", "return"] = "fail",
    ) -> str:
        """Add a job, and return its id; `add` says what happens while the server is away.

        The names are those of `geventjob submit` (docs/reference/cli.md). `timeout`: seconds that a run may take.
        `not_before`, `expires`: an aware datetime, or a text as the server takes it, such as `+2h`. `after`: ids of
        jobs that must end before this one begins; `when_failed` says what this job does if one of them does not end in
        SUCCESS: `fail` (the default), `run` or `stop`. `key`: idempotency key: a second submit of the same job with
        this key returns the id of the first. `unique`: the values that one job has at a time, as `{"by":
        ["action", "payload.account"], "while": "active"}`; if another job has the values, Conflict with the reason
        `unique` is raised, or with `if_exists="return"` the id of that job is returned. Raises ValueError for a
        datetime without a time zone, and for `when_failed` without `after`.
        """
        if when_failed is not None and not after:
            raise ValueError("when_failed: says something only with after")
        job = {
            "action": action,
            "payload": payload,
            "targetResource": None if target is None else {"href": target},
            "priority": priority,
            "name": name,
            "tags": list(tags) or None,
            "properties": properties or None,
            "timeout": timeout,
            "retries": retries,
            "notBefore": _moment("not_before", not_before),
            "expires": _moment("expires", expires),
            "after": _after(after, when_failed),
            "idempotencyKey": key,
            "unique": unique,
        }
        try:
            return self.add("job", {attribute: value for attribute, value in job.items() if value is not None})
        except Conflict as error:
            if if_exists != "return" or error.reason != "unique" or error.resource_id is None:
                raise
            return error.resource_id

    def batch(
        self,
        action: str,
        payload: Mapping[str, Any] | None = None,
        *,
        when_failed: Literal["fail", "run", "stop"] = "fail",
        key: str | None = None,
        **attributes: Any,
    ) -> JobBatch:
        """Open a batch, whose callback has this action: `with client.batch("report") as batch: batch.add("count")`.

        The callback runs when the block has ended and all jobs have. `when_failed`: what the callback does if one of
        them has not ended in SUCCESS. `key`: idempotency key; a program that is started again with the key goes on
        with its batch, and adds no job twice, if it adds the same jobs in the same order. `attributes`: others of the
        callback, as the server names them.
        """
        key = key or new_key()
        callback = {"action": action, **({} if payload is None else {"payload": payload}), **attributes}
        body = {"callback": {**callback, "idempotencyKey": key}, "whenFailed": when_failed, "open": True}

        def opened() -> str:
            return self._ours("POST", "job/batch", json=body, answer=AddedAnswer).id

        id = patiently(opened, self.patience)
        return JobBatch(id, key, self.bulk_add, lambda: patiently(lambda: self.operation(id, "close"), self.patience))

    def children(self, id: str, select: Iterable[str] | None = None, page: int = 100) -> Iterator[Document]:
        """Yield the jobs that name this one as their `parentJob`, in the order of their ids, `page` of them at a time.

        `select`: attributes besides `id`. Only jobs that this user may see are found.
        """
        last = ""
        while True:
            found = self.search(
                "job", filter=f"parentJob='{id}' and id>'{last}'", orderby="id", last=page, select=select
            )["jobs"]
            yield from found
            if len(found) < page:
                return
            last = found[-1]["id"]

    def wait(self, id: str, timeout: float | None = None) -> Document:
        """Return the job once it has ended. Raises TimeoutError after `timeout` seconds; the job goes on.

        A server that is away is asked again for `patience` seconds.
        """

        def state() -> str:
            return str(patiently(lambda: self.get(id, select=["state"]), self.patience)["state"])

        await_end(id, state, timeout)
        return patiently(lambda: self.get(id), self.patience)

    def result(self, id: str, timeout: float | None = None) -> Any:
        """Wait for a job, and return its output, None if it has none.

        Raises JobFailed, with the job's message, for a job that ends in FAILED or STOPPED; TimeoutError as `wait`.
        """
        return output_of(self.wait(id, timeout))

    def new_key(self, *, name: str | None = None, days: float | None = None, roles: Sequence[str] = ()) -> NewKey:
        """Make an API key for this user. The secret is never shown again.

        `days`: days until the key expires, None for never. `roles`: the roles of the key; without, all roles of the
        user.
        """
        template: Document = {"href": NEW_KEY}
        if days is not None:
            template["ttl"] = max(1, round(days * 86_400))
        if roles:
            template["roles"] = " ".join(roles)
        doc = {"credentialTemplate": template} | ({"name": name} if name else {})
        return self._session.call("POST", "credential", json=doc, answer=NewKey)

    def sessions(self, user: str | None = None) -> list[Document]:
        """Return the live sessions that this user may see, the newest first; with `user`, those of that user."""
        query = [("all", "true"), ("$orderby", "created:desc")]
        query += [("$filter", f"username={quoted(user)}")] if user is not None else []
        return self._session.call("GET", "session", query=query, answer=_Sessions).sessions

    def edit(self, id: str, set: Mapping[str, Any], delete: Iterable[str] = ()) -> Document:
        """Set attributes and delete others, and return the whole resource. An attribute that is set is not deleted."""
        names = ",".join(delete)
        query = [("$select", names)] if names else []
        return self._session.call("PUT", id, query=query, json=set, answer=Document)

    def delete(self, id: str) -> Document:
        """Delete a resource, and return the answer of the server."""
        return self._session.call("DELETE", id, answer=Document)

    def operation(self, id: str, rel: str, data: Mapping[str, Any] | None = None) -> Document:
        """Carry out an operation of a resource, by name (`stop`) or full URI, and return the answer of the server."""
        return self._session.call("POST", f"{id}/{rel.rpartition('/')[2]}", json=data, answer=Document)

    def log(self, id: str) -> Document:
        """Return the log of a job: its `state`, and `attempts` with the `text` of each (docs/reference/api.md)."""
        return self._ours("GET", f"{id}/log", answer=Document)

    def stack(self, id: str) -> Document:
        """Ask the executor of a running job for its stack: a record with this `request` follows. Raises Conflict."""
        return self._ours("POST", f"{id}/stack", answer=Document)

    def record(self, id: str) -> Document:
        """Return the `records` of a job: what its runs were doing when they were ended (docs/reference/api.md)."""
        return self._ours("GET", f"{id}/record", answer=Document)

    # --- many

    def entry_points(self) -> dict[str, str]:
        """Return the collections of the server by the plurals of their names (`jobs` → `job`).

        The server is asked once.
        """
        if self._entry_points is None:
            found = self._entry_point()
            hrefs = {name: value.get("href") for name, value in found.items() if isinstance(value, dict)}
            self._entry_points = {name: href for name, href in hrefs.items() if isinstance(href, str)}
        return self._entry_points

    def search(self, kind: str, **params: Any) -> Document:
        """Search a collection (`job`), and return a page: `count` (of all matches), `jobs`, and `aggregations` if asked
        for.

        Parameters: `filter`, `first`, `last`, `orderby`, `select`, `aggregation`. A list stands for a repeated
        parameter, None for no parameter. `id` is always selected.
        """
        if params.get("select") is not None:
            params["select"] = _with_id(_listed(params["select"]))
        form = [(f"${name}", str(value)) for name, values in params.items() for value in _listed(values)]
        page = self._session.call("PUT", kind, form=form, answer=Document)
        try:
            msgspec.convert(page, _Searched)
        except msgspec.ValidationError as error:
            raise ServerAway(f"a search of {kind} was answered in a shape that is not CIMI's: {error}") from None
        return page

    def bulk_add(self, jobs: Iterable[Mapping[str, Any]]) -> list[str | Refused]:
        """Add many jobs, as `add` does, and return in their order the id of each job or its refusal.

        Give a job an idempotencyKey if it must be added once even when this call fails and is repeated.
        """
        return self._jobs.add([encoded(_keyed(job)) for job in jobs])

    def bulk_edit(
        self,
        edits: Iterable[Mapping[str, Any]],
        *,
        actions: Sequence[str] | None = None,
        answer: EditAnswer = "job",
        held: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> list[Document | CimiError]:
        """Edit many jobs: `{"id", "set", "delete", "entry", "fence", "executor"}` each (docs/reference/api.md, "Jobs").

        Return in their order each job (`{"status": 200}` with `answer="status"`) or its error: Refused, or ServerAway
        if the server could not write this job. An edit to RUNNING is refused for a job whose action is not among
        `actions`. `held` is called with each edit at the moment of sending; an edit for which it returns False is not
        sent, and its result is a Conflict with the reason `fence`.
        """
        return self._jobs.edit(list(edits), actions, answer, held)

    def bulk_delete(self, filter: str) -> int:
        """Delete all jobs that match the filter, and return their number."""
        return self._jobs.delete(filter)

    def bulk_rerun(self, filter: str, key: str) -> Document:
        """Add a copy of each job that has ended and matches, and return the numbers `reran` and `refused`.

        With `more` in the answer, repeat the call with `id>'LAST'` for the `last` of the answer, and the same
        idempotency key: no job is copied twice for a key.
        """
        return self._ours("POST", "job/bulk-rerun", json={"filter": filter, "idempotencyKey": key}, answer=Document)

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """Return the ids of the jobs on this executor that must stop. `running`: the ids of all jobs that run there."""
        return self._jobs.stopping(executor, running)

    @property
    def dialect(self) -> Dialect:
        """The dialect of the server: geventjob's or SlipStream's.

        Asked for at first need, and again after ServerAway.
        """
        return self._jobs.dialect

    def _entry_point(self) -> Document:
        """Return the cloud entry point. Raises ServerAway if there is none: the URL leads elsewhere."""
        try:
            found = self.get("cloud-entry-point")
        except (Refused, ForeignAnswer) as error:
            raise ServerAway(f"{self.url} is no CIMI server: it has no cloud-entry-point: {error}") from error
        if not str(found.get("resourceURI", "")).endswith("/CloudEntryPoint"):
            raise ServerAway(f"{self.url} is no CIMI server: its cloud-entry-point is no CloudEntryPoint")
        return found

    # --- for operators

    def nodes(self) -> list[Document]:
        """Return the live executors, distributors and servers (docs/reference/api.md)."""
        return self._ours("GET", "node", answer=_Nodes).nodes

    def order_executor(self, name: str, order: Literal["quiet", "resume", "stop"], why: str | None = None) -> Document:
        """Let a live executor take no more jobs, take jobs again, or drain and end; `why` is shown in `nodes`.

        The executor carries the order out within moments. Raises NotFound, with the nearest names.
        """
        body = {} if why is None else {"why": why}
        return self._ours("POST", f"executor/{quote(name, safe='')}/{order}", json=body, answer=Document)

    def distributors(self) -> list[Document]:
        """Return the distributors of the live processes, with their firings (docs/reference/api.md)."""
        return self._ours("GET", "distributor", answer=_Distributors).distributors

    def fire_ticks(self, ticks: Sequence[tuple[str, int]]) -> list[FiredTick]:
        """Make the jobs of ticks, pairs of the id of a schedule and Unix milliseconds, 100 at most. Return the results.

        A tick makes its job once, however often it is fired.
        """
        body = {"ticks": [{"id": id, "tick": tick} for id, tick in ticks]}
        return self._ours("POST", "schedule/bulk-fire", json=body, answer=_FiredTicks).results

    def limits(self) -> list[Document]:
        """Return all limits (docs/reference/api.md, "Limits")."""
        found: list[Document] = self.search("limit", orderby="id:asc")["limits"]
        return found

    def set_limit(
        self,
        name: str,
        action: str,
        *,
        per: str | None = None,
        running: int | None = None,
        starts: int | None = None,
        each: float | None = None,
    ) -> Document:
        """Make or replace a limit: at most so many jobs of an action run at once, or start in `each` seconds.

        `per`: the attribute, as `payload.account`, for each value of which the numbers hold; None: for all jobs
        together. Jobs that wait already obey. Raises Refused.
        """
        given = {"action": action, "per": per, "running": running, "starts": starts, "each": each}
        body = {attribute: value for attribute, value in given.items() if value is not None}
        return self._ours("PUT", f"limit/{quote(name, safe='')}", json=body, answer=Document)

    def delete_limit(self, name: str) -> None:
        """Delete a limit: jobs that wait for their turns under it pass. Raises NotFound."""
        self._ours("DELETE", f"limit/{quote(name, safe='')}", answer=Document)

    def queue(self) -> Document:
        """Return the figures of the queue (docs/reference/api.md)."""
        return self._ours("GET", "queue", answer=Document)

    def pause(
        self, action: str = ALL_ACTIONS, *, why: str | None = None, until: datetime | str | None = None
    ) -> Document:
        """Pause an action, or all actions, and return the pause; a paused action takes the new reason and end.

        Jobs of the action that no executor has taken leave the queue and keep their places, new jobs wait, and running
        jobs go on. `until`: an aware datetime, or a text such as `+2h`; None: until `resume`. Raises ValueError for a
        datetime without a time zone.
        """
        given = {"action": action, "why": why, "until": _moment("until", until)}
        pause = {name: value for name, value in given.items() if value is not None}
        return self._ours("POST", "pause", json=pause, answer=Document)

    def resume(self, action: str = ALL_ACTIONS) -> Document:
        """End the pause of an action, or the pause of all actions. Raises NotFound for an action that is not paused.

        Actions that were paused by name stay paused when the pause of all actions ends.
        """
        return self._ours("DELETE", f"pause/{action}", answer=Document)

    def pauses(self) -> list[Document]:
        """Return the pauses that are in force (docs/reference/api.md)."""
        return self._ours("GET", "pause", answer=_Pauses).pauses

    def rate(self) -> Document:
        """Return what came, ended and failed in each minute of the last hour, and by action (docs/reference/api.md)."""
        return self._ours("GET", "rate", answer=Document)

    def attention(self) -> list[Document]:
        """Return what needs the attention of an operator, the worst first; empty if all is well."""
        return self._ours("GET", "attention", answer=_Attention).attention

    def why(self, id: str) -> Document:
        """Return a sentence about the state of a job, `why`, and the facts behind it (docs/reference/api.md)."""
        return self._ours("GET", f"{id}/why", answer=Document)

    def reconcile(self, dry_run: bool = False) -> Document:
        """Make the queue and the store agree, within seconds. Return the counts `jobs`, `requeued`, `removed`."""
        return self._ours("POST", "queue/reconcile", json={"dryRun": dry_run}, answer=Document)

    def _ours(self, method: str, path: str, *, json: object = None, answer: type[T]) -> T:
        """Send a request that only geventjob's server knows."""
        try:
            return self._session.call(method, path, json=json, answer=answer)
        except Refused as error:
            if error.status not in (404, 405) or self.dialect.name != "slipstream":
                raise
            raise Refused(error.status, f"{self.url} is a SlipStream server, which has no {path}") from error

    def healthy(self) -> bool:
        """Return whether the server reports that it can serve. Needs no user, raises no CimiError."""
        try:
            return self.health()[0] == "ok"
        except CimiError:
            return False

    def health(self) -> tuple[str, float]:
        """Return the answer of the health check, `ok` or why not, and the seconds by which the server's clock is ahead.

        The seconds are exact to one. Needs no user. Raises ServerAway.
        """
        began = time.time()
        answer = self._session.transport.send(Request("GET", "/healthz", repeatable=True))
        present, told = (began + time.time()) / 2, parsedate_to_datetime(str(answer.headers.get("Date", formatdate())))
        return answer.body.decode(errors="replace"), told.timestamp() + 0.5 - present


def _log_in(user: str | None, password: str | None, key: str | None, secret: str | None) -> dict[str, str] | None:
    if key is not None:
        return by_key(key, secret or "")
    return None if user is None else by_password(user, password or "")


def _moment(name: str, when: datetime | str | None) -> str | None:
    """Return a time as the server takes it. Raises ValueError for a datetime without a time zone."""
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is None:
        raise ValueError(f"{name}: {when} has no time zone")
    return cimi_time(when)


def _after(jobs: Sequence[str], when_failed: str | None) -> Document | None:
    """Return the attribute `after`; None for no jobs. Raises ValueError for one text in place of a list."""
    if isinstance(jobs, str):
        raise ValueError(f"after: expected a list of ids, not {jobs!r}")
    if not jobs:
        return None
    return {"jobs": list(jobs)} | ({"whenFailed": when_failed} if when_failed else {})


def _keyed(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return job if job.get("idempotencyKey") else {**job, "idempotencyKey": new_key()}


def _with_id(names: Iterable[Any]) -> list[str]:
    """Return the names with `id`: a SlipStream server omits an id that is not named (docs/reference/cimi.md)."""
    named = list(names)
    there = {part.strip() for name in named for part in str(name).split(",")}
    return named if there & {"id", "*"} else [*named, "id"]


def _listed(values: Any) -> Iterable[Any]:
    if values is None:
        return ()
    return values if isinstance(values, (list, tuple)) else (values,)
