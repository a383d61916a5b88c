"""`geventjob queue · nodes · actions`: the queue and the processes that work on it. For administrators."""

from __future__ import annotations

from geventjob.cimi.document import Document
from geventjob.cli.context import CommandContext, Commands
from geventjob.cli.screen import age, span
from geventjob.exit_code import ExitCode


def declare(commands: Commands) -> None:
    """Declare the commands and their arguments."""
    show = commands.add("queue", queue, "show the length of the queue and its next jobs, or reconcile it")
    show.add_argument(
        "do", nargs="?", choices=["reconcile"], metavar="reconcile", help="put jobs without an entry back into it"
    )
    show.add_argument("--dry-run", action="store_true", help="only report what reconcile would do")
    commands.add("nodes", nodes, "list the live executors, distributors and servers")
    commands.add("actions", actions, "list the actions that executors announce")


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
    if stats.get("numbers", 0) >= 0.5:
        context.screen.line(f"{stats['numbers']:.0%} of the sequence numbers are used: see operations.md, Numbers")
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
        )
        for node in sorted(found, key=lambda node: (str(node.get("role")), str(node.get("name"))))
    ]
    context.screen.table(("role", "name", "host", "pid", "version", "up", "running", "leads"), rows)
    return ExitCode.SUCCESS


def actions(context: CommandContext) -> int:
    """List the actions with the executors that announce each, and note the files that executors left out."""
    known: dict[str, list[str]] = {}
    executors = [node for node in context.ask(context.client.nodes) if node.get("role") == "executor"]
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


def left_out(node: Document) -> list[str]:
    """Return a line for each file of actions or distributors that a process found and could not use."""
    return [f"left out: {file}: {why}" for file, why in node.get("leftOut", {}).items()]
