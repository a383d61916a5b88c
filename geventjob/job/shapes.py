"""The shape of a payload, a JSON schema: announced by executors within bounds, shown to people, compared with payloads.

Only keywords that msgspec writes count. A comparison is for warnings: patterns and lengths are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST, LARGEST_TOGETHER = 2_000, 20_000
"""Bytes of a shape and of all shapes of a process. Many processes read the announcement."""
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
EXAMPLES = {
    "date-time": "2030-01-31T12:00:00Z",
    "date": "2030-01-31",
    "time": "12:00:00",
    "duration": "PT60S",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "decimal": "1.5",
}
"""Texts by their format."""
CUT = "inner types are left out"
"""The comment of a shape that was too large."""
DEEPEST = 20
"""Levels of a payload that are looked at."""

Shape = Mapping[str, Any]


def announced(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes that fit into an announcement, by action: large ones without inner types, the rest not."""
    told: dict[str, Shape] = {}
    room = LARGEST_TOGETHER
    for action, shape in shapes.items():
        small = next((each for each in (shape, _flat(shape)) if _size(each) <= LARGEST), None)
        if small is not None and _size(small) <= room:
            told[action] = small
            room -= _size(small)
    return told


def _size(shape: Shape) -> int:
    return len(json.dumps(shape))


def _flat(shape: Shape) -> Shape:
    """Return a shape with the names and plain types of its fields alone."""
    fields = shape["properties"].items()
    kept = {name: {"type": inner["type"]} if "type" in inner else {} for name, inner in fields}
    further = shape["additionalProperties"]
    flat = {**_without(shape, "$defs"), "properties": kept, "additionalProperties": bool(further or further == {})}
    return flat | {"$comment": CUT}


def _without(shape: Shape, name: str) -> Shape:
    return {key: value for key, value in shape.items() if key != name}


def misfits(shape: Shape, payload: object) -> list[str]:
    """Return a line for each field of a payload that does not fit, or that no parameter takes."""
    return list(_misfits(shape, payload, "", shape.get("$defs", {}), DEEPEST))


def _misfits(shape: Shape, value: object, place: str, parts: Shape, depth: int) -> Iterator[str]:
    shape = _resolved(shape, parts)
    if depth == 0:
        return
    if "anyOf" in shape:
        if all(any(_misfits(each, value, place, parts, depth - 1)) for each in shape["anyOf"]):
            yield f"{place}: expected {words(shape, parts)}"
    elif "enum" in shape:
        if value not in shape["enum"]:
            yield f"{place}: expected {words(shape, parts)}"
    elif not _is(value, shape.get("type")):
        yield f"{place or 'payload'}: expected {words(shape, parts)}"
    elif isinstance(value, dict):
        yield from _misfits_of_fields(shape, value, f"{place}." if place else "", parts, depth)
    elif isinstance(value, list) and isinstance(shape.get("items"), dict):
        for at, each in enumerate(value):
            yield from _misfits(shape["items"], each, f"{place}[{at}]", parts, depth - 1)


def _misfits_of_fields(shape: Shape, value: Shape, prefix: str, parts: Shape, depth: int) -> Iterator[str]:
    known, further = shape.get("properties", {}), shape.get("additionalProperties", True)
    yield from (f"{prefix}{name}: missing" for name in shape.get("required", ()) if name not in value)
    for name, each in value.items():
        inner = known.get(name, further)
        if isinstance(inner, dict):
            yield from _misfits(inner, each, prefix + name, parts, depth - 1)
        elif inner is False:
            yield f"{prefix}{name}: unknown"


def _is(value: object, kind: object) -> bool:
    if type(value) is bool:
        return kind in ("boolean", None)
    return not isinstance(kind, str) or kind not in TYPES or isinstance(value, TYPES[kind])


def words(shape: Shape, parts: Shape | None = None) -> str:
    """Return a shape in a few words: `integer`, `array of string`, `"a" or "b"`."""
    shape = _resolved(shape, parts or {})
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(words(each, parts) for each in shape["anyOf"]))
    if "enum" in shape:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in shape["enum"])
    kind = str(shape.get("format") or shape.get("type") or "any value")
    items = shape.get("items")
    return f"{kind} of {words(items, parts)}" if kind == "array" and items and "$ref" not in items else kind


def example(shape: Shape) -> Any:
    """Return a payload that fits a shape; None for a shape without inner types."""
    return None if shape.get("$comment") == CUT else _example(shape, shape.get("$defs", {}), DEEPEST)


def _example(shape: Shape, parts: Shape, depth: int) -> Any:
    shape = _resolved(shape, parts)
    if "default" in shape or depth == 0:
        return shape.get("default")
    if "anyOf" in shape:
        return _example(shape["anyOf"][0], parts, depth - 1)
    if "enum" in shape:
        return shape["enum"][0]
    kind = shape.get("type")
    if kind == "object":
        fields, required = shape.get("properties", {}), shape.get("required", ())
        shown = {name: inner for name, inner in fields.items() if name in required or "default" in inner}
        return {name: _example(inner, parts, depth - 1) for name, inner in shown.items()}
    if kind == "array":
        inner = shape.get("prefixItems") or [shape["items"]] * bool(isinstance(shape.get("items"), dict))
        return [_example(each, parts, depth - 1) for each in inner]
    if kind in ("integer", "number"):
        return shape.get("minimum", shape.get("exclusiveMinimum", -1) + 1)
    return {"boolean": True, "null": None}.get(str(kind), EXAMPLES.get(str(shape.get("format")), "text"))


def _resolved(shape: Shape, parts: Shape) -> Shape:
    """Return the shape that a reference names, with what stands beside the reference."""
    name = str(shape.get("$ref", "")).rpartition("/")[2]
    return {**parts.get(name, {}), **_without(shape, "$ref")} if name else shape
