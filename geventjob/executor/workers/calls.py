"""The connection of a worker to its executor: calls of the job, log lines, and the result."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from geventjob.cimi.document import Document
from geventjob.executor.job import Job
from geventjob.executor.workers.errors import made
from geventjob.executor.workers.messages import (
    HEAD,
    LARGEST,
    LINE,
    AskClient,
    EditCall,
    FromWorker,
    LoggedLine,
    LogIn,
    Reply,
    ToWorker,
    framed,
    unpacked,
)

CHUNK = 1 << 16


class Calls:
    """The stream to the executor. Safe for threads: one call at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._process = os.getpid()
        self._buffer = bytearray()
        self._lock = threading.RLock()  # native, also where the action's file patches for gevent later
        self._sending = threading.RLock()
        self._number = 0
        self._job: Job | None = None
        self.waits = False
        """Whether the main thread makes a call: what ends the action waits until the call is over."""
        self.left: Callable[[], None] = lambda: None
        """Called in the main thread after each call."""

    def begin(self, job: Job) -> None:
        """Have the calls concern this job from now on."""
        self._job = job

    def send(self, message: FromWorker) -> None:
        """Send a message. Raises RuntimeError in a forked child of the worker, ValueError for too large a message."""
        if os.getpid() != self._process:
            raise RuntimeError(
                f"{self._job!r} is run by the process {self._process}: a forked child cannot write to it"
            )
        data = memoryview(framed(message))
        if len(data) - HEAD.size > LARGEST:
            raise ValueError(f"expected at most {LARGEST:,} bytes in a call, not {len(data):,}")
        with self._sending:
            while data:
                data = data[os.write(self._descriptor, data) :]

    def receive(self) -> ToWorker:
        """Return the next message; end the process when there is none, since its executor is gone."""
        size = HEAD.unpack(self._bytes(HEAD.size))[0]
        message: ToWorker = unpacked(ToWorker, self._bytes(size))
        return message

    def _bytes(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = os.read(self._descriptor, CHUNK)
            if not data:
                os._exit(0)
            self._buffer += data
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    # --- calls

    def edit(self, attributes: Document) -> Document:
        """Edit the job, and return its document. Raises what the executor tells: JobLost, Refused and others."""
        assert self._job is not None
        reply = self._call(EditCall(0, attributes, threading.current_thread() is threading.main_thread()))
        assert isinstance(reply, Reply)
        if reply.error is not None:
            raise made(reply.error)
        document = {**self._job, **reply.changed}
        for name in reply.gone:
            document.pop(name, None)
        return document

    def ask_client(self) -> dict[str, Any]:
        """Return the arguments for a client of the server."""
        reply = self._call(AskClient(0))
        assert isinstance(reply, LogIn)
        return reply.arguments

    def _call(self, message: EditCall | AskClient) -> Reply | LogIn:
        with self._lock:
            main = threading.current_thread() is threading.main_thread()
            self.waits = main
            try:
                self._number += 1
                message.call = self._number
                self.send(message)
                while True:  # the reply to a call that was left by an exception of the action's own comes first
                    reply = self.receive()
                    if isinstance(reply, (Reply, LogIn)) and reply.call == self._number:
                        return reply
            finally:
                if main:
                    self.waits = False
                    self.left()


class SentLines(logging.Handler):
    """The handler that sends log lines to the executor, whose log has them with the id of the job."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        try:
            text = self.format(record)
        except Exception as error:  # a wrong log call must not fail the action that makes it
            text = f"cannot format the message {record.msg!r:.200}: {type(error).__name__}"
        if len(text) > LINE:
            cut = f"… (cut, {len(text)} characters)"
            text = text[: LINE - len(cut)] + cut
        self._calls.send(LoggedLine(record.levelno, record.name[:200], text, record.created))
