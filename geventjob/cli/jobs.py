"""`geventjob jobs · show · stop`: jobs that are there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

from geventjob.cimi.errors import CimiError, NotFound, Refused
from geventjob.cimi.filters import quoted
from geventjob.cli.context import WELL, Commands, Context, Document, Wrong, ending
from geventjob.cli.screen import STYLES, age, attributes, span

FINAL = ("SUCCESS", "FAILED", "STOPPED")
WINDOW = 10_000
"""Jobs that one search returns at most."""
SHOWN = ("id", "state", "action", "progress", "created", "duration", "statusMessage")
"""What a table of jobs needs; payloads may be large."""
HEADERS = ("id", "state", "action", "age", "took", "message")
ID = re.compile(r"[0-9a-fA-F-]{1,36}")
FIRST = ("id", "state", "action", "progress", "returnCode", "statusMessage")
"""What `show` begins with."""


def declare(commands: Commands) -> None:
    """The commands' own arguments."""
    parser = commands.add("jobs", jobs, "list jobs, the newest first")
    parser.add_argument("--state", type=state, metavar="STATE", help=f"only those in this state: {' '.join(STYLES)}")
    parser.add_argument("--action", metavar="ACTION", help="only those of this action")
    parser.add_argument("--filter", metavar="CIMI", help="only those that match, as priority<10 and name!=null")
    parser.add_argument("--last", type=last, default=20, metavar="N", help="how many (default 20)")

    parser = commands.add("show", show, "show all of a job")
    parser.add_argument("id", metavar="ID", help="job/<uuid>, <uuid>, or how it begins")

    parser = commands.add("stop", stop, "stop jobs", "Stop jobs. One that has ended already stays as it is.")
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
    conditions += [f"({args.filter})"] if args.filter else []
    select = None if args.json else ",".join(SHOWN)
    found = search(context, conditions, last=args.last, select=select)
    if args.json:
        context.screen.document(found["jobs"])
    else:
        table(context, found["jobs"])
    return WELL


def search(context: Context, conditions: Iterable[str], **params: object) -> Document:
    """A page of the jobs that meet all conditions, the newest first."""
    filter = " and ".join(conditions) or None
    return context.ask(context.client.search, "job", filter=filter, **{"orderby": "created:desc", **params})


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
    """The whole job that is meant."""
    return context.ask(context.client.get, found(context, text))


def show(context: Context) -> int:
    job = get(context, context.args.id)
    if context.args.json:
        context.screen.document(job)
        return WELL
    rest = sorted(job.keys() - {*FIRST, "acl", "operations", "resourceURI"})
    for line in attributes({name: job[name] for name in (*FIRST, *rest) if name in job}):
        context.screen.line(line)
    return WELL


def stop(context: Context) -> int:
    """Each of them, whatever becomes of the others; the code is that of the first that could not be stopped."""
    codes = [WELL]
    for text in context.args.ids:
        try:
            job = context.ask(context.client.operation, found(context, text), "stop")
        except (Refused, Wrong) as error:
            code, words = ending(error, context.patience) if isinstance(error, CimiError) else (2, str(error))
            context.screen.note(words)
            codes.append(code)
        else:
            tell(context, job)
    return next((code for code in codes if code), WELL)


def tell(context: Context, job: Document) -> None:
    """What became of a job, in a line."""
    if context.args.json:
        context.screen.record(job)
        return
    message = f"  {job['statusMessage']}" if job.get("statusMessage") else ""
    context.screen.line(f"{job['id']}  {standing(job)}{message}", STYLES.get(job["state"]))
