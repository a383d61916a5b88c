"""Write docs/reference/job.md from the table of attributes.

`python -m geventjob.job.reference` writes the page below the current folder; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from geventjob.job.attributes import ATTRIBUTES, ENTRY, SLIPSTREAM, Attribute, Type

PAGE = Path("docs", "reference", "job.md")
HEAD = """# Attributes of a job

A job is a JSON object with these attributes and no others: an unknown attribute is a 400. How a job changes its
state is in [job-lifecycle.md](../job-lifecycle.md), the requests are in [api.md](api.md).
"""
RIGHTS_HEAD = """
## Who may set and delete

Each cell says what becomes of a value that a client sends, or of an attribute that an edit names in `$select`.
With `MODIFY` also means `ALL` and the owner; everybody else is refused. Add is for SUBMITTER and ADMIN alike.
An executor's write is a bulk edit with the `entry`, `fence` and `executor` of the claim. Where a value is
refused, an unchanged one is accepted, as in a document that a client has read and sends back.
"""
RIGHTS_TAIL = """
While an executor runs the job and holds its entry, no other edit changes {}: 409 `fence`. Of a job in a final
state only {} may be edited: 409 `final`.
"""
STORED_HEAD = """
## Searching and storing

The type says how a search compares the values ([filters.md](filters.md)). Attributes of the type `terms` may
hold several values, each of which is found by itself. SQLite has a column and an index for some; it reads the
others out of the document or out of a list of terms.
"""
COPIES_HEAD = f"""
## Copies

`geventjob rerun` copies some attributes into the new job, `properties` without `{ENTRY}`. A [SlipStream
server](../slipstream.md) has a closed schema of its own: what it cannot keep is refused by the client, or kept
in `properties`.
"""
RIGHTS_COLUMNS = (
    "add",
    "edit with MODIFY",
    "edit by EXECUTOR, ADMIN",
    "delete with MODIFY",
    "delete by EXECUTOR, ADMIN",
    "executor's write with MODIFY",
    "executor's write by EXECUTOR, ADMIN",
)
FIELDS = {
    Type.TEXT: "keyword",
    Type.NUMBER: "long",
    Type.DATE: "date",
    Type.BOOLEAN: "boolean",
    Type.TERMS: "flattened",
}


def page() -> str:
    """Return the page as Markdown."""
    owned = _listed(attribute.name for attribute in ATTRIBUTES if attribute.owned)
    free = _listed(attribute.name for attribute in ATTRIBUTES if attribute.after_end)
    return "".join(
        [
            HEAD,
            _table(("attribute", "meaning", "type", "set by"), map(_meaning, ATTRIBUTES)),
            RIGHTS_HEAD,
            _table(("attribute", *RIGHTS_COLUMNS), _grouped(rights)),
            RIGHTS_TAIL.format(owned, free),
            STORED_HEAD,
            _table(("attribute", "compared as", "in `fulltext`", "SQLite", "Elasticsearch"), _grouped(storage)),
            COPIES_HEAD,
            _table(("attribute", "`rerun`", "SlipStream's server"), _grouped(copies)),
        ]
    )


def rights(attribute: Attribute) -> tuple[str, ...]:
    """Return what becomes of the attribute in each of RIGHTS_COLUMNS."""
    add = "set" if "add" in attribute.sent else "ignored"
    edit = "set" if "edit" in attribute.sent else "ignored"
    delete = {"refused": "400"}.get(attribute.delete, attribute.delete)
    guarded = "403" if attribute.guarded else edit
    return (
        add,
        guarded,
        edit,
        "403" if attribute.guarded and delete == "deleted" else delete,
        delete,
        edit if attribute.owned else guarded,
        edit,
    )


def storage(attribute: Attribute) -> tuple[str, ...]:
    """Return how the attribute is searched and stored."""
    also = "".join(f", `{part}` as {type.value}" for part, type in attribute.also)
    part = f" (`{attribute.part}`{also}; the rest as terms)" if attribute.part else ""
    if attribute.search is None:
        return "not searched", "no", "a column, read with the job alone", "kept, not indexed"
    column = "a column with an index" if attribute.indexed else "the document"
    if attribute.search is Type.TERMS:
        column = "the list of terms"
    field = "double" if attribute.fraction else FIELDS[attribute.search]
    return f"{attribute.search.value}{part}", "yes" if attribute.words else "no", column, f"`{field}`"


def copies(attribute: Attribute) -> tuple[str, ...]:
    """Return what `rerun` and SlipStream's server keep of the attribute."""
    return "copied" if attribute.rerun else "", SLIPSTREAM[attribute.slipstream]


def _meaning(attribute: Attribute) -> tuple[str, ...]:
    sets = {"": "the server", "add": "the add", "edit": "edits", "add edit": "the add, edits"}[attribute.sent]
    return f"`{attribute.name}`", attribute.help, attribute.type.words, sets


def _grouped(cells: Callable[[Attribute], tuple[str, ...]]) -> Iterable[tuple[str, ...]]:
    """Return a row for all attributes that have the same cells."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for attribute in ATTRIBUTES:
        rows.setdefault(cells(attribute), []).append(f"`{attribute.name}`")
    return [(" ".join(names), *found) for found, names in rows.items()]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _listed(names: Iterable[str]) -> str:
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} and {last}"


def write(top: Path) -> None:
    """Write the page below the project's folder."""
    (top / PAGE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path.cwd())
