"""Every attribute of a job, declared once.

The server's schema and life of a job, both stores, the translation for SlipStream's server, `geventjob rerun` and
docs/reference/job.md come from this table. A new attribute needs a row here, and code where it has an effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from geventjob.job import types
from geventjob.job.bounds import LOWEST_PRIORITY
from geventjob.job.types import ValueType

Path = tuple[str, ...]
"""The names that lead to a value in a document: `("targetResource", "href")`."""

ENTRY = "zookeeper-path"
"""The property with the path of the job's entry in the queue. The server alone sets it."""


class Type(Enum):
    """How a search compares the values of an attribute."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    TERMS = "terms"
    """Each value of a list or an object by itself, as text."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of a job."""

    name: str
    type: ValueType
    help: str
    """The meaning, in one phrase without a full stop."""
    sent: str = "add edit"
    """The requests in which a client sets the value: `add`, `edit`, both, or none. Other requests ignore the value."""
    guarded: bool = False
    """Whether only the roles EXECUTOR and ADMIN may edit the value, as it decides which code runs, on what and when."""
    owned: bool = False
    """Whether the executor that runs the job and holds its entry is the only one to write the value."""
    after_end: bool = False
    """Whether the value may still be edited in a final state."""
    delete: Literal["deleted", "kept", "refused"] = "deleted"
    """The effect of an edit that deletes the attribute: deleted, silently kept, or refused with a 400."""
    search: Type | None = Type.TERMS
    """How a search compares the value; None: not searched. All types but TERMS have one value at most."""
    part: str = ""
    """The part of an object that is compared by this type, as `href`; other parts are compared as terms."""
    also: tuple[tuple[str, Type], ...] = ()
    """Further parts of the object that are not compared as terms, each with its type."""
    words: bool = False
    """Whether the words of the value are in `fulltext`."""
    indexed: bool = False
    """Whether SQLite has a column with an index for the value. Elasticsearch indexes all values."""
    rerun: bool = False
    """Whether `geventjob rerun` copies the value."""
    slipstream: Literal["set", "added", "noted", "computed", "own", "dropped", "refused"] = "refused"
    """The treatment on a SlipStream server; `SLIPSTREAM` has the words."""

    @property
    def path(self) -> Path:
        """The path of the value that a search compares by `search`."""
        return (self.name, self.part) if self.part else (self.name,)

    @property
    def singles(self) -> dict[Path, Type]:
        """The paths that have one value at most, each with the type by which a search compares the value."""
        if self.search in (None, Type.TERMS):
            return {}
        return {self.path: self.search, **{(self.name, part): type for part, type in self.also}}

    @property
    def fraction(self) -> bool:
        """Whether numbers may have a fraction."""
        return getattr(self.type.checked, "__origin__", None) is float


SLIPSTREAM = {
    "set": "set",
    "added": "set at the add only",
    "noted": "kept in `properties`",
    "computed": "computed from `attempts`",
    "own": "set by its server",
    "dropped": "left out",
    "refused": "refused",
}


def _by_server(name: str, type: ValueType, help: str, **more: Any) -> Attribute:
    """Return an attribute that clients can neither set nor delete."""
    return Attribute(name, type, help, sent="", delete="kept", **{"slipstream": "own", **more})


ATTRIBUTES: tuple[Attribute, ...] = (
    _by_server("id", types.ID, "id of the job", search=Type.TEXT, indexed=True),
    _by_server("resourceURI", types.URI, "kind of the document", search=Type.TEXT),
    _by_server("created", types.MOMENT, "time of the add", search=Type.DATE, indexed=True),
    _by_server("updated", types.MOMENT, "time of the last change", search=Type.DATE, indexed=True),
    _by_server("operations", types.OPERATIONS, "what the caller may do with the job; made for each answer"),
    Attribute("acl", types.ACL, "who may see, edit, stop and delete the job; by default the adder's alone",
              after_end=True, delete="kept", rerun=True, slipstream="set"),
    Attribute("name", types.CAPTION, "a name for people", after_end=True, search=Type.TEXT, words=True, rerun=True,
              slipstream="set"),
    Attribute("description", types.TEXT, "a text for people", after_end=True, search=Type.TEXT, words=True, rerun=True,
              slipstream="set"),
    Attribute("tags", types.TAG_LIST, "labels to find the job by", after_end=True, words=True, rerun=True),
    Attribute("properties", types.PROPERTIES,
              f"names and values of the client's choice; the server keeps the path of the entry there, as `{ENTRY}`",
              after_end=True, words=True, rerun=True, slipstream="set"),
    Attribute("parent", types.HREF, "a resource that the job belongs to"),
    Attribute("resourceMetadata", types.HREF, "a description of the kind of resource"),
    Attribute("action", types.ACTION, "name of the action to run; each add needs one", guarded=True, delete="refused",
              search=Type.TEXT, indexed=True, rerun=True, slipstream="added"),
    Attribute("payload", types.OBJECT, f"input of the action, at most {types.PAYLOAD_BYTES // 1024} KB", guarded=True,
              search=None, rerun=True),
    Attribute("targetResource", types.REFERENCE, "the resource that the action is about", guarded=True,
              search=Type.TEXT, part="href", indexed=True, rerun=True, slipstream="set"),
    Attribute("affectedResources", types.REFERENCES, "resources that the action changes; the target is added",
              slipstream="set"),
    Attribute("priority", types.PRIORITY, f"place in the queue: lower runs first (default {LOWEST_PRIORITY})",
              guarded=True, delete="kept", search=Type.NUMBER, indexed=True, rerun=True, slipstream="added"),
    Attribute("timeout", types.SECONDS, "seconds that the action may take", guarded=True, search=Type.NUMBER,
              rerun=True),
    Attribute("notBefore", types.SOONEST, "the job runs then or later; until then the job is `held`", sent="add",
              delete="kept", search=Type.DATE),
    Attribute("expires", types.LATEST, "a job that is not RUNNING by this time is STOPPED, with the message `expired`",
              sent="add", delete="kept", search=Type.DATE, indexed=True),
    Attribute("after", types.AFTER,
              f"the job waits until these `jobs` (1 to {types.PREDECESSORS:,}) are final; `whenFailed` says what it "
              "does if one of them does not end in SUCCESS: `fail` (the default), `stop` or `run`",
              sent="add", delete="kept", search=None),
    _by_server("held", types.HELD,
               "there while the job waits before the queue: `why` (`notBefore`, `retry`, `paused`, `limit`, `rate`, "
               "`after`, `unique`, `batch`), `detail` in words, "
               "`until` if the end is known, else `on`: the one thing that the job waits for, and "
               "`place`: its place among all that wait for the same",
               search=Type.DATE, part="until", also=(("why", Type.TEXT), ("on", Type.TEXT), ("place", Type.TEXT)),
               indexed=True, slipstream="refused"),
    _by_server("batch", types.BATCH,
               "there in the callback of a batch: whether jobs may still be added, `whenFailed`, and when all have "
               "ended their number (`total`) and the number of those without SUCCESS (`failed`)",
               slipstream="refused"),
    _by_server("limits", types.LINES, "the keys of the limits that the job comes under", slipstream="refused"),
    _by_server("admitted", types.DATE, "time at which the job was let through its limits last", search=Type.DATE,
               indexed=True, slipstream="refused"),
    Attribute("idempotencyKey", types.LINE, "an add with the key of an existing job makes no second job", sent="add",
              delete="kept", search=Type.TEXT, slipstream="dropped"),
    Attribute("unique", types.UNIQUE, "an add is refused while another job has the same values at these paths",
              sent="add", delete="kept", rerun=True),
    Attribute("retries", types.RETRIES, "how often a failed run is tried again; by default the action's own number",
              guarded=True, search=Type.NUMBER, rerun=True),
    Attribute("parentJob", types.JOB, "the job that added this one, or the callback of its batch", guarded=True,
              search=Type.TEXT, indexed=True, slipstream="set"),
    Attribute("nestedJobs", types.JOBS, "jobs that this one added", slipstream="set"),
    Attribute("traceparent", types.TRACEPARENT,
              "the trace that the job is part of; by default that of the request, by its header `traceparent`",
              sent="add", delete="kept", search=None, slipstream="dropped"),
    Attribute("state", types.STATE, "state of the job; QUEUED after the add", sent="edit", guarded=True, owned=True,
              delete="refused", search=Type.TEXT, indexed=True, slipstream="set"),
    Attribute("returnCode", types.INTEGER, "number that the action returned", owned=True, search=Type.NUMBER,
              slipstream="set"),
    Attribute("progress", types.PERCENT, "percent that is done; 100 in a final state", owned=True, delete="refused",
              search=Type.NUMBER, slipstream="set"),
    Attribute("statusMessage", types.STRING,
              f"the last message of the action, or why it failed; cut at {types.MESSAGE_BYTES:,} bytes",
              owned=True, search=Type.TEXT, words=True, slipstream="set"),
    Attribute("output", types.REPORT, f"result of the action, at most {types.REPORT_BYTES // 1024} KB", sent="edit",
              owned=True, search=None),
    Attribute("checkpoint", types.REPORT,
              f"what a later attempt needs of this one, at most {types.REPORT_BYTES // 1024} KB", sent="edit",
              owned=True, search=None),
    _by_server("errors", types.ERRORS, "the last failures: {at, attempt, executor, type, message, traceback}",
               search=None, slipstream="refused"),
    _by_server("failure", types.STRING, "group of the last failure: `failure/` and this name has its counts",
               slipstream="refused"),
    _by_server("retried", types.COUNT, "how often a failed run was tried again", search=Type.NUMBER,
               slipstream="refused"),
    _by_server("timeOfStatusChange", types.DATE, "time of the last statusMessage", search=Type.DATE),
    _by_server("started", types.DATE, "time of the first RUNNING", search=Type.DATE),
    _by_server("duration", types.DURATION, "seconds from `started` to the end", search=Type.NUMBER),
    _by_server("executor", types.STRING, "executor that began or ended the job last", search=Type.TEXT,
               indexed=True, slipstream="noted"),
    _by_server("fence", types.COUNT, "fencing token of that executor's claim",
               search=Type.NUMBER, slipstream="noted"),
    _by_server("attempts", types.COUNT, "how often the job was begun", search=Type.NUMBER, slipstream="noted"),
    _by_server("interruptions", types.COUNT, "attempts whose executor died before the attempt ended",
               search=Type.NUMBER, slipstream="noted"),
    _by_server("interrupted", types.FLAG, "whether an earlier attempt ended without an outcome",
               search=Type.BOOLEAN, slipstream="computed"),
)  # fmt: skip


def named(holds: Callable[[Attribute], bool]) -> tuple[str, ...]:
    """Return the names of the attributes for which `holds` is true, in the order of the table."""
    return tuple(attribute.name for attribute in ATTRIBUTES if holds(attribute))


COPIED = named(lambda attribute: attribute.rerun)
"""Attributes that a rerun copies into the new job."""
SET_BY_SERVER = frozenset(named(lambda attribute: not attribute.sent))
"""Attributes that the server alone sets: values of a client are ignored."""
MOMENTS = frozenset(named(lambda attribute: attribute.type in (types.SOONEST, types.LATEST)))
"""Attributes that are moments. An add turns each into a date in UTC."""
AT_ADD = frozenset(named(lambda attribute: attribute.sent == "add"))
"""Attributes that an add sets, and an edit ignores."""
AT_EDIT = frozenset(named(lambda attribute: attribute.sent == "edit"))
"""Attributes that an edit sets, and an add ignores."""
REQUIRED = frozenset(named(lambda attribute: attribute.delete == "refused"))
"""Attributes that every job has: an edit that deletes one is refused."""
KEPT = frozenset(named(lambda attribute: attribute.delete != "deleted"))
"""Attributes that no edit deletes."""
GUARDED = named(lambda attribute: attribute.guarded)
"""Attributes that only the roles EXECUTOR and ADMIN may edit."""
OWNED = named(lambda attribute: attribute.owned)
"""Attributes that no unfenced edit changes while the fenced owner of the job holds its entry."""
AFTER_END = frozenset(named(lambda attribute: attribute.after_end))
"""Attributes in which a job in a final state may still be edited, without a fence."""
