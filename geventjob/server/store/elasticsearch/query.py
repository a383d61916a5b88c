"""Conditions (resolve.py) as queries of Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from geventjob.server.filter import And, Or
from geventjob.server.store.attributes import Path, Type, label, type_of
from geventjob.server.store.elasticsearch.indexed import cut, field, known
from geventjob.server.store.resolve import Begins, Condition, Exists, Is, Not, Scalar, Within
from geventjob.server.store.shape import Shape

NESTED = 8
"""Deepest tree that becomes nested `bool` queries: Elasticsearch accepts 20 levels."""
CLAUSES = 1000
"""Most clauses of one `bool` query: Lucene accepts 1,024."""
GREATEST = "\U0010ffff" * 64
"""A text above all others: a range over a key of `values` needs both ends."""

Clause = dict[str, Any]
NOTHING: Clause = {"match_none": {}}


def clause(condition: Condition) -> Clause:
    """Return a query for the documents for which a condition holds."""
    return _Writer(condition).clause(condition)


def seen_by(viewers: Iterable[str]) -> Clause:
    """Return a query for the documents that one of the viewers may see."""
    return {"terms": {"readers": sorted(map(cut, viewers))}}


def order(path: Path, *, descending: bool) -> Clause:
    """Return a sort key: the least value, or the greatest if descending; missing values come last."""
    return {field(path): {"order": "desc" if descending else "asc", "missing": "_last"}}


class _Writer:
    """Translator of one tree."""

    def __init__(self, root: Condition) -> None:
        self._shape = Shape(root)

    def clause(self, node: Condition) -> Clause:
        if not isinstance(node, (And, Or)):
            return _leaf(node)
        if self._shape.depth(node) > NESTED:
            return self._cases(node)
        if isinstance(node, Or):
            return _some(self._alternatives(node.terms))
        denied = [term.condition for term in node.terms if isinstance(term, Not)]
        wanted = [self.clause(term) for term in node.terms if not isinstance(term, Not)]
        return _all(wanted, self._alternatives(denied))

    def _alternatives(self, nodes: Sequence[Condition]) -> list[Clause]:
        """Return clauses for alternatives; all equalities of one attribute share a clause."""
        values: dict[str, list[Scalar]] = {}
        for node in nodes:
            if isinstance(node, Is):
                values.setdefault(field(node.path), []).append(_value(node.value))
        lists: list[Clause] = [{"terms": {name: wanted}} for name, wanted in values.items()]
        return lists + [self.clause(node) for node in nodes if not isinstance(node, Is)]

    def _cases(self, node: Condition) -> Clause:
        """Return a deep tree as a list of cases: each level of the heaviest path adds cases that decide or pass on.

        The first case that matches a document sets the score, and the minimum score keeps the documents with `yes`.
        """
        yes, no = 2, 1
        path, rest = self._shape.heaviest_path(node, NESTED)
        cases: list[Clause] = []
        for joint, branches in path:
            for branch in map(self.clause, branches):
                decided = (_none([branch]), no) if isinstance(joint, And) else (branch, yes)
                cases.append({"filter": decided[0], "weight": decided[1]})
        cases += [{"filter": self.clause(rest), "weight": yes}, {"filter": {"match_all": {}}, "weight": no}]
        how = {"score_mode": "first", "boost_mode": "replace", "min_score": yes}
        return {"function_score": {"query": {"match_all": {}}, "functions": cases, **how}}


def _leaf(leaf: Is | Within | Begins | Exists | Not) -> Clause:
    if isinstance(leaf, Not):
        return _none([_leaf(leaf.condition)])
    if isinstance(leaf, Exists):
        return _exists(leaf.path)
    if isinstance(leaf, Is):
        return {"term": {field(leaf.path): _value(leaf.value)}}
    if isinstance(leaf, Begins):
        return {"prefix": {field(leaf.path): cut(leaf.prefix)}}
    return {"range": {field(leaf.path): _bounds(leaf)}}


def _exists(path: Path) -> Clause:
    if type_of(path) is not Type.TERMS:
        return {"exists": {"field": field(path)}}
    return {"term": {"paths": known(label(path))}}


def _bounds(leaf: Within) -> dict[str, Scalar]:
    bounds = {_NAMES[operator]: _value(value) for operator, value in leaf.bounds}
    if type_of(leaf.path) is Type.TERMS:
        missing = ("gte", "") if bounds.keys() & {"lt", "lte"} else ("lte", GREATEST)
        bounds[missing[0]] = missing[1]
    return bounds


_NAMES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def _value(value: Scalar) -> Scalar:
    return cut(value) if isinstance(value, str) else value


def _all(wanted: Sequence[Clause], denied: Sequence[Clause] = ()) -> Clause:
    how: Clause = {}
    if wanted:
        how["filter"] = _few(wanted, _all)
    if denied:
        how["must_not"] = _few(denied, _some)
    return {"bool": how}


def _some(clauses: Sequence[Clause]) -> Clause:
    return {"bool": {"should": _few(clauses, _some), "minimum_should_match": 1}}


def _none(clauses: Sequence[Clause]) -> Clause:
    return _all((), clauses)


def _few(clauses: Sequence[Clause], joined: Any) -> list[Clause]:
    """Return the clauses, joined in groups if there are too many."""
    if len(clauses) <= CLAUSES:
        return list(clauses)
    return [joined(clauses[first : first + CLAUSES]) for first in range(0, len(clauses), CLAUSES)]
