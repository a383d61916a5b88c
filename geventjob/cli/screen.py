"""Output: tables and progress on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES = {
    "QUEUED": "dim",
    "RUNNING": "cyan",
    "SUCCESS": "green",
    "FAILED": "red",
    "STOPPING": "yellow",
    "STOPPED": "yellow",
}
"""Style of a cell by its first word."""
CUT = ("message", "leads", "executors", "roles", "host", "user", "action", "taken by", "name")
"""Columns that a narrow terminal cuts, in this order."""
FLOORS = (20, 8)
"""Widths to which columns are cut: all of them to the first, then all of them to the second."""
GAP = 2
"""Cells between two columns."""
LONG_ID = re.compile(r"job/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""The id of a job. A terminal shows its first eight digits, which every command takes."""
Update = Callable[[float, str], None]


class Screen:
    """Standard output and standard error. With `json` only JSON goes to standard output."""

    def __init__(self, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.live = not json and self.out.isatty()
        """Whether the output is a terminal, without `json`."""
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """The console of rich, loaded on first use."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.out, highlight=False, markup=False, emoji=False)
        return self._console

    def line(self, text: str, style: str | None = None) -> None:
        """Print a line for people, never cut; nothing with `json`."""
        if self.live and style:
            self.console.print(clean(text), style=style, soft_wrap=True)
        elif not self.json:
            print(clean(text), file=self.out, flush=True)

    def note(self, text: str) -> None:
        """Print a line on stderr."""
        print(f"geventjob: {clean(text)}", file=self.err, flush=True)

    def document(self, value: Any) -> None:
        """Print a value as indented JSON."""
        print(json.dumps(value, indent=2, ensure_ascii=False), file=self.out, flush=True)

    def record(self, value: Any) -> None:
        """Print a value as JSON in one line."""
        print(json.dumps(value, ensure_ascii=False), file=self.out, flush=True)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows under headers; None is an empty cell."""
        if self.live:
            self.console.print(rendered(headers, rows, self.console.width))
            return
        for row in aligned([header.upper() for header in headers], cells(rows)):
            print(row, file=self.out)
        self.out.flush()

    @contextmanager
    def progress(self, total: float, every: float = 0.0) -> Iterator[Update]:
        """Show progress: yields `update(done, text)`, where the text begins with a state.

        A terminal shows a bar; elsewhere each new text is a line, at most one in `every` seconds.
        """
        if self.json:
            yield lambda done, text: None
        elif self.live:
            with self._bar(total) as update:
                yield update
        else:
            lines = _Lines(self, every)
            yield lines.update
            lines.last()

    @contextmanager
    def _bar(self, total: float) -> Iterator[Update]:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        words = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        bar = Progress(BarColumn(30), TaskProgressColumn(), TimeElapsedColumn(), words, console=self.console)
        with bar:
            task = bar.add_task("", total=total)
            yield lambda done, text: bar.update(task, completed=done, description=clean(text))


class _Lines:
    """Progress as lines, where no terminal is."""

    def __init__(self, screen: Screen, every: float) -> None:
        self._screen = screen
        self._every = every
        self._shown = ""
        self._latest = ""
        self._due = 0.0

    def update(self, done: float, text: str) -> None:
        """Note the latest text, and print it if a line is due."""
        self._latest = text
        if time.monotonic() >= self._due:
            self.last()
            self._due = time.monotonic() + self._every

    def last(self) -> None:
        """Print the latest text unless it was printed before."""
        if self._latest != self._shown:
            self._shown = self._latest
            self._screen.line(self._latest)


def cells(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    """Return the texts of cells, without control characters."""
    return [["" if cell is None else clean(str(cell)) for cell in row] for row in rows]


def rendered(headers: Sequence[str], rows: Sequence[Sequence[object]], room: int) -> RenderableType:
    """Return a table for a terminal of `room` cells a line: ids short, long texts cut, everything else whole."""
    from rich.table import Table
    from rich.text import Text

    texts = [[LONG_ID.sub(r"\1", cell) for cell in row] for row in cells(rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, width in zip(headers, widths(headers, texts, room), strict=True):
        table.add_column(header.upper(), no_wrap=True, overflow="ellipsis", width=width)
    for row in texts:
        table.add_row(*(Text(cell, style=STYLES.get(cell.partition(" ")[0], "")) for cell in row))
    return table


def widths(headers: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the cells of each column, at most `room` in a line as far as columns of `CUT` can give way."""
    from rich.cells import cell_len

    wanted = [max(cell_len(text) for text in column) for column in zip(headers, *rows, strict=True)]
    over = sum(wanted) + GAP * (len(headers) - 1) - room
    for floor, name in itertools.product(FLOORS, CUT):
        if over > 0 and name in headers:
            at = headers.index(name)
            cut = max(0, min(over, wanted[at] - floor))
            wanted[at] -= cut
            over -= cut
    return wanted


def aligned(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield headers and rows as lines with aligned columns, nothing cut."""
    lines = [headers, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headers))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def attributes(values: Mapping[str, object]) -> list[str]:
    """Return a line for each name and value; further lines of a value are indented below the first."""
    width = max(map(len, values), default=0)
    lines = []
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        first, *more = text.splitlines() or [""]
        lines.append(f"{name.ljust(width)}  {first}")
        lines += [" " * (width + 2) + line for line in more]
    return lines


def clean(text: str) -> str:
    """Replace control characters by blanks: a job's message may hold sequences that steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def span(seconds: float | None) -> str | None:
    """Return a duration in the largest unit that is precise enough.

    >>> span(0.4), span(75), span(7200), span(200000)
    ('0 s', '75 s', '120 min', '55 h')
    """
    if seconds is None:
        return None
    for unit, size, enough in (("s", 1, 100), ("min", 60, 180), ("h", 3600, 72)):
        if seconds < size * enough:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


def age(moment: object) -> str | None:
    """Return the time since a CIMI timestamp by this machine's clock; None for another text."""
    try:
        then = datetime.strptime(str(moment), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return span(max(0.0, (datetime.now(timezone.utc) - then).total_seconds()))


def height() -> int:
    """Return the number of lines of the terminal."""
    import shutil

    return shutil.get_terminal_size((80, 24)).lines
