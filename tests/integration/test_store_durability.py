"""A store keeps every acknowledged write when its process is killed: a 201 survives `kill -9`."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geventjob.cimi.document import Document
from geventjob.server.store.base import Insert
from geventjob.server.store.sqlite import SqliteStore

WRITER = """
import geventjob.patch

import os, sys
import gevent
from geventjob.server.store.base import Insert, Update
from geventjob.server.store.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
store.start()


def say(words):
    os.write(1, (words + "\\n").encode())


def write(writer):
    number = 0
    while True:
        id = f"job/{writer}-{number}"
        store.write([Insert({"id": id, "state": "QUEUED", "payload": {"text": "x" * number}}, id)])
        say(f"inserted {id}")
        store.write([Update(id, lambda document: {**document, "state": "SUCCESS"})])
        say(f"updated {id}")
        if number % 3 == 0:
            store.write([Update(id, lambda document: None)])
            say(f"deleted {id}")
        number += 1


gevent.joinall([gevent.spawn(write, writer) for writer in range(20)], raise_error=True)
"""


def killed_writer(path: Path, lines: int) -> dict[str, str]:
    """Return the last acknowledged write of each document, after the process was killed while writing."""
    said: dict[str, str] = {}
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(lines):
            word, id = process.stdout.readline().split()
            said[id] = word
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                word, id = line.split()
                said[id] = word
    assert process.returncode == -signal.SIGKILL
    return said


def agrees(word: str, document: Document | None) -> bool:
    """Return whether the document is as last acknowledged, or as after the write in flight."""
    if word == "deleted":
        return document is None
    if word == "updated":
        return document is None or document["state"] == "SUCCESS"
    return document is not None and document["state"] in ("QUEUED", "SUCCESS")


@pytest.mark.parametrize("round_", range(3))
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, round_: int) -> None:
    path = tmp_path / "server.db"
    said = killed_writer(path, random.randint(300, 1500))
    store = SqliteStore(path)
    store.start()
    try:
        found = dict(zip(said, store.get(list(said)), strict=True))
        assert {id: (word, found[id]) for id, word in said.items() if not agrees(word, found[id])} == {}
        left = [id for id, document in found.items() if document is not None]
        assert store.find("job", left) == [found[id] for id in left]
        assert store.write([Insert({"id": "job/next"})]) == [{"id": "job/next"}]
    finally:
        store.close()
