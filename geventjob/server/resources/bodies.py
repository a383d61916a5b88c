"""The bodies that clients send, besides a job itself (schema.py): sessions, users, keys, envelopes of bulk requests.

Every object is closed: an unknown attribute is an error that names it, and null does not stand for an absent one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, Union, cast

import gevent
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from geventjob.cimi.document import Document
from geventjob.server.accounts.access import completed
from geventjob.server.accounts.password import LEAST
from geventjob.server.jobs.lifecycle import Owner
from geventjob.server.jobs.schema import Caption, JobId, Name, Text, validate_add, validate_edit
from geventjob.server.problem import Problem, invalid
from geventjob.server.turns import turn

DEPTH = 32
"""Objects and arrays within each other, in what may have any shape."""
VALUES = 200_000
"""Values in a body: each costs the more memory and time, the smaller it is."""
BREATH = 128 * 1024
"""Bytes that are looked through in one go, a ms."""
ITEMS = 1_000
"""Items of a bulk request (DESIGN §6)."""


class Body(Struct, forbid_unknown_fields=True, rename="camel"):
    """A closed object."""


class Resource(Body, kw_only=True):
    """Attributes of every resource; those without a type are the server's: taken from a client, and not used."""

    id: Any = None
    resource_uri: Any = field(default=None, name="resourceURI")
    created: Any = None
    updated: Any = None
    operations: Any = None
    acl: Any = None
    name: Union[Caption, UnsetType] = UNSET
    description: Union[Text, UnsetType] = UNSET

    def texts(self) -> Document:
        """Name and description, as far as they were sent."""
        texts = {"name": self.name, "description": self.description}
        return {name: text for name, text in texts.items() if text is not UNSET}


class PasswordLogIn(Body, kw_only=True):
    """`session-template/internal` with a client's values in it. What he leaves out ends as a wrong password."""

    href: str
    username: Annotated[str, Meta(max_length=256)] = ""
    password: Annotated[str, Meta(max_length=1_024)] = ""


class KeyLogIn(Body, kw_only=True):
    """The same of `session-template/api-key`."""

    href: str
    key: Annotated[str, Meta(max_length=256)] = ""
    secret: Annotated[str, Meta(max_length=1_024)] = ""


class Href(Struct):
    """Which template it is that the rest is to fit."""

    href: Annotated[str, Meta(max_length=256)]


class SessionAdd(Resource, kw_only=True):
    session_template: dict[str, Any]


Username = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.@-]*[A-Za-z0-9])?\Z", max_length=64)]
Password = Annotated[str, Meta(min_length=LEAST, max_length=1_024)]
Roles = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_-]*( [A-Z][A-Z0-9_-]*)*\Z", max_length=1_024)]


class UserAdd(Resource, kw_only=True):
    username: Username
    password: Password
    roles: Roles = "USER"


class UserEdit(Resource, kw_only=True):
    username: Any = None
    password: Union[Password, UnsetType] = UNSET
    old_password: Union[Annotated[str, Meta(max_length=1_024)], UnsetType] = UNSET
    roles: Union[Roles, UnsetType] = UNSET


class KeyTemplate(Body, kw_only=True):
    """What a new API key shall be: one that lasts `ttl` seconds (0: for ever), and has these roles of its maker."""

    href: Literal["credential-template/generate-api-key"]
    ttl: Annotated[int, Meta(ge=0, le=10**10)] = 0
    roles: Union[Roles, UnsetType] = UNSET


class KeyAdd(Resource, kw_only=True):
    credential_template: KeyTemplate


class JobsAdd(Body):
    jobs: Annotated[list[msgspec.Raw], Meta(max_length=ITEMS)]


class JobsEdit(Body):
    edits: Annotated[list[msgspec.Raw], Meta(max_length=ITEMS)]
    actions: Union[list[str], UnsetType] = UNSET
    answer: Literal["job", "status"] = field(default="job", name="return")


class JobsDelete(Body):
    filter: str


class Reconcile(Body):
    """What `queue/reconcile` may be told."""

    dry_run: bool = False


class OwnersEdit(Body):
    """One edit of a bulk request."""

    id: JobId
    set: dict[str, Any]
    delete: list[str] = []
    entry: Union[str, UnsetType] = UNSET
    fence: Union[Annotated[int, Meta(ge=0, le=2**63 - 1)], UnsetType] = UNSET
    executor: Union[Name, UnsetType] = UNSET
    max_interruptions: Union[Annotated[int, Meta(ge=0)], None] = None

    @property
    def owner(self) -> Owner | None:
        """In whose name the edit is made. Raises Problem 400 if that is told in part only."""
        entry, fence, executor = self.entry, self.fence, self.executor
        if entry is UNSET and fence is UNSET and executor is UNSET:
            return None
        if entry is UNSET or fence is UNSET or executor is UNSET:
            raise invalid("entry, fence and executor come together")
        return Owner(entry, fence, executor)


Shape = TypeVar("Shape", bound=Struct)


def decoded(data: bytes) -> Any:
    """JSON of any shape, but of VALUES at most. Raises Problem 400."""
    return _decoded(data, Any)


def _decoded(data: bytes, shape: Any) -> Any:
    if _has_too_many(data):
        raise Problem(400, f"the body has more than {VALUES} values")
    try:
        with turn(len(data)):
            return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"Malformed JSON in request body. {error}") from None
    except RecursionError:
        raise _too_deep() from None


def body_of(shape: type[Shape], data: bytes) -> Shape:
    """A body of this shape. Raises Problem 400 that tells where it does not fit."""
    return cast(Shape, _decoded(data, shape))


def fitted(shape: type[Shape], value: Any) -> Shape:
    """What was decoded, if it has this shape. Raises Problem 400."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def _has_too_many(data: bytes) -> bool:
    """Whether these are more than VALUES values: counted by what separates them, with turns for others meanwhile."""
    if _commas(data) <= VALUES:
        return False
    commas, end, breath = 0, 0, 0
    while commas <= VALUES and (stretch := _STRETCH.match(data, end)):
        commas += _STRING.sub(b"", stretch[0]).count(b",")
        end = stretch.end()
        if end > breath:
            breath = end + BREATH // 8
            gevent.sleep(0)
    return commas > VALUES


def _commas(data: bytes) -> int:
    """How many there are, in strings too; more than VALUES are not counted to the end."""
    commas = 0
    for start in range(0, len(data), BREATH):
        commas += data.count(b",", start, start + BREATH)
        if commas > VALUES:
            break
    return commas


_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STRETCH = re.compile(rb'(?:[^"]{1,1024}|"[^"\\]*(?:\\.[^"\\]*)*"){1,200}', re.DOTALL)
"""Whole strings, and what stands between them."""


def job_add(value: Any) -> Document:
    """The body of a new job. Raises schema.Invalid, Problem 400."""
    return _governed(_shallow(_checked(lambda: validate_add(value))))


def job_edit(value: Any, delete: list[str]) -> Document:
    """What an edit sets in a job. Raises schema.Invalid, Problem 400."""
    return _governed(_shallow(_checked(lambda: validate_edit(value, delete))))


def _checked(check: Callable[[], Document]) -> Document:
    """What fits the schema, which bounds all but what may have any shape."""
    try:
        return check()
    except RecursionError:
        raise _too_deep() from None


def _governed(job: Document) -> Document:
    """No acl leaves the administrators out."""
    return {**job, "acl": completed(job["acl"])} if "acl" in job else job


def _shallow(job: Document) -> Document:
    for part in job.values():
        if isinstance(part, (dict, list)) and not _is_shallow(part, DEPTH - 1):
            raise _too_deep()
    return job


def _is_shallow(value: dict[str, Any] | list[Any], levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts if isinstance(part, (dict, list)))


def _too_deep() -> Problem:
    return Problem(400, f"the body is nested too deeply: {DEPTH} levels at most")
