"""The client of a job server, for any program: plain requests, safe for threads and for greenlets, never patching."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from geventjob.cimi.answers import AddedAnswer
from geventjob.cimi.body import encoded
from geventjob.cimi.dialects import Dialect, EditAnswer
from geventjob.cimi.document import NEW_KEY, Document
from geventjob.cimi.errors import CimiError, ForeignAnswer, Refused, ServerAway
from geventjob.cimi.jobs import JobRequests
from geventjob.cimi.session import CimiSession, by_key, by_password
from geventjob.cimi.transport import Request, Transport

T = TypeVar("T")


class NewKey(msgspec.Struct):
    """An API key as it is made."""

    id: str = msgspec.field(name="resource-id")
    secret: str = msgspec.field(name="secretKey")

    def __repr__(self) -> str:
        return f"NewKey({self.id!r})"


class _Nodes(msgspec.Struct):
    nodes: list[Document]


class _Searched(msgspec.Struct):
    count: int
    """SlipStream answers null where its store refused the query (CIMI.md §3)."""


class Client:
    """Speaks to a CIMI server as one user.

    Every method raises ServerAway (no connection, no answer in time, 5xx, 429: `retry_after` is what the server asked
    for), LoginRefused, or one of the kinds of Refused: NotFound, Forbidden, Invalid, Conflict. It logs in by itself,
    and again when its session has ended.
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
        """Nothing is sent yet.

        `url` may hold several addresses of one service, comma-separated: it stays with one that answers. It logs in as
        `user`, or with an API `key`, or not at all. `ca` is a file or folder of certificates to trust, `insecure`
        trusts any. `connections` is how many calls may be under way at once; more of them wait. `timeout` is seconds to
        connect and to wait for an answer. `patience` is for how many seconds an add is tried again while the server is
        away. `max_body` is the bytes that a proxy on the way takes in one request: what many jobs share is kept below
        (without it, as much as the server takes, and less where that is refused for its size).
        Raises ValueError for a URL that cannot be one, and for a user and a key at once.
        """
        if user is not None and key is not None:
            raise ValueError("both a user and a key were given: one of them is enough")
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
        """Close the idle connections; the client may still be used."""
        self._session.transport.close()

    def log_out(self) -> None:
        """End the session on the server, if there is one. Raises nothing of CimiError."""
        self._session.log_out()

    # --- one resource

    def get(self, id: str, select: Iterable[str] | None = None) -> Document:
        """The resource of this id, or only its id and those of its attributes that are named."""
        query = [("$select", ",".join(_with_id(select)))] if select is not None else []
        return self._session.call("GET", id, query=query, answer=Document)

    def add(self, kind: str, doc: Mapping[str, Any]) -> str:
        """Add a resource to a collection (`job`); its id.

        A job is given an idempotencyKey unless it has one, so that trying again, as this does for `patience` seconds
        while the server is away, never doubles it (docs/reference/api.md, Jobs). A SlipStream server knows no keys:
        there it is not tried again, and after ServerAway the job may have been added. Raises ValueError for a number
        that JSON does not have, with its place.
        """
        if kind != "job":
            return self._session.call("POST", kind, json=doc, answer=AddedAnswer).id
        return self._jobs.add_one(encoded(_keyed(doc)))

    def new_key(self, *, name: str | None = None, days: float | None = None, roles: Sequence[str] = ()) -> NewKey:
        """Make an API key of one's own: one that lasts so many days (None: for ever) and has no other roles than these
        (none given: all that one has). Its secret is never shown again."""
        template: Document = {"href": NEW_KEY}
        if days is not None:
            template["ttl"] = max(1, round(days * 86_400))
        if roles:
            template["roles"] = " ".join(roles)
        doc = {"credentialTemplate": template} | ({"name": name} if name else {})
        return self._session.call("POST", "credential", json=doc, answer=NewKey)

    def edit(self, id: str, set: Mapping[str, Any], delete: Iterable[str] = ()) -> Document:
        """Set attributes and delete others (those that are not set); the whole resource as it is then."""
        names = ",".join(delete)
        query = [("$select", names)] if names else []
        return self._session.call("PUT", id, query=query, json=set, answer=Document)

    def delete(self, id: str) -> Document:
        """Delete a resource; what the server says."""
        return self._session.call("DELETE", id, answer=Document)

    def operation(self, id: str, rel: str, data: Mapping[str, Any] | None = None) -> Document:
        """Carry out an operation of a resource by its name (`stop`) or its full URI; what the server answers."""
        return self._session.call("POST", f"{id}/{rel.rpartition('/')[2]}", json=data, answer=Document)

    # --- many

    def entry_points(self) -> dict[str, str]:
        """The collections of the server by the plural of their names, `jobs` → `job`; asked for once."""
        if self._entry_points is None:
            found = self._entry_point()
            hrefs = {name: value.get("href") for name, value in found.items() if isinstance(value, dict)}
            self._entry_points = {name: href for name, href in hrefs.items() if isinstance(href, str)}
        return self._entry_points

    def search(self, kind: str, **params: Any) -> Document:
        """Search a collection (`job`): a page with `count` (of all matches), `jobs` and perhaps `aggregations`.

        Parameters are `filter`, `first`, `last`, `orderby`, `select`, `aggregation`; a list stands for a repeated one,
        None for none. `id` is always selected.
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
        """Add many jobs, as `add` does each; in their order the id of each, or its refusal.

        A job that shall be added once even if this call fails and is made again needs an idempotencyKey of its own.
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
        """Edit many jobs: `{"id", "set", "delete", "entry", "fence", "executor"}` each (docs/reference/api.md, Jobs).

        In their order each job as it is then (or `{"status": 200}` for `answer="status"`), or its error: Refused, or
        ServerAway where the server could not write this one. An edit to RUNNING of a job whose action is not among
        `actions` is refused. `held(edit)` is asked at the moment at which an edit is sent; one for which it is
        False is not sent, and a Conflict with the reason `fence`.
        """
        return self._jobs.edit(list(edits), actions, answer, held)

    def bulk_delete(self, filter: str) -> int:
        """Delete all jobs that match the filter; how many that were."""
        return self._jobs.delete(filter)

    def stopping(self, executor: str, running: Sequence[str]) -> list[str]:
        """The ids of those jobs that run on this executor and shall stop. `running` are all that run there."""
        return self._jobs.stopping(executor, running)

    @property
    def dialect(self) -> Dialect:
        """Ours, or a SlipStream server's. Asked for on first need, and again when the server was away."""
        return self._jobs.dialect

    def _entry_point(self) -> Document:
        """The cloud entry point. Raises ServerAway where there is none: what lies behind the URL is no CIMI server."""
        try:
            found = self.get("cloud-entry-point")
        except (Refused, ForeignAnswer) as error:
            raise ServerAway(f"{self.url} is no CIMI server: it has no cloud-entry-point: {error}") from error
        if not str(found.get("resourceURI", "")).endswith("/CloudEntryPoint"):
            raise ServerAway(f"{self.url} is no CIMI server: what it calls its cloud-entry-point is none")
        return found

    # --- for operators

    def nodes(self) -> list[Document]:
        """The executors, distributors and servers that live now (DESIGN §6)."""
        return self._ours("GET", "node", answer=_Nodes).nodes

    def queue(self) -> Document:
        """The queue at a glance (DESIGN §6)."""
        return self._ours("GET", "queue", answer=Document)

    def reconcile(self, dry_run: bool = False) -> Document:
        """Make the queue and the store agree; what was done: `jobs`, `requeued`, `removed`. It takes some seconds."""
        return self._ours("POST", "queue/reconcile", json={"dryRun": dry_run}, answer=Document)

    def _ours(self, method: str, path: str, *, json: object = None, answer: type[T]) -> T:
        """What no other server has."""
        try:
            return self._session.call(method, path, json=json, answer=answer)
        except Refused as error:
            if error.status not in (404, 405) or self.dialect.name != "slipstream":
                raise
            raise Refused(error.status, f"{self.url} is a SlipStream server, which has no {path}") from error

    def healthy(self) -> bool:
        """Whether the server says that it can serve. Needs no user, raises nothing of CimiError."""
        try:
            return self._session.transport.send(Request("GET", "/healthz", repeatable=True)).status == 200
        except CimiError:
            return False


def _log_in(user: str | None, password: str | None, key: str | None, secret: str | None) -> dict[str, str] | None:
    if key is not None:
        return by_key(key, secret or "")
    return None if user is None else by_password(user, password or "")


def _keyed(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return job if job.get("idempotencyKey") else {**job, "idempotencyKey": str(uuid.uuid4())}


def _with_id(names: Iterable[Any]) -> list[str]:
    """A SlipStream server leaves the id out unless it is named (CIMI.md §3)."""
    named = list(names)
    there = {part.strip() for name in named for part in str(name).split(",")}
    return named if there & {"id", "*"} else [*named, "id"]


def _listed(values: Any) -> Iterable[Any]:
    if values is None:
        return ()
    return values if isinstance(values, (list, tuple)) else (values,)
