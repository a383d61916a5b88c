"""`geventjob schedules`: the schedules that are data, and the distributors, in one list. For administrators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventjob.cimi.document import Document, new_key
from geventjob.cimi.errors import Conflict, NotFound, Refused
from geventjob.cli import schedule_options, schedule_words, submit
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.clock import unix_milliseconds
from geventjob.config import nearest
from geventjob.exit_code import ExitCode

DISTRIBUTOR = "schedules"
"""The distributor that fires schedules."""
PAGE = 400
"""Schedules of one search."""


def declare(commands: Commands) -> None:
    """Declare the command, its subcommands and their arguments."""
    declare_one = commands.add_subcommands(commands.add("schedules", listed))

    def add(name: str, run: Callable[[CommandContext], int], help: str) -> Any:
        command = declare_one(name, run, help)
        command.add_argument("name", metavar="NAME")
        return command

    declare_one("list", listed, "list the next and the last firing of each schedule and distributor")
    schedule_options.declare(add("add", added, "add a schedule"), is_new=True)
    schedule_options.declare(add("edit", edited, "change a schedule"), is_new=False)
    add("delete", deleted, "delete a schedule; its jobs stay")
    command = add("pause", paused, "pause a schedule")
    command.add_argument("--why", metavar="TEXT", help="the reason, for people to see")
    command.add_argument(
        "--until", metavar="DATE", help="end of the pause: a date with its zone, as 2027-01-31T08:15:00Z, or +2h"
    )
    add("resume", resumed, "end the pause of a schedule; ticks that passed in the pause do not fire")
    add("fire", fired, "fire a schedule or a distributor now").add_argument(
        "--key", metavar="KEY", help="idempotency key: a second firing with the same key makes no second job"
    )


# --- list


def listed(context: CommandContext) -> int:
    """List schedules and distributors."""
    entries = found(context)
    if context.args.json:
        context.screen.document(entries)
        return ExitCode.SUCCESS
    if context.screen.live:
        now = unix_milliseconds()
        for line in (line for entry in entries for line in schedule_words.lines(entry, now)):
            context.screen.line(line)
    else:
        context.screen.table(schedule_words.COLUMNS, [schedule_words.row(entry) for entry in entries])
    if not any(entry["name"] == DISTRIBUTOR for entry in entries) and any(map(is_data, entries)):
        warn_of_rest(context)
    return ExitCode.SUCCESS


def found(context: CommandContext) -> list[Document]:
    """Return schedules and distributors by name, each with its `kind` and its leader."""
    distributors = context.ask(context.client.distributors)
    leader = next((one.get("leader") for one in distributors if one["name"] == DISTRIBUTOR), None)
    entries = [{"kind": "schedule", **schedule, "leader": leader} for schedule in schedules(context)]
    entries += [{"kind": "distributor", **distributor} for distributor in distributors]
    return sorted(entries, key=lambda entry: (str(entry["name"]), str(entry["kind"])))


def schedules(context: CommandContext) -> list[Document]:
    """Return all schedules."""
    made: list[Document] = []
    while True:
        first = len(made) + 1
        page = context.ask(context.client.search, "schedule", orderby="name:asc", first=first, last=first + PAGE - 1)
        made += page["schedules"]
        if len(page["schedules"]) < PAGE:
            return made


def is_data(entry: Document) -> bool:
    """Return whether an entry is a schedule, and no distributor."""
    return bool(entry["kind"] == "schedule")


def warn_of_rest(context: CommandContext) -> None:
    """Warn that no process fires schedules."""
    context.screen.note("warning: no process fires schedules: start geventjob-distributor schedules")


# --- one


def added(context: CommandContext) -> int:
    """Add a schedule. Raises UsageError for a name that is in use."""
    name = context.args.name
    distributors = context.ask(context.client.distributors)  # raises before an add to a SlipStream server
    try:
        id = context.ask(context.client.add, "schedule", {"name": name, **schedule_options.described(context.args)})
    except Conflict:
        raise UsageError(f"there is a schedule {name} already: {context.command} schedules edit {name}") from None
    tell(context, context.ask(context.client.get, id), "added")
    if not any(each["name"] == DISTRIBUTOR for each in distributors):
        warn_of_rest(context)
    submit.warn(context, context.args.action, context.args.payload or {})
    return ExitCode.SUCCESS


def edited(context: CommandContext) -> int:
    """Change a schedule. Raises UsageError."""
    change = schedule_options.described(context.args)
    delete = [*context.args.unset]
    if "every" in change:
        delete += ["cron", "timezone"]
    elif "cron" in change:
        delete += ["every"]
    if not change and not delete:
        raise UsageError("nothing to change: name an option")
    tell(context, one(context, context.client.edit, change, delete), "changed")
    return ExitCode.SUCCESS


def deleted(context: CommandContext) -> int:
    """Delete a schedule. Raises UsageError."""
    one(context, context.client.delete)
    return report(context, "deleted")


def paused(context: CommandContext) -> int:
    """Pause a schedule. Raises UsageError."""
    given = {"why": context.args.why, "until": context.args.until}
    body = {name: value for name, value in given.items() if value is not None}
    schedule = one(context, context.client.operation, "pause", body)
    tell(context, schedule, f"paused {schedule_words.pause(schedule, unix_milliseconds())}")
    return ExitCode.SUCCESS


def resumed(context: CommandContext) -> int:
    """End the pause of a schedule. Raises UsageError."""
    try:
        schedule = one(context, context.client.operation, "resume", {})
    except Conflict:
        return report(context, "was not paused")
    tell(context, schedule, "resumed")
    return ExitCode.SUCCESS


def fired(context: CommandContext) -> int:
    """Fire a schedule or a distributor now. Raises UsageError."""
    body = {"idempotencyKey": context.args.key or new_key()}
    id = target(context)
    try:
        answer = context.ask(context.client.operation, id, "fire", body)
    except NotFound:
        raise unknown(context) from None
    if context.args.json:
        context.screen.document({"id": id, "jobs": answer["jobs"]})
    context.screen.line(f"{id}  fired, made {schedule_words.made(answer)}")
    return ExitCode.SUCCESS


def target(context: CommandContext) -> str:
    """Return the id of the schedule or distributor that the command names. Raises UsageError."""
    name: str = context.args.name
    if name.startswith(("schedule/", "distributor/")):
        return name
    ids = [f"{entry['kind']}/{name}" for entry in found(context) if entry["name"] == name]
    if not ids:
        raise unknown(context)
    if len(ids) > 1:
        raise UsageError(f"{name} is a schedule and a distributor: say schedule/{name} or distributor/{name}")
    return ids[0]


def one(context: CommandContext, call: Any, *arguments: Any) -> Document:
    """Call the client about the schedule that the command names. Raises UsageError for one that does not exist."""
    try:
        answer: Document = context.ask(call, id_of(context), *arguments)
    except NotFound:
        raise unknown(context) from None
    except Refused as error:
        if error.status == 405:
            context.ask(context.client.distributors)  # raises: a SlipStream server has no schedules
        raise
    return answer


def id_of(context: CommandContext) -> str:
    """Return the id of the schedule that the command names."""
    return f"schedule/{context.args.name.removeprefix('schedule/')}"


def unknown(context: CommandContext) -> UsageError:
    """Return the error for a schedule that does not exist."""
    name = context.args.name
    told = nearest(name, [entry["name"] for entry in found(context)])
    return UsageError(f"there is no schedule {name}{told or f': `{context.command} schedules` lists them'}")


def tell(context: CommandContext, schedule: Document, what: str) -> None:
    """Print the outcome for a schedule, and when it fires next."""
    if context.args.json:
        context.screen.document(schedule)
    context.screen.line(f"{schedule['id']}  {what}")
    context.screen.line(f"    next    {schedule_words.following(schedule, unix_milliseconds())}")


def report(context: CommandContext, what: str) -> int:
    """Print the outcome for a schedule that is not shown."""
    if context.args.json:
        context.screen.document({"id": id_of(context)})
    context.screen.line(f"{id_of(context)}  {what}")
    return ExitCode.SUCCESS
