"""What people read: tables and progress on a terminal, plain lines everywhere else, JSON for programs."""

from __future__ import annotations

import itertools
import json
import re
import shutil
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
"""By the first word of a cell."""
CUT = ("message", "leads", "executors", "roles", "host", "user", "action", "taken by", "name")
"""Columns that a narrow terminal cuts, in the order in which they give way."""
FLOORS = (20, 8)
"""Cells below which no column is cut: first all of them give way down to the one, then to the other."""
GAP = 2
"""Cells between two columns."""
LONG_ID = re.compile(r"job/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""The id of a job, of which a terminal shows the first eight digits: every command takes them."""
Update = Callable[[float, str], None]


class Screen:
    """Standard output, as it is. `json`: only what programs read goes there."""

    def __init__(self, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.live = not json and self.out.isatty()
        """Whether a person looks at a terminal."""
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.out, highlight=False, markup=False, emoji=False)
        return self._console

    def line(self, text: str, style: str | None = None) -> None:
        """A line for people, whole however wide."""
        if self.live and style:
            self.console.print(clean(text), style=style, soft_wrap=True)
        elif not self.json:
            print(clean(text), file=self.out, flush=True)

    def note(self, text: str) -> None:
        """A line beside the output, on stderr."""
        print(f"geventjob: {clean(text)}", file=self.err, flush=True)

    def document(self, value: Any) -> None:
        """JSON for programs."""
        print(json.dumps(value, indent=2, ensure_ascii=False), file=self.out, flush=True)

    def record(self, value: Any) -> None:
        """One of several JSON values, in a line of its own."""
        print(json.dumps(value, ensure_ascii=False), file=self.out, flush=True)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under headers; None is nothing."""
        if self.live:
            self.console.print(rendered(headers, rows, self.console.width))
            return
        for row in aligned([header.upper() for header in headers], cells(rows)):
            print(row, file=self.out)
        self.out.flush()

    @contextmanager
    def progress(self, total: float, every: float = 0.0) -> Iterator[Update]:
        """Show how far something is: `update(done, text)`, text beginning with a state.

        A bar on a terminal; else a line each time that the text has changed, at most one in `every` seconds.
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
    """Progress where no terminal is."""

    def __init__(self, screen: Screen, every: float) -> None:
        self._screen = screen
        self._every = every
        self._shown = ""
        self._latest = ""
        self._due = 0.0

    def update(self, done: float, text: str) -> None:
        self._latest = text
        if time.monotonic() >= self._due:
            self.last()
            self._due = time.monotonic() + self._every

    def last(self) -> None:
        if self._latest != self._shown:
            self._shown = self._latest
            self._screen.line(self._latest)


def cells(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    """Their texts, fit to be shown."""
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
    """The rows as lines of columns, nothing cut."""
    lines = [headers, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headers))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def attributes(values: Mapping[str, object]) -> list[str]:
    """Name and value, one a line; what has several lines is indented below its name."""
    width = max(map(len, values), default=0)
    lines = []
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        first, *more = text.splitlines() or [""]
        lines.append(f"{name.ljust(width)}  {first}")
        lines += [" " * (width + 2) + line for line in more]
    return lines


def clean(text: str) -> str:
    """Text of one line without what would steer a terminal: a message of a job may hold anything."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def span(seconds: float | None) -> str | None:
    """A time in the largest unit that tells enough.

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
    """How long ago a CIMI time was, by this machine's clock."""
    try:
        then = datetime.strptime(str(moment), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return span(max(0.0, (datetime.now(timezone.utc) - then).total_seconds()))


def height() -> int:
    """Lines of the terminal."""
    return shutil.get_terminal_size((80, 24)).lines
