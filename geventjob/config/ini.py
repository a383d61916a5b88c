"""The ini file: `option = value` lines, under any heading or none, and a section `[timeouts]`."""

from __future__ import annotations

import configparser
import os
import stat
from argparse import ArgumentTypeError
from collections.abc import Collection
from typing import IO

import configargparse

from geventjob.config import kinds

LARGEST = 1 << 20
TIMEOUTS = "timeouts"


class Broken(configargparse.ConfigFileParserException):  # type: ignore[misc]
    """The file cannot be used; the message says why, in a line."""


def opened(path: str) -> IO[str]:
    """Open the file; Broken if that is not allowed."""
    try:
        return open(path, encoding="utf-8-sig")
    except OSError as error:
        raise Broken(f"cannot read {path}: {error.strerror}") from None


class IniFile(configargparse.ConfigFileParser):  # type: ignore[misc]
    """One ini file. Headings other than `[timeouts]` are for the eye only; what is unknown is an error."""

    def __init__(self, known: Collection[str], timeouts: bool) -> None:
        """`known`: names of the options; `timeouts`: whether the command has a section `[timeouts]`."""
        super().__init__()
        self._known = known
        self._has_timeouts = timeouts
        self.timeouts: dict[str, float] = {}
        self.exposed: str | None = None
        """The file, if it holds a password and everybody may read it."""

    def get_syntax_description(self) -> str:
        return ""

    def parse(self, stream: IO[str]) -> dict[str, str]:
        """Options and their values as text. Raises Broken."""
        found: dict[str, str] = {}
        for heading, values in self._read(stream).items():
            if heading == TIMEOUTS:
                self.timeouts = self._timeouts(stream.name, values)
                continue
            for name, value in values.items():
                self._check(stream.name, name, twice=name in found)
                found[name] = "true" if value is None else value.strip()
        if "ss-pass" in found and os.fstat(stream.fileno()).st_mode & stat.S_IROTH:
            self.exposed = stream.name
        return {name: value for name, value in found.items() if value}

    def _read(self, stream: IO[str]) -> configparser.RawConfigParser:
        sections = configparser.RawConfigParser(
            delimiters=("=",),
            comment_prefixes=("#", ";"),
            allow_no_value=True,
            default_section="\0",
            empty_lines_in_values=False,
        )
        sections.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
        try:
            content = stream.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise Broken(f"{stream.name} is larger than 1 MB")
            sections.read_string("[geventjob]" + "\n" + content if not content.lstrip().startswith("[") else content)
        except UnicodeDecodeError:
            raise Broken(f"{stream.name} is not UTF-8 text") from None
        except OSError as error:
            raise Broken(f"cannot read {stream.name}: {error.strerror}") from None
        except configparser.Error as error:
            raise Broken(f"{stream.name}: {explained(error)}") from None
        return sections

    def _check(self, file: str, name: str, twice: bool) -> None:
        if name not in self._known:
            raise Broken(f"{file}: unknown option {name!r}")
        if twice:
            raise Broken(f"{file}: option {name!r} stands there twice")

    def _timeouts(self, file: str, values: configparser.SectionProxy) -> dict[str, float]:
        if not self._has_timeouts:
            raise Broken(f"{file}: a section [timeouts] is for executors only")
        try:
            return {action: kinds.seconds((value or "").strip()) for action, value in values.items()}
        except ArgumentTypeError as error:
            raise Broken(f"{file}: [timeouts]: {error}") from None


def explained(error: configparser.Error) -> str:
    """What is wrong, without the text of the line: that may hold a password."""
    if isinstance(error, configparser.DuplicateOptionError):
        return f"option {error.option!r} stands there twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"section [{error.section}] stands there twice"
    lines = [line for line, _ in error.errors] if isinstance(error, configparser.ParsingError) else []
    return f"line {lines[0]} is no `option = value`" if lines else "it is no ini file"
