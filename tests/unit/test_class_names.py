"""A class name occurs once in the package, so that a search finds one class."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import geventjob


def test_a_class_name_occurs_once() -> None:
    places = defaultdict(list)
    for path in sorted(Path(geventjob.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    assert len(places) > 200
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
