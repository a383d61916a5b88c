"""The types of a job's values: the annotations that msgspec checks, and the words of errors and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

from msgspec import UNSET, Meta, Struct, UnsetType

from geventjob.job.bounds import LOWEST_PRIORITY, MOST_RETRIES
from geventjob.job.states import STATES

PAYLOAD_BYTES = 256 * 1024
MESSAGE_BYTES = 32_000
"""UTF-8 bytes of a `statusMessage`; a longer text is cut."""
NAME_LENGTH = 255
"""Characters of names, keys and hrefs."""
TEXT_LENGTH = 8_000
"""Characters of a text that Elasticsearch indexes as a keyword, whose limit is 32,766 bytes."""
RULES = 1_000
"""Rules of an acl: each search and each view of a document compares all of them."""
TAGS = 20
"""Most texts of a TAG_LIST."""
PREDECESSORS = 1_000
"""Most jobs that a job comes after."""
UNIQUE_PATHS = 10
"""Most paths of the key of a unique job."""
REPORT_BYTES = 64 * 1024
"""Bytes of JSON of an output, and of a checkpoint."""
LOG_BYTES = 64 * 1024
"""Bytes of UTF-8 that are kept of a job's log."""

_NOT_BLANK = r"\S"
_LINE = r"^(?=.*\S)[^\x00-\x1f\x7f]+\Z"
_NAME_PART = r"(/[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)"
Name = Annotated[str, Meta(pattern=_LINE, max_length=NAME_LENGTH)]
Text = Annotated[str, Meta(pattern=_NOT_BLANK, max_length=TEXT_LENGTH)]
Caption = Annotated[str, Meta(pattern=_NOT_BLANK, max_length=NAME_LENGTH)]
Key = Annotated[str, Meta(max_length=NAME_LENGTH)]
Href = Annotated[str, Meta(pattern=rf"^[a-z]([a-z-]*[a-z])?{_NAME_PART}?\Z", max_length=NAME_LENGTH)]
JobId = Annotated[str, Meta(pattern=rf"^job{_NAME_PART}\Z", max_length=NAME_LENGTH)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Reference(Struct):
    """A link to a resource. Other keys are allowed and kept."""

    href: Href


class Principal(Struct, forbid_unknown_fields=True):
    """The owner of a document."""

    principal: Name
    type: Literal["USER", "ROLE"]


Right = Literal[
    "VIEW",
    "MODIFY",
    "ALL",
    "VIEW_ACL",
    "VIEW_DATA",
    "VIEW_META",
    "EDIT_ACL",
    "EDIT_DATA",
    "EDIT_META",
    "DELETE",
    "MANAGE",
]


class Rule(Struct, forbid_unknown_fields=True):
    """A right that an acl gives."""

    principal: Name
    type: Literal["USER", "ROLE"]
    right: Right


class Acl(Struct, forbid_unknown_fields=True):
    """The owner of a document and the rights of others on it."""

    owner: Principal
    rules: Union[Annotated[list[Rule], Meta(min_length=1, max_length=RULES)], UnsetType] = UNSET


class Held(Struct, forbid_unknown_fields=True):
    """The reason for which a job waits before the queue."""

    why: str
    detail: str
    until: Union[str, UnsetType] = UNSET
    on: Union[str, UnsetType] = UNSET
    place: Union[str, UnsetType] = UNSET
    token: Union[str, UnsetType] = UNSET


class After(Struct, forbid_unknown_fields=True, rename="camel"):
    """The jobs that a job comes after."""

    jobs: Annotated[list[JobId], Meta(min_length=1, max_length=PREDECESSORS)]
    when_failed: Union[Literal["fail", "run", "stop"], UnsetType] = UNSET


UniquePath = Annotated[
    str,
    Meta(
        pattern=r"^(action|name|tags|targetResource|payload|properties|parentJob)(\.[^.\x00-\x1f\x7f]+)*\Z",
        max_length=NAME_LENGTH,
    ),
]


class Unique(
    Struct, forbid_unknown_fields=True, rename={"during": "while", "seconds": "for"}, omit_defaults=True, kw_only=True
):
    """The values that no two jobs have at one time, and for how long a job keeps them."""

    by: Annotated[list[UniquePath], Meta(min_length=1, max_length=UNIQUE_PATHS)]
    during: Union[Literal["queued", "active"], UnsetType] = UNSET
    seconds: Union[Annotated[float, Meta(gt=0, le=1e9)], UnsetType] = UNSET
    replace: bool = False

    def __post_init__(self) -> None:
        """Check the attributes together. Raises ValueError."""
        if (self.during is UNSET) == (self.seconds is UNSET):
            raise ValueError("either while or for is needed, and not both")
        if self.replace and "action" not in self.by:
            raise ValueError("replace needs action among the paths of by")


class BatchState(Struct, forbid_unknown_fields=True, rename="camel"):
    """The batch of a callback."""

    open: bool
    when_failed: Literal["fail", "run", "stop"]
    total: Union[Annotated[int, Meta(ge=0)], UnsetType] = UNSET
    failed: Union[Annotated[int, Meta(ge=0)], UnsetType] = UNSET


class JobError(Struct):
    """A failure of an attempt."""

    at: str
    attempt: int
    executor: str
    type: str
    message: str
    traceback: str


@dataclass(frozen=True)
class ValueType:
    """The type of an attribute's values."""

    checked: Any
    """The annotation for msgspec."""
    words: str
    """The words after "expected" in an error."""
    examples: tuple[Any, Any]
    """Two different valid values; tests send both."""
    most: int | None = None
    """Most bytes of the value's JSON; None: the type bounds the value."""


_HREF = "lower-case letters and dashes, then at most one `/` and a name, as `job` or `credential/ab-1`"
_UUIDS = ("job/0b7a5c1e-8f3d-4a39-9f1a-0123456789ab", "job/3f0c2d9e-5b7a-4c61-8a40-ba9876543210")
_DATES = ("2019-04-02T08:15:30.123Z", "2021-11-30T23:59:59.000Z")

# Whatever a client sends of these is accepted and ignored, so that a document may be sent back.
ID = ValueType(Any, "`job/` and a UUID", _UUIDS)
URI = ValueType(Any, "a URI", ("http://one.example", "http://other.example"))
MOMENT = ValueType(Any, "a date in UTC with milliseconds, as `2019-04-02T08:15:30.123Z`", _DATES)
OPERATIONS = ValueType(Any, "a list of {rel, href}", ([], [{"rel": "other", "href": "x"}]))

STRING = ValueType(str, "a string", ("half of it is done", "3 files were copied"))
DATE = ValueType(str, MOMENT.words, _DATES)
_WHEN = "a date with a time zone, as `2026-04-02T08:15:30Z`, or an offset from now, as `+90s`, `+2h`, `+3d`"
SOONEST = ValueType(str, _WHEN, _DATES)
LATEST = ValueType(str, _WHEN, ("2099-04-02T08:15:30.123Z", "2098-11-30T23:59:59.000Z"))
HELD = ValueType(
    Held,
    "why and detail, until, on, place and token, all strings",
    ({"why": "notBefore", "until": _DATES[0], "detail": "a"}, {"why": "retry", "until": _DATES[1], "detail": "b"}),
)
UNIQUE = ValueType(
    Unique,
    f"an object of by (1 to {UNIQUE_PATHS} paths into action, name, tags, targetResource, payload, properties or "
    'parentJob, as `payload.account`), either while ("queued" or "active") or for (seconds above 0), and replace (true '
    "or false)",
    ({"by": ["action"], "for": 0.001}, {"by": ["action", "payload.rows"], "for": 0.002}),
)
BATCH = ValueType(
    BatchState,
    "open, whenFailed, and in the end total and failed",
    ({"open": True, "whenFailed": "fail"}, {"open": False, "whenFailed": "run", "total": 3, "failed": 1}),
)
FLAG = ValueType(bool, "true or false", (False, True))
COUNT = ValueType(Count, "an integer from 0", (1, 7))
DURATION = ValueType(Union[Count, None], "whole seconds from 0, or null", (1, 7))
SECONDS = ValueType(Annotated[float, Meta(gt=0, le=1e9)], "seconds above 0", (60, 0.5))
PRIORITY = ValueType(Annotated[int, Meta(ge=0, le=LOWEST_PRIORITY)], f"an integer from 0 to {LOWEST_PRIORITY}", (5, 7))
PERCENT = ValueType(Annotated[int, Meta(ge=0, le=100)], "an integer from 0 to 100", (5, 7))
INTEGER = ValueType(Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], "an integer of at most 64 bits", (0, -1))
STATE = ValueType(Literal.__getitem__(STATES), f"one of {' '.join(STATES)}", ("RUNNING", "SUCCESS"))
ACTION = ValueType(Name, f"a name on one line, at most {NAME_LENGTH} characters", ("report_sales", "report_stock"))
LINE = ValueType(Name, f"text on one line, at most {NAME_LENGTH} characters", ("sales of May", "sales of June"))
CAPTION = ValueType(
    Caption, f"text that is not blank, at most {NAME_LENGTH} characters", ("Sales of May", "Sales of June")
)
TEXT = ValueType(Text, f"text that is not blank, at most {TEXT_LENGTH} characters", ("For the board", "For the press"))
TAG_LIST = ValueType(
    Annotated[list[Name], Meta(max_length=TAGS)],
    f"a list of at most {TAGS} texts, each on one line and of at most {NAME_LENGTH} characters",
    (["reports", "of Alice"], ["nightly"]),
)
LINES = ValueType(list[str], "a list of strings", (["stripe.1|acct_7"], ["stripe.1|", "mail.2|"]))
PROPERTIES = ValueType(
    Annotated[dict[Key, str], Meta(min_length=1)],
    f"an object of strings, at least one, with names of at most {NAME_LENGTH} characters",
    ({"month": "May"}, {"month": "June"}),
)
OBJECT = ValueType(dict[str, Any], "a JSON object", ({"rows": 10}, {"rows": 20}), PAYLOAD_BYTES)
REPORT = ValueType(
    Union[dict[str, Any], list[Any], str, int, float, bool],
    "JSON that is not null",
    ({"rows": 10}, [1, "a"]),
    REPORT_BYTES,
)
RETRIES = ValueType(Annotated[int, Meta(ge=0, le=MOST_RETRIES)], f"an integer from 0 to {MOST_RETRIES}", (5, 7))
_ERROR = {"at": _DATES[0], "attempt": 1, "executor": "one", "type": "OSError", "message": "away", "traceback": ""}
ERRORS = ValueType(list[JobError], "a list of errors", ([_ERROR], []))
HREF = ValueType(Href, _HREF, ("credential/ab-1", "credential/cd-2"))
REFERENCE = ValueType(
    Reference, f"an object with an href of {_HREF}", ({"href": "credential/ab-1"}, {"href": "credential/cd-2"})
)
REFERENCES = ValueType(
    Annotated[list[Reference], Meta(min_length=1)],
    f"a list, at least one object with an href of {_HREF}",
    ([{"href": "credential/ef-3"}], [{"href": "credential/gh-4"}]),
)
JOB = ValueType(JobId, "the id of a job, as `job/<uuid>`", _UUIDS)
AFTER = ValueType(
    After,
    f"jobs, 1 to {PREDECESSORS:,} ids, and whenFailed, which is fail, run or stop",
    ({"jobs": [_UUIDS[0]]}, {"jobs": [_UUIDS[1]], "whenFailed": "run"}),
)
TRACEPARENT = ValueType(
    Annotated[str, Meta(pattern=r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")],
    "the traceparent of W3C's trace context, as `00-<32 hex digits>-<16 hex digits>-01`",
    (
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    ),
)
JOBS = ValueType(list[JobId], "a list of ids of jobs, as `job/<uuid>`", ([_UUIDS[0]], [_UUIDS[1]]))
ACL = ValueType(
    Acl,
    f"owner {{principal, type USER or ROLE}} and rules, one to {RULES} {{principal, type, right}}",
    (
        {"owner": {"principal": "alice", "type": "USER"}},
        {
            "owner": {"principal": "alice", "type": "USER"},
            "rules": [{"principal": "USER", "type": "ROLE", "right": "VIEW"}],
        },
    ),
)
