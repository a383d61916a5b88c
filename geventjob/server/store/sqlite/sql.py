"""Conditions as SQL expressions on a table of documents `d`. NULL counts as false.

A condition on terms is an expression on the row, or a look-up in the index of terms where few rows have the term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, log2

import msgspec

from geventjob.server.filter import And, Or
from geventjob.server.store.attributes import SINGLE, Path, Type, label, searched, term, type_of
from geventjob.server.store.resolve import Begins, Condition, Exists, Is, Not, Scalar, Within
from geventjob.server.store.shape import Shape
from geventjob.server.store.sqlite.access import reader_text
from geventjob.server.store.sqlite.rows import COLUMNS
from geventjob.server.store.sqlite.terms import LONGEST, indexed, word

NESTED = 16
"""Deepest tree that becomes nested AND and OR: the stack of SQLite's parser has 100 symbols."""
ROW_TERMS = "json_each(d.terms)"
ACL_TERMS = "json_each((SELECT a.terms FROM access AS a WHERE a.id = d.access))"
ACL = "acl"


LOOKED_UP = 32
"""Most equalities of an OR that are looked up in the index of terms, each by itself."""


def levels(parts: int) -> int:
    """Return the depth of a balanced tree of so many parts (`_joined`)."""
    return ceil(log2(parts))


class Sql:
    """Parts of one statement, with the parameters that all parts share."""

    def __init__(self, kind: str, few: Callable[[str], bool] | None = None) -> None:
        """Set the kind of the documents. `few` tells whether few rows match an expression of the index of terms.

        Without `few` the index of terms is not used.
        """
        self.parameters: dict[str, Scalar] = {}
        self._kind = kind
        self._few = few

    def bound(self, value: Scalar) -> str:
        """Add a parameter, and return the placeholder."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def condition(self, condition: Condition) -> str:
        """Return an expression that is true where the condition holds."""
        shape = Shape(condition, levels)
        if shape.depth(condition) > NESTED:
            self._few = None
        return self._expression(condition, shape)

    def seen_by(self, viewers: Iterable[str]) -> str:
        """Return an expression that is true where a viewer is among the readers."""
        seen = [f"instr(a.readers, {self.bound(reader_text(viewer))})" for viewer in sorted(viewers)]
        return f"d.access IN (SELECT a.id FROM access AS a WHERE {_joined('OR', seen or ['FALSE'])})"

    def values(self, path: Path, condition: str) -> str:
        """Return a FROM item with all values of a searched attribute in the matching documents.

        It has the columns `v`, a value, and `n`, how many documents it stands for.
        """
        table = f"[{self._kind}] AS d"
        if type_of(path) is not Type.TERMS:
            return f"(SELECT {column(path)} AS v, 1 AS n FROM {table} WHERE {condition} AND {column(path)} IS NOT NULL)"
        start = len(term(path, "")) + 1
        mine = self._compared("t.value", _all_terms(path))
        source = f"{table}, {_source(path)} AS t"
        return f"(SELECT substr(t.value, {start}) AS v, 1 AS n FROM {source} WHERE {condition} AND {mine})"

    def groups(self, path: Path, condition: str) -> str:
        """Return the FROM item of `values` over the totals, for an attribute by which they are kept."""
        where = f"d.kind = '{self._kind}' AND {condition} AND {column(path)} IS NOT NULL"
        return f"(SELECT {column(path)} AS v, d.n AS n FROM totals AS d WHERE {where})"

    def order(self, path: Path, *, descending: bool) -> str:
        """Return a key of ORDER BY: the least value, or the greatest if descending; missing values come last."""
        value = "NULL"
        if type_of(path) is not Type.TERMS:
            value = column(path)
        elif searched(path):
            pick = "max" if descending else "min"
            value = f"(SELECT {pick}(value) FROM {_source(path)} WHERE {self._compared('value', _all_terms(path))})"
        return f"{value} {'DESC' if descending else 'ASC'} NULLS LAST"

    def _expression(self, node: Condition, shape: Shape) -> str:
        if not isinstance(node, (And, Or)):
            return self._leaf(node)
        if shape.depth(node) > NESTED:
            return self._cases(node, shape)
        if isinstance(node, And):
            return _joined("AND", self._all_of(node.terms, shape))
        equal = [term for term in node.terms if isinstance(term, Is)]
        others = [self._expression(term, shape) for term in node.terms if not isinstance(term, Is)]
        return _joined("OR", [*self._one_of(equal), *others])

    def _all_of(self, parts: Sequence[Condition], shape: Shape) -> list[str]:
        """Return the parts of an AND. A term that many rows have is not looked up where another part is narrower."""
        found = {id(part): looked_up for part in parts if (looked_up := self._looked_up(part))}
        few = {part for part, (_, match) in found.items() if self._few and self._few(match)}
        chosen = few or (set(found) if len(found) == len(parts) else set())
        return [
            found[id(part)][0] if id(part) in chosen
            else self._row_leaf(part) if id(part) in found
            else self._expression(part, shape)
            for part in parts
        ]  # fmt: skip

    def _cases(self, node: Condition, shape: Shape) -> str:
        """Return a deep tree as CASE: each level of the heaviest path adds cases that decide or pass on."""
        path, rest = shape.heaviest_path(node, NESTED)
        cases = []
        for joint, branches in path:
            decided = "IS NOT TRUE THEN FALSE" if isinstance(joint, And) else "THEN TRUE"
            cases += [f"WHEN {self._expression(branch, shape)} {decided}" for branch in branches]
        return f"CASE {' '.join(cases)} ELSE {self._expression(rest, shape)} END"

    def _leaf(self, leaf: Is | Within | Begins | Exists | Not) -> str:
        found = self._looked_up(leaf)
        return found[0] if found else self._row_leaf(leaf)

    def _looked_up(self, leaf: Condition) -> tuple[str, str] | None:
        """Return the expression that looks a leaf up in the index of terms, and its match; None: not in the index."""
        if self._few is None or not isinstance(leaf, (Is, Begins)) or not indexed(self._kind, leaf.path):
            return None
        match = matching(leaf)
        table, stale = f"{self._kind}_terms", f"SELECT row FROM {self._kind}_stale"
        found = f"SELECT rowid >> 1 FROM {table} WHERE {table} MATCH {self.bound(match)} UNION ALL {stale}"
        sure = f"d.row NOT IN ({stale}) OR " if exact(leaf) else ""
        return f"(d.row IN ({found}) AND ({sure}{self._row_leaf(leaf)}))", match

    def _row_leaf(self, leaf: Condition) -> str:
        """Return the expression of a leaf on the row alone."""
        assert not isinstance(leaf, (And, Or))
        if isinstance(leaf, Not):
            return f"{self._row_leaf(leaf.condition)} IS NOT TRUE"
        if isinstance(leaf, Exists):
            return self._exists(leaf.path)
        if type_of(leaf.path) is Type.TERMS:
            return self.some_term(leaf)
        return f"({self._compared(column(leaf.path), _comparisons(leaf))})"

    def some_term(self, leaf: Is | Within | Begins) -> str:
        """Return an expression that is true where the column `terms` has a term of a leaf."""
        exists = f"EXISTS (SELECT 1 FROM {_source(leaf.path)} WHERE {self._compared('value', _of_terms(leaf))})"
        if isinstance(leaf, Within) or leaf.path[0] == ACL:
            return exists
        [(_, first), *_] = _of_terms(leaf)
        quoted = msgspec.json.encode(first).decode()
        looked_for = self.bound(quoted[:-1] if isinstance(leaf, Begins) else quoted)
        return (
            f"(instr(d.terms, {looked_for}) AND {exists})"  # the substring check spares parsing the terms of most rows
        )

    def _one_of(self, leaves: Sequence[Is]) -> list[str]:
        """Return equalities joined by OR as IN lists: one list for each column, and one for all terms."""
        if len(leaves) <= LOOKED_UP:
            looked_up = [leaf for leaf in leaves if self._looked_up(leaf)]
            if looked_up:
                others = [leaf for leaf in leaves if leaf not in looked_up]
                return [*map(self._leaf, looked_up), *(self._one_of(others) if others else [])]
        if len(leaves) == 1:
            return [self._leaf(leaves[0])]
        lists: dict[str, list[str]] = {}
        for leaf in leaves:
            [(_, value)] = _of_terms(leaf) if type_of(leaf.path) is Type.TERMS else _comparisons(leaf)
            source = _source(leaf.path) if type_of(leaf.path) is Type.TERMS else column(leaf.path)
            lists.setdefault(source, []).append(self.bound(value))
        return [
            f"EXISTS (SELECT 1 FROM {source} WHERE value IN ({', '.join(places)}))"
            if source in (ROW_TERMS, ACL_TERMS)
            else f"{source} IN ({', '.join(places)})"
            for source, places in lists.items()
        ]

    def _exists(self, path: Path) -> str:
        if type_of(path) is not Type.TERMS:
            return f"({column(path)} IS NOT NULL)"
        below = [f"{column(single)} IS NOT NULL" for single in SINGLE if single[: len(path)] == path]
        own = self._compared("value", _all_terms(path))
        inner = self._compared("value", _prefixed(f"{label(path)}/"))
        return _joined("OR", [*below, f"EXISTS (SELECT 1 FROM {_source(path)} WHERE {own} OR {inner})"])

    def _compared(self, source: str, comparisons: Iterable[tuple[str, Scalar]]) -> str:
        return " AND ".join(f"{source} {operator} {self.bound(value)}" for operator, value in comparisons)


def column(path: Path) -> str:
    """Return the expression for the value of a single attribute."""
    if path in COLUMNS:
        return f'd."{label(path)}"'
    return f"json_extract(d.document, '$.{'.'.join(path)}')"


def matching(leaf: Is | Begins) -> str:
    """Return the expression of the index of terms that finds the rows of a leaf; others too if it is not `exact`."""
    whole = term(leaf.path, leaf.prefix if isinstance(leaf, Begins) else str(leaf.value))
    return f'"{word(whole)}"{" *" if isinstance(leaf, Begins) and len(whole) <= LONGEST else ""}'


def documents_with(kind: str, leaf: Is | Begins) -> tuple[str, tuple[str, ...]]:
    """Return the statement that counts the rows of a leaf in the index of terms, with its parameters.

    The vocabulary of FTS5 counts five times quicker than a match, 0.1 us a row, but by terms: a row with several terms
    of a prefix would count several times. So prefixes are counted in the vocabulary for single attributes only.
    """
    if isinstance(leaf, Begins) and leaf.path not in SINGLE:
        return f"SELECT count(*) FROM {kind}_terms WHERE {kind}_terms MATCH ?", (matching(leaf),)
    first = word(term(leaf.path, leaf.prefix if isinstance(leaf, Begins) else str(leaf.value)))
    last = f"{first}g" if isinstance(leaf, Begins) else first  # `g` follows all hexadecimal digits
    return f"SELECT ifnull(sum(doc), 0) FROM {kind}_words WHERE term >= ? AND term <= ?", (first, last)


def exact(leaf: Is | Begins) -> bool:
    """Return whether the index of terms has the whole term, so that it finds no other rows."""
    if isinstance(leaf, Begins):
        return len(term(leaf.path, leaf.prefix)) <= LONGEST
    return len(term(leaf.path, str(leaf.value))) < LONGEST


def _source(path: Path) -> str:
    """Return the FROM item with the terms of an attribute in a column `value`."""
    return ACL_TERMS if path[0] == ACL else ROW_TERMS


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
