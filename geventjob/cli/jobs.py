"""`geventjob jobs · show · why · stop · release`: existing jobs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence

from geventjob.cimi.document import WINDOW, Document
from geventjob.cimi.errors import CimiError, Forbidden, NotFound, Refused
from geventjob.cimi.filters import quoted
from geventjob.cli import columns
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import MissingOrHidden, UsageError, explain
from geventjob.cli.record import print_record
from geventjob.cli.screen import STYLES, attributes
from geventjob.clock import cimi_time, now
from geventjob.config import kinds, nearest
from geventjob.exit_code import ExitCode
from geventjob.job.states import FINAL

ID = re.compile(r"[0-9a-fA-F-]{1,36}")
TEXT = r"""(?s)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|property\[.*?]"""
"""Quoted texts in a filter, and properties, whose names are not attributes."""
ATTRIBUTE = r"(?<![\w:/-])(?!(?:and|or|true|false|null|fulltext)\b(?!/))[A-Za-z][\w:-]*(?:/[A-Za-z][\w:-]*)*"
"""The name of an attribute in a filter without quoted texts."""
CASCADED = 500
"""Jobs of a batch that are read at once, to be stopped."""
FIRST = ("id", "state", "action", "progress", "returnCode", "statusMessage")
"""Attributes that `show` prints first."""


def declare(commands: Commands) -> None:
    """Declare the commands and their arguments."""
    parser = commands.add("jobs", jobs)
    of_state = parser.add_mutually_exclusive_group()
    of_state.add_argument("--state", type=state, metavar="STATE", help=f"only jobs in this state: {' '.join(STYLES)}")
    of_state.add_argument(
        "--failed", dest="state", action="store_const", const="FAILED", help="the same as --state FAILED"
    )
    parser.add_argument("--action", metavar="ACTION", help="only jobs of this action")
    parser.add_argument("--since", type=since, metavar="WHEN", help="only jobs added since: 90s, 2h, 3d ago, or a date")
    parser.add_argument("--filter", metavar="CIMI", help="only jobs that match, as priority<10 and name!=null")
    parser.add_argument(
        "--columns", type=columns.names, default=columns.USUAL, metavar="NAMES",
        help="columns of the table, or attributes with --json, as id,state,priority,payload/account",
    )  # fmt: skip
    parser.add_argument(
        "--last", type=kinds.whole(1, WINDOW), default=20, metavar="N", help="number of jobs (default 20)"
    )

    for name, run, description in (
        ("show", show, "Show all of each job."),
        ("stop", stop, "Stop jobs. Jobs that have ended stay as they are."),
        ("why", why, "Tell of each job what it waits for, where it runs, or its end."),
        ("release", release, "Let jobs that wait for a time run now."),
    ):
        parser = commands.add(name, run, description)
        parser.add_argument("ids", metavar="ID", nargs="+", help="job/<uuid>, <uuid>, or its beginning")
        if run is stop:
            parser.add_argument(
                "--cascade", action="store_true", help="stop the jobs of a batch too, and those of the batches in it"
            )
        if run is show:
            parser.add_argument("--record", action="store_true", help="show what ended runs were doing instead")


def state(text: str) -> str:
    """Return a state in capitals. Raises ArgumentTypeError."""
    if text.upper() not in STYLES:
        told = nearest(text.upper(), STYLES)
        raise argparse.ArgumentTypeError(f"expected one of {' '.join(STYLES)}, not {text!r}{told}")
    return text.upper()


def since(text: str) -> str:
    """Return a date for a filter: the date itself, or a time ago. Raises ArgumentTypeError."""
    from geventjob.job.moments import moment

    present = now()
    try:
        if text[-1:] not in "smhd" or not text[:-1].isdecimal():
            return cimi_time(moment(text.lstrip("+"), present))
        return cimi_time(present - (moment(f"+{text}", present) - present))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected a time as 90s, 2h or 3d, or a date with a time zone, not {text!r}"
        ) from None


# --- jobs


def jobs(context: CommandContext) -> int:
    """List jobs, the newest first."""
    args = context.args
    conditions = [f"state='{args.state}'"] if args.state else []
    conditions += [f"action={value(args.action, '--action')}"] if args.action else []
    conditions += [f"created>='{args.since}'"] if args.since else []
    conditions += [args.filter] if args.filter else []
    chosen = args.columns is not columns.USUAL
    select = ",".join(columns.needed(args.columns)) if chosen or not args.json else None
    found = search(context, conditions, last=args.last, select=select)
    if args.json:
        context.screen.document(found["jobs"])
    else:
        table(context, found["jobs"], args.columns)
    if args.filter and not found["jobs"]:
        warn_of_unknown(context, args.filter)
    return ExitCode.SUCCESS


def warn_of_unknown(context: CommandContext, filter: str) -> None:
    """Warn of attributes in a filter that no job has: one may be misspelt."""
    for name in dict.fromkeys(re.findall(ATTRIBUTE, re.sub(TEXT, "''", filter))):
        if search(context, [f"{name}!=null"], last=0)["count"] == 0:
            from geventjob.job.attributes import ATTRIBUTES

            told = nearest(name, [attribute.name for attribute in ATTRIBUTES])
            context.screen.note(f"warning: no job has an attribute {name!r}{told}")


def search(context: CommandContext, conditions: Iterable[str], **params: object) -> Document:
    """Return a page of the jobs that meet all conditions, the newest first.

    Each condition is a separate parameter, so that a position in an error refers to the text that the user typed.
    """
    return context.ask(context.client.search, "job", filter=[*conditions], **{"orderby": "created:desc", **params})


def table(context: CommandContext, found: Iterable[Document], names: Sequence[str] = columns.USUAL) -> None:
    """Print a table of jobs."""
    context.screen.table(names, [columns.row(job, names) for job in found])


def value(text: str, option: str) -> str:
    """Quote the value of an option for a filter. Raises UsageError."""
    try:
        return quoted(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


# --- one


def found(context: CommandContext, text: str) -> str:
    """Return the id of the job that a text names. Raises NotFound, UsageError."""
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
        raise UsageError(f"{page['count']} jobs begin with {text}: {several}" + (", …" if page["count"] > 3 else ""))
    return str(page["jobs"][0]["id"])


def get(context: CommandContext, id: str, select: Iterable[str] | None = None) -> Document:
    """Return the selected attributes of a job; None: all attributes. Raises NotFound, MissingOrHidden."""
    try:
        job: Document = context.ask(context.client.get, id, select=select)
    except Forbidden as error:
        raise MissingOrHidden(error.status, f"{id} does not exist, or you may not see it") from None
    return job


def each(context: CommandContext, do: Callable[[str], None]) -> int:
    """Call `do` with each id of the command line, also after a failure, and print a line for each failure.

    Returns the exit code of the first failure.
    """
    codes: list[int] = [ExitCode.SUCCESS]
    for text in context.args.ids:
        try:
            do(text)
        except (Refused, UsageError) as error:
            if isinstance(error, CimiError):
                code, words = explain(error, context.patience)
            else:
                code, words = ExitCode.USAGE, str(error)
            context.screen.note(words)
            codes.append(code)
    return next((code for code in codes if code), ExitCode.SUCCESS)


def documents(context: CommandContext, jobs: Sequence[Document]) -> None:
    """Print one job as a document where one id was given, or the list of jobs where several were."""
    if len(context.args.ids) > 1:
        context.screen.document(jobs)
    elif jobs:
        context.screen.document(jobs[0])


def show(context: CommandContext) -> int:
    """Print all attributes of each job, or its records."""
    if context.args.record:
        return records(context)
    shown: list[Document] = []
    code = each(context, lambda text: shown.append(get(context, found(context, text))))
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


def records(context: CommandContext) -> int:
    """Print the records of each job: what its runs were doing when they were ended."""
    shown: list[Document] = []

    def show_one(text: str) -> None:
        id = found(context, text)
        get(context, id, select=["state"])
        shown.append(context.ask(context.client.record, id))

    code = each(context, show_one)
    if context.args.json:
        documents(context, shown)
        return code
    for job in shown:
        if not job["records"]:
            context.screen.note(f"{job['id']} has no record: no run of it was ended by its executor")
        for record in job["records"]:
            print_record(context.screen, record)
    return code


def why(context: CommandContext) -> int:
    """Print a sentence about the state of each job."""
    told: list[Document] = []
    code = each(context, lambda text: told.append(context.ask(context.client.why, found(context, text))))
    if context.args.json:
        documents(context, told)
        return code
    for answer in told:
        context.screen.line(answer["why"] if len(context.args.ids) == 1 else f"{answer['id']}  {answer['why']}")
    return code


def stop(context: CommandContext) -> int:
    """Stop each job, and with `--cascade` the jobs of its batch."""
    one = stop_all if context.args.cascade else stop_one
    return each(context, lambda text: one(context, found(context, text)))


def stop_all(context: CommandContext, id: str) -> None:
    """Stop a job, so that its batch takes no more jobs, then the unfinished jobs of the batch; print their number."""
    stop_one(context, id)
    count = cascade(context, id)
    if not context.args.json:
        context.screen.line(f"{id}  {count} jobs of its batch were told to stop")


def cascade(context: CommandContext, id: str) -> int:
    """Stop all unfinished jobs whose parent is this one, those of batches among them too; return their number."""
    count, last = 0, ""
    while True:
        conditions = [f"parentJob='{id}'", f"id>'{last}'"]
        page = search(context, conditions, orderby="id", last=CASCADED, select="id,state,batch")["jobs"]
        for child in page:
            if child["state"] not in FINAL:
                context.ask(context.client.operation, child["id"], "stop")
                count += 1
            count += cascade(context, child["id"]) if "batch" in child else 0
        if len(page) < CASCADED:
            return count
        last = page[-1]["id"]


def stop_one(context: CommandContext, id: str) -> None:
    """Stop a job, and print its state."""
    before = get(context, id, select=["state"])["state"]
    job = context.ask(context.client.operation, id, "stop")
    tell(context, job, note="had ended already" if before in FINAL else "")


def release(context: CommandContext) -> int:
    """Let each held job run now."""
    return each(context, lambda text: release_one(context, found(context, text)))


def release_one(context: CommandContext, id: str) -> None:
    """Let a held job run now, and print its state."""
    before = get(context, id, select=["held"])
    job = context.ask(context.client.operation, id, "release")
    held = before.get("held")
    if held and "until" not in held:
        note = f"not released: it waits for {held.get('on', held['why'])}, not for a time"
    else:
        note = "released" if held else "was not held"
    tell(context, job, note=note)


def tell(context: CommandContext, job: Document, note: str = "") -> None:
    """Print a job in one line."""
    if context.args.json:
        context.screen.record(job)
        return
    words = [job["id"], columns.standing(job), note, job.get("statusMessage")]
    context.screen.line("  ".join(filter(None, words)), STYLES.get(job["state"]))
