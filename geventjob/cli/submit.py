"""`geventjob submit · rerun`: new jobs."""

from __future__ import annotations

import argparse
from itertools import islice

from geventjob.cimi.document import Document, new_key
from geventjob.cimi.errors import CimiError, Conflict, Refused
from geventjob.cli import job_options, jobs, watch
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.config import kinds, nearest
from geventjob.exit_code import ExitCode
from geventjob.job.states import FINAL

PAGE = 1000
"""Jobs of one request."""
LISTED = 20
"""Ids that a terminal lists; of more jobs it shows the number."""


def declare(commands: Commands) -> None:
    """Declare the commands and their arguments."""
    parser = commands.add("submit", submit)
    parser.add_argument("action", metavar="ACTION", help="name of the action to run")
    job_options.declare(parser)
    parser.add_argument("--name", metavar="TEXT", help="a name for people to see")
    when = "a date with a time zone, or an offset from now as +90s, +2h, +3d"
    parser.add_argument("--not-before", metavar="WHEN", help=f"run at this time or later: {when}")
    parser.add_argument(
        "--after", metavar="ID", action="append", default=[], help="run after the end of this job; repeatable"
    )
    parser.add_argument(
        "--when-failed", choices=["fail", "run", "stop"],
        help="with --after: what the job does if one of these does not succeed (default fail)",
    )  # fmt: skip
    parser.add_argument("--expires", metavar="WHEN", help="stop the job if it is not RUNNING by this time")
    parser.add_argument(
        "--key", metavar="KEY", help="idempotency key: a second submit with the same key makes no second job"
    )
    parser.add_argument(
        "--if-exists",
        choices=("fail", "return"),
        default="fail",
        help="with --unique: fail, or print the id of the job that has the values (default fail)",
    )
    parser.add_argument("--count", type=kinds.count, default=1, metavar="N", help="number of equal jobs")
    parser.add_argument(
        "--wait", action="store_true", help="wait until all have ended; exit code 1 unless all are in SUCCESS"
    )

    parser = commands.add("rerun", rerun)
    parser.add_argument("ids", metavar="ID", nargs="*", help="job/<uuid>, <uuid>, or its beginning")
    parser.add_argument("--filter", metavar="CIMI", help="in place of IDs: all jobs in FAILED that match")
    parser.add_argument("--dry-run", action="store_true", help="with --filter: only count the jobs")
    parser.add_argument("--key", metavar="KEY", help="with --filter: go on with the run of this key, no job twice")


# --- submit


def submit(context: CommandContext) -> int:
    """Submit one job or many, and with `--wait` wait for their ends."""
    args = context.args
    job = described(args) | after_others(context)
    warn(context, job["action"], args.payload or {})
    key = args.key or new_key()
    if args.count == 1:
        return submit_one(context, job | {"idempotencyKey": key})
    filter = f"idempotencyKey^={jobs.value(key + '/', '--key')}"
    if args.wait and not context.ask(lambda: context.client.dialect.keeps_keys):
        raise UsageError("--wait with --count: this server keeps no idempotency keys to find the jobs by")
    ids = submit_many(context, job, key)
    announce(context, ids, filter)
    code = watch.many(context, filter, len(ids)) if args.wait and ids else ExitCode.SUCCESS
    return code if len(ids) == args.count else code or (ExitCode.FAILURE if ids else ExitCode.USAGE)


def described(args: argparse.Namespace) -> Document:
    """Return the job that the options describe."""
    job = {"action": args.action, "name": args.name, "notBefore": args.not_before, "expires": args.expires}
    return {name: value for name, value in job.items() if value is not None} | job_options.described(args)


def after_others(context: CommandContext) -> Document:
    """Return the attribute `after` that the options describe. Raises UsageError, NotFound."""
    args = context.args
    if not args.after:
        if args.when_failed:
            raise UsageError("--when-failed: says something only with --after")
        return {}
    named = [jobs.found(context, text) for text in args.after]
    return {"after": {"jobs": named} | ({"whenFailed": args.when_failed} if args.when_failed else {})}


def submit_one(context: CommandContext, job: Document) -> int:
    """Submit one job. Raises UsageError for a key that another job has."""
    try:
        id = context.client.add("job", job)
    except Conflict as error:
        if error.reason != "unique":
            raise UsageError(f"--key: {error.message}") from None
        if context.args.if_exists == "fail" or error.resource_id is None:
            raise
        id = error.resource_id
    announce(context, [id], "")
    return watch.one(context, id) if context.args.wait else ExitCode.SUCCESS


def submit_many(context: CommandContext, job: Document, key: str) -> list[str]:
    """Submit jobs page by page, and return the ids of those that the server took; note the first refusal."""
    total = context.args.count
    ids: list[str] = []
    refusals: list[Refused] = []
    numbers = iter(range(1, total + 1))
    with context.screen.progress(total, every=60.0) as update:
        while len(ids) + len(refusals) < total:
            page = [job | {"idempotencyKey": f"{key}/{n}"} for n in islice(numbers, PAGE)]
            try:
                results = context.client.bulk_add(page)
            except CimiError:
                context.screen.note(f"{len(ids)} of {total} jobs were submitted; to go on: the same with --key {key}")
                raise
            ids += [result for result in results if isinstance(result, str)]
            refusals += [result for result in results if isinstance(result, Refused)]
            update(len(ids), f"{len(ids)} of {total} submitted" if context.screen.live else "")
    if refusals:
        context.screen.note(f"{len(refusals)} of {total} jobs were refused: {refusals[0].message}")
    return ids


def announce(context: CommandContext, ids: list[str], filter: str) -> None:
    """Print the new jobs, before any wait."""
    if context.args.json:
        context.screen.document(ids)
    elif context.screen.live and len(ids) > LISTED:
        context.screen.line(f'{len(ids)} jobs submitted; to see them: {context.command} jobs --filter "{filter}"')
    else:
        for id in ids:
            context.screen.line(id)


def warn(context: CommandContext, action: str, payload: Document) -> None:
    """Warn of an action that no executor announces, and of a payload that fits the parameters of none.

    Does nothing for a user who may not ask for the executors (only roles that see all may).
    """
    try:
        nodes = context.client.nodes()
    except CimiError:
        return
    having = [node for node in nodes if node.get("role") == "executor" and action in node.get("actions", ())]
    if not having:
        known = {name for node in nodes for name in node.get("actions", ())}
        told = nearest(action, known) or f": see {context.command} actions"
        context.screen.note(f"warning: no executor announces the action {action!r}{told}")
        return
    from geventjob.job.shapes import misfits

    shapes = [node.get("parameters", {}).get(action) for node in having]
    found = [misfits(shape, payload) if shape else [] for shape in shapes]
    if all(found):
        told = "; ".join(found[0])
        context.screen.note(f"warning: payload: {told}: see {context.command} actions {action}")


# --- rerun


def rerun(context: CommandContext) -> int:
    """Submit a copy of each job."""
    args = context.args
    if bool(args.ids) == bool(args.filter):
        raise UsageError("rerun: expected IDs or --filter, and not both")
    if args.filter:
        return rerun_matching(context)
    if args.dry_run or args.key:
        raise UsageError("rerun: --dry-run and --key go with --filter")
    made: list[str] = []
    code = jobs.each(context, lambda text: made.append(rerun_one(context, text)))
    if context.args.json:
        jobs.documents(context, [context.ask(context.client.get, id) for id in made])
    return code


def rerun_one(context: CommandContext, text: str) -> str:
    """Submit a copy of a job, and return its id. Raises NotFound, UsageError."""
    old = jobs.get(context, jobs.found(context, text))
    if old["state"] not in FINAL:
        raise UsageError(f"{old['id']} is {old['state']}: only a job that has ended can be run again")
    id = _copied(context, old)
    context.screen.line(id)
    return id


def _copied(context: CommandContext, old: Document) -> str:
    """Add a copy of a job, and return its id: by the server, whose audit then says so, where it offers a rerun."""
    if any(operation["rel"] == "rerun" for operation in old.get("operations", ())):
        return str(context.client.operation(old["id"], "rerun")["resource-id"])
    from geventjob.job.copies import like

    id: str = context.client.add("job", like(old))
    return id


def rerun_matching(context: CommandContext) -> int:
    """Let the server add a copy of each job in FAILED that matches the filter, and print the ids of the copies."""
    args = context.args
    failed = ["state='FAILED'", args.filter]
    found = jobs.search(context, failed, last=1, select="created")
    if args.dry_run or not found["jobs"]:
        context.screen.line(f"{found['count']} jobs in FAILED match")
        return ExitCode.SUCCESS
    key = args.key or new_key()
    newest = f"created<='{found['jobs'][0]['created']}'"  # a copy may fail meanwhile
    refused = in_steps(context, " and ".join(f"({each})" for each in (*failed, newest)), key, found["count"])
    copies = f"idempotencyKey^={jobs.value(key + '/', '--key')}"
    announce(context, matching(context, [copies]), copies)
    if refused:
        context.screen.note(f"{refused} of {found['count']} jobs were refused: the server does not let you add them")
    return ExitCode.FAILURE if refused else ExitCode.SUCCESS


def in_steps(context: CommandContext, filter: str, key: str, total: int) -> int:
    """Repeat the request until all matches were copied, and return the number of those that were refused."""
    made = refused = 0
    last: str | None = ""
    with context.screen.progress(total, every=60.0) as update:
        while last is not None:
            rest = f"{filter} and id>'{last}'" if last else filter
            try:
                answer = context.ask(context.client.bulk_rerun, rest, key)
            except CimiError:
                context.screen.note(f"{made} of {total} jobs were submitted; to go on: the same with --key {key}")
                raise
            made, refused = made + answer["reran"], refused + answer["refused"]
            update(made, f"{made} of {total} submitted" if context.screen.live else "")
            last = answer["last"] if answer["more"] else None
    return refused


def matching(context: CommandContext, conditions: list[str]) -> list[str]:
    """Return the ids of all jobs that match."""
    ids: list[str] = []
    while True:
        rest = [*conditions, *([f"id>'{ids[-1]}'"] if ids else [])]
        page = jobs.search(context, rest, orderby="id", last=PAGE, select="id")["jobs"]
        ids += [job["id"] for job in page]
        if len(page) < PAGE:
            return ids
