"""The bodies that clients send, besides a job itself (schema.py): sessions, users, keys, envelopes of bulk requests.

Every object is closed: an unknown attribute is an error that names it, and null does not stand for an absent one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from geventjob.cimi.document import Document
from geventjob.server.accounts.passwords import MIN_LENGTH
from geventjob.server.jobs.lifecycle import Owner
from geventjob.server.jobs.schema import Caption, JobId, Name, Text
from geventjob.server.problem import invalid

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
Password = Annotated[str, Meta(min_length=MIN_LENGTH, max_length=1_024)]
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


class BulkAddBody(Body):
    jobs: Annotated[list[msgspec.Raw], Meta(max_length=ITEMS)]


class BulkEditBody(Body):
    edits: Annotated[list[msgspec.Raw], Meta(max_length=ITEMS)]
    actions: Union[list[str], UnsetType] = UNSET
    answer: Literal["job", "status"] = field(default="job", name="return")


class BulkDeleteBody(Body):
    filter: str


class ReconcileBody(Body):
    """What `queue/reconcile` may be told."""

    dry_run: bool = False


class BulkEditItem(Body):
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
