"""Conditions as SQL expressions on a table of documents `d`. NULL counts as false."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, log2

import msgspec

from geventjob.server.filter import And, Or
from geventjob.server.store.attributes import SINGLE, Path, Type, label, searched, term, type_of
from geventjob.server.store.resolve import Begins, Condition, Exists, Is, Not, Scalar, Within
from geventjob.server.store.shape import Shape
from geventjob.server.store.sqlite.rows import COLUMNS, reader_text

NESTED = 16
"""Deepest tree that becomes nested AND and OR: the stack of SQLite's parser has 100 symbols."""
TERMS = "json_each(d.terms)"


def levels(parts: int) -> int:
    """Return the depth of a balanced tree of so many parts (`_joined`)."""
    return ceil(log2(parts))


class Sql:
    """Parts of one statement, with the parameters that all parts share."""

    def __init__(self) -> None:
        self.parameters: dict[str, Scalar] = {}

    def bound(self, value: Scalar) -> str:
        """Add a parameter, and return the placeholder."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def condition(self, condition: Condition) -> str:
        """Return an expression that is true where the condition holds."""
        return self._expression(condition, Shape(condition, levels))

    def seen_by(self, viewers: Iterable[str]) -> str:
        """Return an expression that is true where a viewer is among the readers."""
        seen = [f"instr(d.readers, {self.bound(reader_text(viewer))})" for viewer in sorted(viewers)]
        return _joined("OR", seen or ["FALSE"])

    def values(self, path: Path, kind: str, condition: str) -> str:
        """Return a FROM item with a column `v`: all values of a searched attribute in the matching documents."""
        if type_of(path) is not Type.TERMS:
            return f"(SELECT {column(path)} AS v FROM [{kind}] AS d WHERE {condition} AND {column(path)} IS NOT NULL)"
        start = len(term(path, "")) + 1
        mine = self._compared("t.value", _all_terms(path))
        return f"(SELECT substr(t.value, {start}) AS v FROM [{kind}] AS d, {TERMS} AS t WHERE {condition} AND {mine})"

    def order(self, path: Path, *, descending: bool) -> str:
        """Return a key of ORDER BY: the least value, or the greatest if descending; missing values come last."""
        value = "NULL"
        if type_of(path) is not Type.TERMS:
            value = column(path)
        elif searched(path):
            pick = "max" if descending else "min"
            value = f"(SELECT {pick}(value) FROM {TERMS} WHERE {self._compared('value', _all_terms(path))})"
        return f"{value} {'DESC' if descending else 'ASC'} NULLS LAST"

    def _expression(self, node: Condition, shape: Shape) -> str:
        if not isinstance(node, (And, Or)):
            return self._leaf(node)
        if shape.depth(node) > NESTED:
            return self._cases(node, shape)
        if isinstance(node, And):
            return _joined("AND", [self._expression(term, shape) for term in node.terms])
        equal = [term for term in node.terms if isinstance(term, Is)]
        others = [self._expression(term, shape) for term in node.terms if not isinstance(term, Is)]
        return _joined("OR", [*self._one_of(equal), *others])

    def _cases(self, node: Condition, shape: Shape) -> str:
        """Return a deep tree as CASE: each level of the heaviest path adds cases that decide or pass on."""
        path, rest = shape.heaviest_path(node, NESTED)
        cases = []
        for joint, branches in path:
            decided = "IS NOT TRUE THEN FALSE" if isinstance(joint, And) else "THEN TRUE"
            cases += [f"WHEN {self._expression(branch, shape)} {decided}" for branch in branches]
        return f"CASE {' '.join(cases)} ELSE {self._expression(rest, shape)} END"

    def _leaf(self, leaf: Is | Within | Begins | Exists | Not) -> str:
        if isinstance(leaf, Not):
            return f"{self._leaf(leaf.condition)} IS NOT TRUE"
        if isinstance(leaf, Exists):
            return self._exists(leaf.path)
        if type_of(leaf.path) is Type.TERMS:
            return self._some_term(leaf)
        return f"({self._compared(column(leaf.path), _comparisons(leaf))})"

    def _some_term(self, leaf: Is | Within | Begins) -> str:
        exists = f"EXISTS (SELECT 1 FROM {TERMS} WHERE {self._compared('value', _of_terms(leaf))})"
        if isinstance(leaf, Within):
            return exists
        [(_, first), *_] = _of_terms(leaf)
        quoted = msgspec.json.encode(first).decode()
        looked_for = self.bound(quoted[:-1] if isinstance(leaf, Begins) else quoted)
        return (
            f"(instr(d.terms, {looked_for}) AND {exists})"  # the substring check spares parsing the terms of most rows
        )

    def _one_of(self, leaves: Sequence[Is]) -> list[str]:
        """Return equalities joined by OR as IN lists: one list for each column, and one for all terms."""
        if len(leaves) == 1:
            return [self._leaf(leaves[0])]
        lists: dict[str, list[str]] = {}
        for leaf in leaves:
            [(_, value)] = _of_terms(leaf) if type_of(leaf.path) is Type.TERMS else _comparisons(leaf)
            source = TERMS if type_of(leaf.path) is Type.TERMS else column(leaf.path)
            lists.setdefault(source, []).append(self.bound(value))
        return [
            f"EXISTS (SELECT 1 FROM {TERMS} WHERE value IN ({', '.join(places)}))"
            if source == TERMS
            else f"{source} IN ({', '.join(places)})"
            for source, places in lists.items()
        ]

    def _exists(self, path: Path) -> str:
        if type_of(path) is not Type.TERMS:
            return f"({column(path)} IS NOT NULL)"
        below = [f"{column(single)} IS NOT NULL" for single in SINGLE if single[: len(path)] == path]
        own = self._compared("value", _all_terms(path))
        inner = self._compared("value", _prefixed(f"{label(path)}/"))
        return _joined("OR", [*below, f"EXISTS (SELECT 1 FROM {TERMS} WHERE {own} OR {inner})"])

    def _compared(self, source: str, comparisons: Iterable[tuple[str, Scalar]]) -> str:
        return " AND ".join(f"{source} {operator} {self.bound(value)}" for operator, value in comparisons)


def column(path: Path) -> str:
    """Return the expression for the value of a single attribute."""
    if path in COLUMNS:
        return f'd."{label(path)}"'
    return f"json_extract(d.document, '$.{'.'.join(path)}')"


def _all_terms(path: Path) -> list[tuple[str, Scalar]]:
    return _prefixed(term(path, ""))


def _comparisons(leaf: Is | Within | Begins) -> list[tuple[str, Scalar]]:
    if isinstance(leaf, Is):
        return [("=", leaf.value)]
    return _prefixed(leaf.prefix) if isinstance(leaf, Begins) else list(leaf.bounds)


def _of_terms(leaf: Is | Within | Begins) -> list[tuple[str, Scalar]]:
    if isinstance(leaf, Begins):
        return _prefixed(term(leaf.path, leaf.prefix))
    compared = [(operator, term(leaf.path, str(value))) for operator, value in _comparisons(leaf)]
    return [*compared, *([] if isinstance(leaf, Is) else _all_terms(leaf.path))]


def _prefixed(prefix: str) -> list[tuple[str, Scalar]]:
    """Return the range of texts with a prefix. The order of UTF-8 bytes is the order of code points."""
    cut = prefix.rstrip("\U0010ffff")
    if not cut:
        return [(">=", prefix)]
    following = ord(cut[-1]) + 1
    after = cut[:-1] + chr(0xE000 if following == 0xD800 else following)
    return [(">=", prefix), ("<", after)]


def _joined(operator: str, parts: Sequence[str]) -> str:
    """Join the parts in a balanced tree, since SQLite limits the depth of expressions to 1,000."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_joined(operator, parts[:half])} {operator} {_joined(operator, parts[half:])})"
