"""`geventjob jobs · show · stop`: jobs that are there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence

from geventjob.cimi.document import WINDOW, Document
from geventjob.cimi.errors import CimiError, NotFound, Refused
from geventjob.cimi.filters import quoted
from geventjob.cli.context import WELL, Commands, Context, Wrong, ending
from geventjob.cli.screen import STYLES, age, attributes, span

FINAL = ("SUCCESS", "FAILED", "STOPPED")
SHOWN = ("id", "state", "action", "progress", "created", "duration", "statusMessage")
"""What a table of jobs needs; payloads may be large."""
HEADERS = ("id", "state", "action", "age", "took", "message")
ID = re.compile(r"[0-9a-fA-F-]{1,36}")
TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|property\[.*?]""", re.DOTALL)
"""What a filter quotes, and properties with names that are no attributes."""
ATTRIBUTE = re.compile(
    r"(?<![\w:/-])(?!(?:and|or|true|false|null|fulltext)\b(?!/))[A-Za-z][\w:-]*(?:/[A-Za-z][\w:-]*)*"
)
"""The name of an attribute in a filter without quoted texts."""
FIRST = ("id", "state", "action", "progress", "returnCode", "statusMessage")
"""What `show` begins with."""


def declare(commands: Commands) -> None:
    """The commands' own arguments."""
    parser = commands.add("jobs", jobs, "list jobs, the newest first")
    parser.add_argument("--state", type=state, metavar="STATE", help=f"only those in this state: {' '.join(STYLES)}")
    parser.add_argument("--action", metavar="ACTION", help="only those of this action")
    parser.add_argument("--filter", metavar="CIMI", help="only those that match, as priority<10 and name!=null")
    parser.add_argument("--last", type=last, default=20, metavar="N", help="how many (default 20)")

    for name, run, help, description in (
        ("show", show, "show all of a job", "Show all of each job."),
        ("stop", stop, "stop jobs", "Stop jobs. One that has ended already stays as it is."),
    ):
        parser = commands.add(name, run, help, description)
        parser.add_argument("ids", metavar="ID", nargs="+", help="job/<uuid>, <uuid>, or how it begins")


def state(text: str) -> str:
    if text.upper() not in STYLES:
        raise argparse.ArgumentTypeError(f"expected one of {' '.join(STYLES)}, not {text!r}")
    return text.upper()


def last(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:6]) <= WINDOW:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {WINDOW}, not {text!r}")
    return int(text)


# --- jobs


def jobs(context: Context) -> int:
    args = context.args
    conditions = [f"state='{args.state}'"] if args.state else []
    conditions += [f"action={value(args.action, '--action')}"] if args.action else []
    conditions += [args.filter] if args.filter else []
    select = None if args.json else ",".join(SHOWN)
    found = search(context, conditions, last=args.last, select=select)
    if args.json:
        context.screen.document(found["jobs"])
    else:
        table(context, found["jobs"])
    if args.filter and not found["jobs"]:
        warn_of_unknown(context, args.filter)
    return WELL


def warn_of_unknown(context: Context, filter: str) -> None:
    """Name the attributes of a filter that found nothing which no job has: one of them may be misspelt."""
    for name in dict.fromkeys(ATTRIBUTE.findall(TEXT.sub("''", filter))):
        if search(context, [f"{name}!=null"], last=0)["count"] == 0:
            context.screen.note(f"warning: no job has an attribute {name!r}")


def search(context: Context, conditions: Iterable[str], **params: object) -> Document:
    """Return a page of the jobs that meet all conditions, the newest first.

    Each condition is a parameter of its own, so that a position in an error is one in what the user has typed.
    """
    return context.ask(context.client.search, "job", filter=[*conditions], **{"orderby": "created:desc", **params})


def table(context: Context, found: Iterable[Document]) -> None:
    context.screen.table(HEADERS, [row(job) for job in found])


def row(job: Document) -> tuple[object, ...]:
    took = span(job.get("duration"))
    return job["id"], standing(job), job.get("action"), age(job.get("created")), took, job.get("statusMessage")


def standing(job: Document) -> str:
    """The state, and how far it is while it runs."""
    running = job.get("state") in ("RUNNING", "STOPPING") and job.get("progress")
    return f"{job.get('state')} {job['progress']} %" if running else str(job.get("state"))


def value(text: str, option: str) -> str:
    """An option's value as it stands in a filter."""
    try:
        return quoted(text)
    except ValueError as error:
        raise Wrong(f"{option}: {error}") from None


# --- one


def found(context: Context, text: str) -> str:
    """The id of the job that is meant. Raises NotFound, Wrong."""
    name = text.removeprefix("job/")
    if not ID.fullmatch(name):
        raise NotFound(404, f"no such job: {text}")
    if len(name) == 36:
        return f"job/{name}"
    page = search(context, [f"id^='job/{name}'"], last=3, select="id")
    if page["count"] == 0:
        raise NotFound(404, f"no such job: {text}")
    if page["count"] > 1:
        several = ", ".join(job["id"] for job in page["jobs"])
        raise Wrong(f"{page['count']} jobs begin with {text}: {several}" + (", …" if page["count"] > 3 else ""))
    return str(page["jobs"][0]["id"])


def get(context: Context, text: str) -> Document:
    """Return the whole job that is meant. Raises NotFound, Wrong."""
    return context.ask(context.client.get, found(context, text))


def each(context: Context, do: Callable[[str], None]) -> int:
    """Call `do` with each id of the command line, whatever becomes of the others.

    Returns the exit code of the first that failed, whose error, like that of all that fail, is told in a line.
    """
    codes = [WELL]
    for text in context.args.ids:
        try:
            do(text)
        except (Refused, Wrong) as error:
            code, words = ending(error, context.patience) if isinstance(error, CimiError) else (2, str(error))
            context.screen.note(words)
            codes.append(code)
    return next((code for code in codes if code), WELL)


def documents(context: Context, jobs: Sequence[Document]) -> None:
    """Print the job that one id has named, or the list of those that several have."""
    if len(context.args.ids) > 1:
        context.screen.document(jobs)
    elif jobs:
        context.screen.document(jobs[0])


def show(context: Context) -> int:
    shown: list[Document] = []
    code = each(context, lambda text: shown.append(get(context, text)))
    if context.args.json:
        documents(context, shown)
        return code
    for number, job in enumerate(shown):
        if number:
            context.screen.line("")
        rest = sorted(job.keys() - {*FIRST, "acl", "operations", "resourceURI"})
        for line in attributes({name: job[name] for name in (*FIRST, *rest) if name in job}):
            context.screen.line(line)
    return code


def stop(context: Context) -> int:
    """Stop each job."""
    return each(context, lambda text: stop_one(context, found(context, text)))


def stop_one(context: Context, id: str) -> None:
    before = context.ask(context.client.get, id, select=["state"])["state"]
    job = context.ask(context.client.operation, id, "stop")
    tell(context, job, note="had ended already" if before in FINAL else "")


def tell(context: Context, job: Document, note: str = "") -> None:
    """Tell what became of a job, in a line."""
    if context.args.json:
        context.screen.record(job)
        return
    words = [job["id"], standing(job), note, job.get("statusMessage")]
    context.screen.line("  ".join(filter(None, words)), STYLES.get(job["state"]))
