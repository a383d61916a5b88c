"""The ini file: `option = value` lines, under any heading or none, and the sections `[timeouts]` and `[rights]`."""

from __future__ import annotations

import configparser
import os
import re
import stat
from argparse import ArgumentTypeError
from typing import IO

import configargparse

from geventjob.config import kinds
from geventjob.config.options import options, written
from geventjob.config.settings import SECRETS, Settings

LARGEST = 1 << 20
TIMEOUTS = "timeouts"
VALUE = re.compile(r"""(?P<quote>['"]?)(?P<text>.*?)(?P=quote)(?P<note>\s+[;#].*)?""")
"""One line of a value as SlipStream's parser reads it: without surrounding quotes and a note behind the value."""
TOP = "\1"
"""Heading that stands for the lines above all headings."""
RIGHTS = "rights"
WITH_TIMEOUTS = ("executor", "up")
"""The commands that read a section `[timeouts]`."""
WITH_RIGHTS = ("server", "up")
"""The commands that read a section `[rights]`."""
SWITCHED = ("true", "false", "yes", "no", "on", "off", "1", "0")


class Broken(configargparse.ConfigFileParserException):  # type: ignore[misc]
    """An ini file that cannot be used. The message is one line without values: a value may be a password."""


class IniFile(configargparse.ConfigFileParser):  # type: ignore[misc]
    """One ini file. Headings other than `[timeouts]` and `[rights]` have no meaning; unknown options are errors."""

    def __init__(self, command: str) -> None:
        """Set the command whose options the file may have."""
        super().__init__()
        self._options = {option.name: option for option in options(command)}
        self.has_timeouts = command in WITH_TIMEOUTS
        self.has_rights = command in WITH_RIGHTS
        self.timeouts: dict[str, float] = {}
        self.rights: dict[str, list[str]] = {}
        self.has_note = False
        """Whether a password without quotes ends before ` #` or ` ;`."""
        self.exposed: str | None = None
        """The path of the file, if it holds a password and every user may read it."""

    def get_syntax_description(self) -> str:
        """Return nothing: `--help` describes the syntax elsewhere."""
        return ""

    def parse(self, stream: IO[str]) -> dict[str, str]:
        """Return options and their values as text, without options that have no value. Raises Broken."""
        try:
            found = self._options_of(read(stream))
        except Broken as broken:
            raise Broken(f"{stream.name}: {broken}") from None
        if "ss-pass" in found and os.fstat(stream.fileno()).st_mode & stat.S_IROTH:
            self.exposed = stream.name
        return found

    def _options_of(self, sections: configparser.RawConfigParser) -> dict[str, str]:
        found: dict[str, str] = {}
        for heading, values in sections.items():
            if heading == TIMEOUTS:
                self.timeouts = self._timeouts_of(values)
                continue
            if heading == RIGHTS:
                self.rights = self._rights_of(values)
                continue
            for name, value in values.items():
                if name in found:
                    raise Broken(f"option {name!r} is given twice")
                found[name] = self._checked(name, value)
        return {name: value for name, value in found.items() if value}

    def _checked(self, name: str, value: str | None) -> str:
        option = self._options.get(name)
        if option is None:
            raise Broken("a line is not `option = value`" if value is None else f"unknown option {name!r}")
        if value is None and not option.switch:
            raise Broken(f"{name}: expected {name} = value")
        text = "true" if value is None else plain(value)
        if name == "ss-pass" and value:
            read_as = VALUE.fullmatch(value.strip())
            self.has_note = bool(read_as and read_as["note"] and not read_as["quote"])
        if option.switch and text and text.lower() not in SWITCHED:
            raise Broken(f"{name}: expected true or false")
        return text

    def _timeouts_of(self, values: configparser.SectionProxy) -> dict[str, float]:
        if not self.has_timeouts:
            raise Broken("only executors have a section [timeouts]")
        found = {}
        for action, value in values.items():
            try:
                found[action] = kinds.seconds(plain(value or ""))
            except ArgumentTypeError as error:
                raise Broken(f"[timeouts] {action}: {error}") from None
        return found

    def _rights_of(self, values: configparser.SectionProxy) -> dict[str, list[str]]:
        if not self.has_rights:
            raise Broken("only servers have a section [rights]")
        found = {}
        for user, value in values.items():
            try:
                found[user] = patterns(value or "")
            except ArgumentTypeError:
                raise Broken(f"[rights] {user}: expected actions, as report_*, mirror") from None
        return found


def patterns(value: str) -> list[str]:
    """Return the patterns of a line of `[rights]`, as `report_*, mirror`. Raises ArgumentTypeError."""
    return list(kinds.listed(kinds.text)(plain(value)))


def plain(value: str) -> str:
    """Return a value without surrounding quotes and notes, line by line."""
    return "\n".join(_text(line.strip()) for line in value.strip().split("\n"))


def _text(line: str) -> str:
    found = VALUE.fullmatch(line)
    return found["text"] if found else line


def line(name: str, value: str) -> str:
    """Return the line of an option; the value is quoted where quotes or a note would change it."""
    return f"{name} = {value}\n" if plain(value) == value else f'{name} = "{value}"\n'


def read(stream: IO[str]) -> configparser.RawConfigParser:
    """Return the sections of a file. Raises Broken."""
    sections = configparser.RawConfigParser(delimiters=("=",), allow_no_value=True, default_section="\0")
    sections.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
    try:
        content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Broken("larger than 1 MB")
        sections.read_string(f"[{TOP}]\n{content}")
    except UnicodeDecodeError:
        raise Broken("not UTF-8 text") from None
    except OSError as error:
        raise Broken(f"cannot be read: {error.strerror}") from None
    except configparser.Error as error:
        raise Broken(explained(error)) from None
    return sections


def explained(error: configparser.Error) -> str:
    """Return the error in words, without the text of the line."""
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {(error.lineno or 1) - 1}: this option is given twice"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {(error.lineno or 1) - 1}: this section is given twice"
    lines = [line for line, _ in error.errors] if isinstance(error, configparser.ParsingError) else []
    return f"line {lines[0] - 1} is not `option = value`" if lines else "not an ini file"


def as_ini(settings: Settings, command: str) -> str:
    """Return an ini file that gives another command the same settings, as far as it has these options; no passwords."""
    lines = []
    for option in options(command):
        value = getattr(settings, option.dest, None)
        is_default = value in (None, [], option.default) or (option.switch and not value)
        if option.dest not in SECRETS and not is_default:
            lines.append(line(option.name, written(value)).rstrip("\n"))
    rights = [f"{user} = {', '.join(actions)}" for user, actions in settings.rights.items()]
    if rights and command in WITH_RIGHTS:
        lines += ["[rights]", *rights]
    timeouts = [f"{action} = {seconds!r}" for action, seconds in settings.timeouts.items()]
    return "\n".join([*lines, *(["[timeouts]", *timeouts] if timeouts and command in WITH_TIMEOUTS else []), ""])
