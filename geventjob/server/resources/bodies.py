"""Shapes of request bodies: sessions, users, API keys, bulk requests, pauses and firings of schedules.

`server/life/schema.py` has the shape of a job, `server/jobs/schedule_schema.py` that of a schedule. Every object is
closed: an unknown attribute is an error that names the attribute. null is a value, unlike an absent attribute.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from geventjob.cimi.document import Document
from geventjob.job.types import Caption, JobId, Name, Text
from geventjob.server.accounts.passwords import MIN_LENGTH
from geventjob.server.jobs.lifecycle import Owner
from geventjob.server.life.failures import FailureReport, RetryWish
from geventjob.server.life.logs import LogReport
from geventjob.server.life.records import RecordReport
from geventjob.server.problem import invalid

MAX_ITEMS = 1_000
"""Most items of a bulk request (docs/reference/api.md, "Bulk requests")."""
MAX_TICKS = 100
"""Most ticks of one request: the server keeps the payload of each in memory meanwhile."""


class Body(Struct, forbid_unknown_fields=True, rename="camel"):
    """An object that allows no unknown attribute."""


class Resource(Body, kw_only=True):
    """Attributes of every resource. The server sets those of type Any, and ignores a client's values."""

    id: Any = None
    resource_uri: Any = field(default=None, name="resourceURI")
    created: Any = None
    updated: Any = None
    operations: Any = None
    acl: Any = None
    name: Union[Caption, UnsetType] = UNSET
    description: Union[Text, UnsetType] = UNSET

    def texts(self) -> Document:
        """Return name and description, as far as the client has sent them."""
        texts = {"name": self.name, "description": self.description}
        return {name: text for name, text in texts.items() if text is not UNSET}


class PasswordLogIn(Body, kw_only=True):
    """A log-in by password. A missing value is refused like a wrong password."""

    href: str
    username: Annotated[str, Meta(max_length=256)] = ""
    password: Annotated[str, Meta(max_length=1_024)] = ""


class KeyLogIn(Body, kw_only=True):
    """A log-in by API key. A missing value is refused like a wrong secret."""

    href: str
    key: Annotated[str, Meta(max_length=256)] = ""
    secret: Annotated[str, Meta(max_length=1_024)] = ""


class Href(Struct):
    """The id of the template, which decides the shape of the rest."""

    href: Annotated[str, Meta(max_length=256)]


class SessionAdd(Resource, kw_only=True):
    """A log-in."""

    session_template: dict[str, Any]


Username = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.@-]*[A-Za-z0-9])?\Z", max_length=64)]
Password = Annotated[str, Meta(min_length=MIN_LENGTH, max_length=1_024)]
Roles = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_-]*( [A-Z][A-Z0-9_-]*)*\Z", max_length=1_024)]


class UserAdd(Resource, kw_only=True):
    """A new user."""

    username: Username
    password: Password
    roles: Roles = "USER"


class UserEdit(Resource, kw_only=True):
    """A change of a user's password or roles."""

    username: Any = None
    password: Union[Password, UnsetType] = UNSET
    old_password: Union[Annotated[str, Meta(max_length=1_024)], UnsetType] = UNSET
    roles: Union[Roles, UnsetType] = UNSET


class KeyTemplate(Body, kw_only=True):
    """A new API key: `ttl` seconds until it expires (0: never), and its roles, out of the maker's."""

    href: Literal["credential-template/generate-api-key"]
    ttl: Annotated[int, Meta(ge=0, le=10**10)] = 0
    roles: Union[Roles, UnsetType] = UNSET


class KeyAdd(Resource, kw_only=True):
    """A new API key with its template."""

    credential_template: KeyTemplate


class BulkAddBody(Body):
    """Jobs to add in one request."""

    jobs: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ITEMS)]


class BatchBody(Body):
    """A callback, and jobs after whose end it runs; `open`: more jobs follow."""

    callback: msgspec.Raw
    jobs: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ITEMS)] = []
    when_failed: Literal["fail", "run", "stop"] = "fail"
    open: bool = False


class BulkEditBody(Body):
    """Edits of jobs in one request, and the shape of the answer."""

    edits: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ITEMS)]
    actions: Union[list[str], UnsetType] = UNSET
    answer: Literal["job", "status"] = field(default="job", name="return")


class MatchingBody(Body):
    """The filter of jobs to delete, stop or release."""

    filter: str


class BulkRerunBody(Body):
    """The filter of jobs to copy, and a key by which a repeated request is known."""

    filter: str
    idempotency_key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z")]


class ReconcileBody(Body):
    """Options of `queue/reconcile`."""

    dry_run: bool = False


class PauseBody(Body):
    """Why a schedule is paused, and until when: a date, or an offset as `+2h`."""

    why: Union[Text, UnsetType] = UNSET
    until: Union[str, UnsetType] = UNSET


class OrderBody(Body):
    """Why an executor is quiet, takes jobs again, or is stopped."""

    why: Union[Text, UnsetType] = UNSET


class PauseAdd(Resource, kw_only=True):
    """An action to pause, `*` for all actions, why, and until when."""

    action: Name
    why: Union[Text, UnsetType] = UNSET
    until: Union[str, UnsetType] = UNSET


FireKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:@+-]{1,100}\Z")]


class FireBody(Body):
    """A firing that a person asks for, with a key by which a repeated one is known."""

    idempotency_key: FireKey


class TickItem(Body):
    """A tick of a schedule, in Unix milliseconds."""

    id: Annotated[str, Meta(max_length=256)]
    tick: Annotated[int, Meta(ge=0, le=2**53)]


class BulkFireBody(Body):
    """Ticks to fire in one request."""

    ticks: Annotated[list[TickItem], Meta(max_length=MAX_TICKS)]


class BulkEditItem(Body):
    """One edit of a bulk request. `entry`, `fence` and `executor` name the claim of the executor that edits."""

    id: JobId
    set: dict[str, Any]
    delete: list[str] = []
    entry: Union[str, UnsetType] = UNSET
    fence: Union[Annotated[int, Meta(ge=0, le=2**63 - 1)], UnsetType] = UNSET
    executor: Union[Name, UnsetType] = UNSET
    max_interruptions: Union[Annotated[int, Meta(ge=0)], None] = None
    failure: Union[FailureReport, None] = None
    retry: Union[RetryWish, None] = None
    log: Union[LogReport, None] = None
    record: Union[RecordReport, None] = None

    @property
    def owner(self) -> Owner | None:
        """The claim in whose name the edit is made; None without one. Raises Problem 400 for an incomplete claim."""
        entry, fence, executor = self.entry, self.fence, self.executor
        if entry is UNSET and fence is UNSET and executor is UNSET:
            if self.failure or self.retry or self.log or self.record:
                raise invalid("failure, retry, log and record need a claim: entry, fence and executor")
            return None
        if entry is UNSET or fence is UNSET or executor is UNSET:
            raise invalid("entry, fence and executor come together")
        return Owner(entry, fence, executor)
