"""Environment files as systemd reads them, and the words that `$VARIABLE` in `ExecStart=` becomes.

Rules: systemd.exec(5), EnvironmentFile=, and systemd.service(5), "Command lines"; held to a real systemd by
`tests/packages/test_debian.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

WHITESPACE = " \t\n\r"
NEWLINE = "\n\r"
ESCAPED = '"\\`$'
"""Characters that a backslash escapes within double quotes."""


@dataclass(frozen=True)
class Assignment:
    """One assignment of a file; without a name for a line that systemd ignores."""

    line: int
    name: str
    value: str
    raw: str
    """The text of the value as the file has it."""


def variables(text: str) -> dict[str, str]:
    """Return the variables that an environment file sets; the last of equal names counts."""
    return {found.name: found.value for found in assignments(text) if found.name and " " not in found.name}


def assignments(text: str) -> Iterator[Assignment]:
    """Yield the assignments of an environment file. Quotes that do not begin a value are a part of the value."""
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        if text[position] in WHITESPACE:
            position += 1
        elif text[position] in "#;":
            position = _line_end(text, position)
        else:
            equals, end = text.find("=", position), _end(text, position)
            if equals < 0 or equals > end:
                yield Assignment(line, "", "", text[position:end])
                position = end + 1
                continue
            name = text[position:equals].rstrip(WHITESPACE)
            value, position = _value(text, equals + 1)
            yield Assignment(line, name, value, text[equals + 1 : position].strip())


def _end(text: str, position: int) -> int:
    """Return the position of the next line feed, or the length of the text."""
    ends = [found for found in (text.find(mark, position) for mark in NEWLINE) if found >= 0]
    return min(ends, default=len(text))


def _line_end(text: str, position: int) -> int:
    """Return the end of a comment; a backslash before the line feed continues the comment."""
    while position < len(text) and text[position] not in NEWLINE:
        position += 2 if text[position] == "\\" else 1
    return position


def _value(text: str, position: int) -> tuple[str, int]:
    """Return the value that begins here, and the position behind its line."""
    value = ""
    while position < len(text) and text[position] not in NEWLINE:
        char = text[position]
        if char in " \t":
            position += 1
        elif char in "'\"":
            quoted, position = _quoted(text, position)
            value += quoted
        else:
            plain, position = _plain(text, position)
            return value + plain, position
    return value, position + 1


def _quoted(text: str, position: int) -> tuple[str, int]:
    """Return what stands in the quotes that open here, line feeds included, and the position behind them."""
    quote, value = text[position], ""
    position += 1
    while position < len(text) and text[position] != quote:
        if quote == '"' and text[position] == "\\" and position + 1 < len(text):
            following = text[position + 1]
            value += following if following in ESCAPED else "" if following == "\n" else "\\" + following
            position += 2
        else:
            value += text[position]
            position += 1
    return value, position + 1


def _plain(text: str, position: int) -> tuple[str, int]:
    """Return the rest of a line without its blanks at the end; a backslash escapes the next character."""
    value, kept = "", 0
    while position < len(text) and text[position] not in NEWLINE:
        if text[position] == "\\":
            position += 1
            if position < len(text) and text[position] not in NEWLINE:
                value += text[position]
            kept = len(value)
        else:
            value += text[position]
            kept = len(value) if text[position] not in WHITESPACE else kept
        position += 1
    return value[:kept], position + 1


def words(value: str) -> list[str]:
    """Return the arguments that `$VARIABLE` as a word of its own becomes.

    Quotes join words and are dropped, an open quote reaches to the end, a backslash escapes the next character.
    """
    return _walk(value)[0]


def _walk(value: str) -> tuple[list[str], bool]:
    """Return the words of a value, and whether its last quote is open."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    position = 0
    while position < len(value):
        char = value[position]
        if char == "\\" and quote != "'" and position + 1 < len(value):
            position += 1
            word = (word or "") + value[position]
        elif quote:
            quote = "" if char == quote else quote
            word = (word or "") + ("" if not quote else char)
        elif char in "'\"":
            quote, word = char, word or ""
        elif char in WHITESPACE:
            found += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + char
        position += 1
    return found if word is None else [*found, word], bool(quote)


def warnings(text: str) -> list[str]:
    """Return what in this file is probably not meant, a sentence each, in the order of the lines."""
    return [f"line {item.line}: {words}" for item in assignments(text) if (words := _warning(item))]


def _warning(item: Assignment) -> str:
    """Return what is probably not meant by an assignment; an empty text for nothing."""
    if not item.name:
        return "no '=': the line is ignored"
    if " " in item.name:
        return f"{item.name!r} is no name of a variable ('export' is for shells): ignored"
    if "=%d/" in item.value:
        return "systemd replaces %d in the lines of a unit alone"
    raw, quote = item.raw, item.raw[:1]
    if quote not in ("'", '"'):
        rest = ""
    elif "#" in raw[raw.rfind(quote) :]:
        return "the comment behind the value becomes a part of the value"
    else:
        rest = raw[_quoted(raw, 0)[1] :]
    if _walk(item.value)[1]:
        return "an open quote joins the options behind it into one value"
    return f"the value goes on behind the quote that closes it: does it contain a {quote} of its own?" if rest else ""
