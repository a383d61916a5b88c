"""The messages between executor, fork server and workers: JSON, within bounds.

A worker may send anything, since code of an action runs in it. So each message from a worker is checked against its
type, and a message that does not fit ends the worker.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal, TypeVar, Union

import msgspec
from msgspec import Meta, Struct

from geventjob.cimi.body import encoded
from geventjob.job.bounds import MOST_RETRIES
from geventjob.job.types import MESSAGE_BYTES

LARGEST = 1 << 20
"""Bytes of a message of a worker."""
LINE = 1 << 16
"""Characters of a log line, of a traceback and of the text of an exception."""
HEAD = struct.Struct("!I")
"""The head of a message on a stream: the number of bytes that follow."""

Message = TypeVar("Message")
Short = Annotated[str, Meta(max_length=200)]
Long = Annotated[str, Meta(max_length=LINE)]


class BadMessage(Exception):
    """Bytes that are no message."""


# --- executor → fork server, each in one packet


class Fork(Struct, tag="fork"):
    """Fork a worker; two descriptors come with the packet: its socket and its file for stacks."""

    worker: int
    memory: int | None
    """Most bytes; None for no limit."""


class Signal(Struct, tag="signal"):
    """Send a signal to a worker, if it lives."""

    worker: int
    number: int


class Alive(Struct, tag="alive"):
    """The executor works: do not end the workers before `until` (boottime, seconds)."""

    until: float


Order = Union[Fork, Signal, Alive]


# --- fork server → executor, each in one packet


class Died(Struct, tag="died"):
    """A worker has ended."""

    worker: int
    status: int
    """As of `os.wait4`."""
    memory: int
    """Bytes, the most that were resident."""
    cpu: float
    """Seconds."""
    over_memory: bool = False
    """Whether the kernel ended it since its control group was full."""


# --- executor → worker


class Setup(Struct, tag="setup"):
    """The first message to a worker."""

    folders: list[str]
    """Drop-in folders of action files."""
    module: str
    action: str
    level: str
    """As of `--log-level`."""
    settings: dict[str, Any]


class Start(Struct, tag="start"):
    """Run a job."""

    job: dict[str, Any]
    seconds: float | None
    """Its time limit."""
    trace: str | None = None
    """The traceparent of the run, for the requests of its client."""


class Reply(Struct, tag="reply"):
    """The answer to a call: the change of the document, or an error."""

    call: int
    changed: dict[str, Any] = {}
    gone: list[str] = []
    error: dict[str, Any] | None = None
    """`kind`, the name of a class, and the values of its constructor."""


class LogIn(Struct, tag="log-in"):
    """The answer to `AskClient`: the arguments of `geventjob.Client`."""

    call: int
    arguments: dict[str, Any] = {}


ToWorker = Union[Setup, Start, Reply, LogIn]


# --- worker → executor


class Loaded(Struct, tag="loaded"):
    """The file of the action is loaded, for the first job of the process: the action begins."""


class EditCall(Struct, tag="edit"):
    """Edit the job."""

    call: int
    set: dict[str, Any]
    main: bool
    """Whether the thread that runs the action waits for the reply."""


class AskClient(Struct, tag="client"):
    """Ask how to log in to the server."""

    call: int


class LoggedLine(Struct, tag="line"):
    """A log line."""

    level: Annotated[int, Meta(ge=0, le=100)]
    name: Short
    text: Long
    created: Annotated[float, Meta(ge=0, le=4e9)]
    """Unix seconds."""


class Ended(Struct):
    """What each end of the action's code tells."""

    end: Literal["SUCCESS", "FAILED", "STOPPED"] | None
    """The state that the action has asked for."""
    clean: bool
    """Whether the process may run another job."""


class Value(Ended, tag="value"):
    """The action returned `value`; None with a `wrong` type for a value that is no result."""

    value: Any = None
    wrong: Short = ""


class Error(Ended, tag="error"):
    """The action raised an exception."""

    kind: Short = "Exception"
    text: Annotated[str, Meta(max_length=MESSAGE_BYTES)] = ""
    trace: Long = ""
    pause: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    """Seconds before the next try, by the rule of the action; None: the failure is final."""
    limit: Annotated[int, Meta(ge=0, le=MOST_RETRIES)] = 0
    lost: bool = False
    """Whether it is JobLost, which the code has caught from a call and raised again."""
    more: bool = False
    """Whether the text of the exception is still to come, in another message."""


FromWorker = Union[Loaded, EditCall, AskClient, LoggedLine, Value, Error]

_DECODERS = {kind: msgspec.json.Decoder(kind) for kind in (Order, Died, ToWorker, FromWorker)}


def packed(message: Struct) -> bytes:
    """Return a message as JSON. Raises ValueError, TypeError for values that JSON lacks."""
    return encoded(message)


def framed(message: Struct) -> bytes:
    """Return a message for a stream: its head, and JSON. Raises as `packed`."""
    body = packed(message)
    return HEAD.pack(len(body)) + body


def unpacked(kind: Any, data: bytes | bytearray) -> Any:
    """Return the message of JSON. Raises BadMessage for anything else."""
    try:
        return _DECODERS[kind].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(str(error)[:200]) from None
