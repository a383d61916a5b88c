"""Hold the direction of imports: a room imports from the rooms below (docs/architecture.md, "Imports")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import geventjob

ROOT = Path(geventjob.__file__).parent.parent
ROOMS = [
    ["geventjob.cli"],
    ["geventjob.testing"],
    ["geventjob.executor", "geventjob.scheduling", "geventjob.server.app"],
    ["geventjob.server.resources"],
    ["geventjob.server.http"],
    ["geventjob.server.jobs", "geventjob.server.watch"],
    ["geventjob.server.leaders"],
    ["geventjob.server.gate"],
    ["geventjob.server.life"],
    ["geventjob.server.accounts"],
    ["geventjob.server.store"],
    ["geventjob.server.filter"],
    ["geventjob.server"],
    ["geventjob.plugins"],
    ["geventjob.cimi", "geventjob.coordination"],
    ["geventjob.calendar", "geventjob.debug"],
    ["geventjob.log"],
    ["geventjob.config"],
    ["geventjob"],
    ["geventjob.job"],
]
"""The top room first. A module may import from its own room and from rooms below, not from a room in the same line."""
PUBLIC = ("geventjob", "geventjob.executor.job")
"""The package itself, which loads its public names on first use, and `Job`, a type in the code of authors."""
OUTSIDE = {
    "kazoo": ["geventjob.coordination.zookeeper"],
    "elasticsearch": ["geventjob.server.store.elasticsearch", "geventjob.executor.elastic"],
    "elastic_transport": ["geventjob.server.store.elasticsearch", "geventjob.executor.elastic"],
    "requests": ["geventjob.cimi.requests_connections", "geventjob.guard"],
    "falcon": ["geventjob.server"],
    "opentelemetry": ["geventjob.traces", "geventjob.executor.traces", "geventjob.server.watch.traces"],
}
"""Libraries, and the modules or packages that may import each."""


def room(module: str) -> str:
    return max((name for level in ROOMS for name in level if f"{module}.".startswith(f"{name}.")), key=len)


def level(name: str) -> int:
    return next(number for number, names in enumerate(ROOMS) if name in names)


@cache
def modules() -> dict[str, Path]:
    found = sorted((ROOT / "geventjob").rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in found}


def imported(path: Path) -> Iterator[str]:
    """Return the modules of the package that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("geventjob"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("geventjob"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else str(node.module)


@pytest.mark.parametrize(("module", "path"), [pytest.param(*pair, id=pair[0]) for pair in modules().items()])
def test_a_module_imports_from_its_room_or_rooms_below(module: str, path: Path) -> None:
    own = room(module)
    wrong = [
        name for name in imported(path) if name not in PUBLIC and room(name) != own and level(room(name)) <= level(own)
    ]
    assert wrong == [] or module == "geventjob"


def test_the_page_lists_the_same_rooms() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    block = page.partition("## Imports")[2].split("```")[1].removeprefix("text")
    listed = [line.split("  ")[0].strip().split(" · ") for line in block.strip().splitlines()]
    assert listed == [[name.removeprefix("geventjob.").replace(".", "/") for name in names] for names in ROOMS]


def test_outside_libraries_stay_in_their_places() -> None:
    wrong = []
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for library in {name.partition(".")[0] for name in names} & OUTSIDE.keys():
                if not any(f"{module}.".startswith(f"{place}.") for place in OUTSIDE[library]):
                    wrong.append((module, library))
    assert wrong == []
