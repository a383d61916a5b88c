"""Requests of ZooKeeper that kazoo lacks, and one whose answer kazoo reads too slowly.

kazoo's `_call` sends any object with a `type`, a `serialize` and a `deserialize`. Multi-read and getEphemerals exist
since ZooKeeper 3.6 (docs/measurements.md, "ZooKeeper over the years"). An older server answers `UnimplementedError`,
which tells its age.
"""

from __future__ import annotations

import re
import time
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from kazoo.exceptions import EXCEPTIONS, NoNodeError
from kazoo.protocol.serialization import (
    GetChildren,
    int_struct,
    multiheader_struct,
    read_buffer,
    read_string,
    stat_struct,
    write_string,
)
from kazoo.protocol.states import ZnodeStat

_GET_DATA = multiheader_struct.pack(4, False, -1)
_END = multiheader_struct.pack(-1, True, -1)


class MultiRead(namedtuple("MultiRead", "paths")):
    """Data and stat of many nodes at once: `(bytes or None, ZnodeStat)` for each, None for a missing node.

    For a node without permission the error is returned, not raised.
    """

    type = 22
    paths: Sequence[str]

    def serialize(self) -> bytes:
        return bytes(b"".join([_GET_DATA + write_string(path) + b"\0" for path in self.paths]) + _END)

    def deserialize(self, buffer: bytes, offset: int) -> list[Any]:
        answers: list[Any] = []
        while True:
            kind, done, _ = multiheader_struct.unpack_from(buffer, offset)
            offset += multiheader_struct.size
            if done:
                return answers
            if kind == -1:
                (code,) = int_struct.unpack_from(buffer, offset)
                offset += int_struct.size
                answers.append(None if code == NoNodeError.code else EXCEPTIONS[code]())
            else:
                data, offset = read_buffer(buffer, offset)
                answers.append((data, ZnodeStat._make(stat_struct.unpack_from(buffer, offset))))
                offset += stat_struct.size


class GetEphemerals(namedtuple("GetEphemerals", "prefix")):
    """Paths of this session's ephemeral nodes under a prefix."""

    type = 103
    prefix: str

    def serialize(self) -> bytes:
        return bytes(write_string(self.prefix))

    def deserialize(self, buffer: bytes, offset: int) -> list[str]:
        (count,) = int_struct.unpack_from(buffer, offset)
        offset += int_struct.size
        paths = []
        for _ in range(count):
            path, offset = read_string(buffer, offset)
            paths.append(path)
        return paths


class EntryNames(GetChildren):  # type: ignore[misc]  # kazoo has no types
    """The children of a folder that are entries of a queue. Other names are dropped.

    One regular expression over the answer replaces a loop over its names: a quarter of the time at a deep queue.
    """

    # Each name follows its length: four bytes that no name can contain.
    _short = re.compile("\0\0\0\x14(entry-[0-9]{3}-(?:[0-9]{10}|-(?!0{9})[0-9]{9}))")
    _long = re.compile("\0\0\0\x15(entry-[0-9]{3}--[1-9][0-9]{9})")

    cpu = 0.0
    """Seconds of CPU that reading the answer took."""

    def deserialize(self, buffer: bytes, offset: int) -> list[str]:
        began = time.thread_time()
        text = buffer.decode("latin-1")
        names = self._short.findall(text, offset) + self._long.findall(text, offset)
        self.cpu = time.thread_time() - began
        return names
