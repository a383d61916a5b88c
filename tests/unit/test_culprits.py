"""Notes of the calls in which jobs hold up their executors."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geventjob import debug
from geventjob.executor import culprits
from geventjob.executor.culprits import Culprits


def test_a_note_is_kept_for_others_and_forgotten(tmp_path: Path) -> None:
    notes = tmp_path / "data" / "culprits"
    Culprits(notes).note("job/a-1", "`os.system('café')` \udce9" + "x" * culprits.LONGEST)
    assert Culprits(notes).of("job/a-1").startswith("`os.system('café')` \\udce9xxx")
    assert Culprits(notes).of("job/a-2") == ""
    [file] = notes.iterdir()
    assert (file.stat().st_mode & 0o777, notes.stat().st_mode & 0o777) == (0o600, 0o700)
    Culprits(notes).forget("job/a-1")
    Culprits(notes).forget("job/a-1")
    assert list(notes.iterdir()) == []


def test_old_notes_are_removed(tmp_path: Path) -> None:
    for job in ("job/old", "job/new"):
        Culprits(tmp_path).note(job, "a call")
    os.utime(tmp_path / "old", (0, time.time() - culprits.KEPT - 1))
    assert [Culprits(tmp_path).of(job) for job in ("job/old", "job/new")] == ["", "a call"]


def test_a_folder_that_cannot_be_used_has_no_notes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = Culprits(tmp_path / "file")
    notes.note("job/1", "a call")
    assert notes.of("job/1") == ""
    notes.forget("job/1")


def test_the_place_of_a_call_shows_no_password() -> None:
    generator: Any = waits()
    next(generator)
    shown = debug.place(generator.gi_frame)
    assert shown.startswith('`yield "http://***@host"` (')
    assert shown.endswith(", in waits)")


def waits() -> Iterator[Any]:
    yield "http://user:secret@host"
