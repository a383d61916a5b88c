"""`geventjob queue · nodes · actions`: the queue and the processes that work on it. For administrators."""

from __future__ import annotations

import json
import shlex

from geventjob.cimi.document import Document
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.errors import UsageError
from geventjob.cli.screen import age, span
from geventjob.config import nearest
from geventjob.exit_code import ExitCode


def declare(commands: Commands) -> None:
    """Declare the commands and their arguments."""
    show = commands.add("queue", queue)
    show.add_argument(
        "do", nargs="?", choices=["reconcile"], metavar="reconcile", help="put jobs without an entry back into it"
    )
    show.add_argument("--dry-run", action="store_true", help="only report what reconcile would do")
    commands.add("nodes", nodes)
    show = commands.add("actions", actions)
    show.add_argument("name", nargs="?", metavar="NAME", help="show the parameters of this action, with an example")


def queue(context: CommandContext) -> int:
    """Show the queue, or reconcile it."""
    if context.args.do == "reconcile":
        return reconcile(context)
    stats = context.ask(context.client.queue)
    if context.args.json:
        context.screen.document(stats)
        return ExitCode.SUCCESS
    oldest = span(stats.get("oldest"))
    waits = f", the first one since {oldest}" if oldest else ""
    rows = [(e.get("priority"), e.get("job"), str(e.get("entry")).rpartition("/")[2]) for e in stats.get("next", ())]
    then = "; next:" if rows else ""
    context.screen.line(f"{stats.get('entries')} in the queue{waits}; {stats.get('taken')} taken{then}")
    if rows:
        context.screen.table(("priority", "job", "entry"), rows)
    if stats.get("pauses"):
        from geventjob.cli.pause import described

        for paused in stats["pauses"]:
            context.screen.line(described(paused))
    if stats.get("numbers", 0) >= 0.5:
        context.screen.line(
            f"{100 * stats['numbers']:.0f} % of the sequence numbers are used: see operations.md, Numbers"
        )
    return ExitCode.SUCCESS


def reconcile(context: CommandContext) -> int:
    """Give every job that is not final an entry in the queue, and remove entries without a job."""
    did = context.ask(context.client.reconcile, context.args.dry_run)
    if context.args.json:
        context.screen.document(did)
        return ExitCode.SUCCESS
    would = "would be" if did.get("dryRun") else "were"
    context.screen.line(
        f"{did.get('jobs')} jobs are not final; {did.get('requeued')} of them {would} put into the queue again, "
        f"{did.get('removed')} entries without a job {would} removed"
    )
    return ExitCode.SUCCESS


def nodes(context: CommandContext) -> int:
    """List the live processes."""
    found = context.ask(context.client.nodes)
    if context.args.json:
        context.screen.document(found)
        return ExitCode.SUCCESS
    rows = [
        (
            node.get("role"),
            node.get("name"),
            node.get("host"),
            node.get("pid"),
            node.get("version"),
            age(node.get("since")),
            f"{node.get('running', 0)}/{node['slots']}" if "slots" in node else None,
            ", ".join(node.get("leads", ())),
            quiet(node),
        )
        for node in sorted(found, key=lambda node: (str(node.get("role")), str(node.get("name"))))
    ]
    context.screen.table(("role", "name", "host", "pid", "version", "up", "running", "leads", "takes no jobs"), rows)
    return ExitCode.SUCCESS


def quiet(node: Document) -> str | None:
    """Return that an executor takes no jobs, since when and why; None for an executor that takes jobs."""
    told = node.get("quiet")
    return told and f"{told.get('state')} for {age(told.get('at'))}: {told.get('why')}"


def actions(context: CommandContext) -> int:
    """List the actions with the executors that announce each, and note the files that executors left out."""
    known: dict[str, list[str]] = {}
    executors = [node for node in context.ask(context.client.nodes) if node.get("role") == "executor"]
    if context.args.name is not None:
        return parameters(context, context.args.name, executors)
    for node in executors:
        for action in node.get("actions", ()):
            known.setdefault(action, []).append(str(node.get("name")))
    listed = [{"action": action, "executors": sorted(names)} for action, names in sorted(known.items())]
    if context.args.json:
        context.screen.document(listed)
        return ExitCode.SUCCESS
    rows = [(entry["action"], ", ".join(entry["executors"])) for entry in listed]
    context.screen.table(("action", "executors"), rows)
    for node in executors:
        for line in left_out(node):
            context.screen.note(f"{node.get('name')}: {line}")
    return ExitCode.SUCCESS


def parameters(context: CommandContext, name: str, executors: list[Document]) -> int:
    """Show the parameters of an action with an example; more than once where executors have it in several versions.

    Raises UsageError for an action that no executor announces.
    """
    from geventjob.job.shapes import example

    having = [node for node in executors if name in node.get("actions", ())]
    if not having:
        known = {action for node in executors for action in node.get("actions", ())}
        told = nearest(name, known) or f": see {context.command} actions"
        raise UsageError(f"no executor announces the action {name!r}{told}")
    versions: dict[str, Document] = {}
    for node in having:
        shape = node.get("parameters", {}).get(name)
        kept = {"action": name, "executors": [], "parameters": shape, "example": example(shape) if shape else None}
        versions.setdefault(json.dumps(shape, sort_keys=True), kept)["executors"].append(str(node.get("name")))
    if context.args.json:
        context.screen.document(list(versions.values()))
        return ExitCode.SUCCESS
    for version in versions.values():
        context.screen.line(f"{name} on {', '.join(sorted(version['executors']))}")
        show_parameters(context, version)
    return ExitCode.SUCCESS


def show_parameters(context: CommandContext, version: Document) -> None:
    """Show the parameters of one version of an action."""
    from geventjob.job.shapes import words

    shape = version["parameters"]
    if not shape:
        context.screen.line("no parameters are announced: the action reads its payload by itself, or has too many")
        return
    rows = [
        (field, words(inner, shape.get("$defs")), json.dumps(inner["default"]) if "default" in inner else None,
         None if field in shape.get("required", ()) else "optional")
        for field, inner in shape["properties"].items()
    ]  # fmt: skip
    context.screen.table(("parameter", "type", "default", ""), rows)
    if version["example"] is None:
        context.screen.line(f"without example: {shape.get('$comment')}")
        return
    shown = shlex.quote(json.dumps(version["example"], ensure_ascii=False))
    context.screen.line(f"{context.command} submit {version['action']} --payload {shown}")


def left_out(node: Document) -> list[str]:
    """Return a line for each file of actions or distributors that a process found and could not use."""
    return [f"left out: {file}: {why}" for file, why in node.get("leftOut", {}).items()]
