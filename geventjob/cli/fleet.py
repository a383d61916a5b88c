"""`geventjob queue · nodes · actions`: the queue, and who works on it. For administrators."""

from __future__ import annotations

from geventjob.cimi.document import Document
from geventjob.cli.context import WELL, Commands, Context
from geventjob.cli.screen import age, span


def declare(commands: Commands) -> None:
    """The commands."""
    show = commands.add("queue", queue, "show the queue: how long it is, and what comes next; or mend it")
    show.add_argument("do", nargs="?", choices=["reconcile"], metavar="reconcile", help="put back jobs without entry")
    show.add_argument("--dry-run", action="store_true", help="only say what reconcile would do")
    commands.add("nodes", nodes, "list the executors, distributors and servers that live")
    commands.add("actions", actions, "list the actions that executors announce")


def queue(context: Context) -> int:
    if context.args.do == "reconcile":
        return reconcile(context)
    look = context.ask(context.client.queue)
    if context.args.json:
        context.screen.document(look)
        return WELL
    oldest = span(look.get("oldest"))
    waits = f", the first one since {oldest}" if oldest else ""
    rows = [(e.get("priority"), e.get("job"), str(e.get("entry")).rpartition("/")[2]) for e in look.get("next", ())]
    then = "; next:" if rows else ""
    context.screen.line(f"{look.get('entries')} in the queue{waits}; {look.get('taken')} taken{then}")
    if rows:
        context.screen.table(("priority", "job", "entry"), rows)
    if look.get("numbers", 0) >= 0.5:
        context.screen.line(f"{look['numbers']:.0%} of the sequence numbers are used: see operations.md, Numbers")
    return WELL


def reconcile(context: Context) -> int:
    """Every job that is not final stands in the queue afterwards, and nothing else does."""
    did = context.ask(context.client.reconcile, context.args.dry_run)
    if context.args.json:
        context.screen.document(did)
        return WELL
    would = "would be" if did.get("dryRun") else "were"
    context.screen.line(
        f"{did.get('jobs')} jobs are not final; {did.get('requeued')} of them {would} put into the queue again, "
        f"{did.get('removed')} entries without a job {would} removed"
    )
    return WELL


def nodes(context: Context) -> int:
    found = context.ask(context.client.nodes)
    if context.args.json:
        context.screen.document(found)
        return WELL
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
    return WELL


def actions(context: Context) -> int:
    known: dict[str, list[str]] = {}
    executors = [node for node in context.ask(context.client.nodes) if node.get("role") == "executor"]
    for node in executors:
        for action in node.get("actions", ()):
            known.setdefault(action, []).append(str(node.get("name")))
    listed = [{"action": action, "executors": sorted(names)} for action, names in sorted(known.items())]
    if context.args.json:
        context.screen.document(listed)
        return WELL
    rows = [(entry["action"], ", ".join(entry["executors"])) for entry in listed]
    context.screen.table(("action", "executors"), rows)
    for node in executors:
        for line in left_out(node):
            context.screen.note(f"{node.get('name')}: {line}")
    return WELL


def left_out(node: Document) -> list[str]:
    """Return a line for each file of actions or distributors that a process has found and could not use."""
    return [f"left out: {file}: {why}" for file, why in node.get("leftOut", {}).items()]
