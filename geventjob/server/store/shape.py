"""Trees of conditions that are nested too deeply for a database (docs/decisions/0006-what-a-search-sees.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventjob.server.filter import And, Or
from geventjob.server.filter.tree import fold
from geventjob.server.store.resolve import Condition

LEAF = (1, 1)


class Shape:
    """The depth and the weight, which is the number of leaves, of every part of a tree."""

    def __init__(self, root: Condition, levels: Callable[[int], int] = lambda parts: 1) -> None:
        """Measure a tree. `levels`: the depth that a join of so many parts adds."""
        self._levels = levels
        self._measures: dict[int, tuple[int, int]] = {}
        fold(root, lambda leaf: LEAF, self._measure)

    def _measure(self, node: Any, parts: list[tuple[int, int]]) -> tuple[int, int]:
        depth = max(depth for depth, _ in parts) + self._levels(len(parts))
        self._measures[id(node)] = depth, sum(weight for _, weight in parts)
        return self._measures[id(node)]

    def depth(self, node: Condition) -> int:
        """Return the depth of a part; 1 for a leaf."""
        return self._measures.get(id(node), LEAF)[0]

    def heaviest_path(
        self, node: Condition, deepest: int
    ) -> tuple[list[tuple[And[Condition] | Or[Condition], list[Condition]]], Condition]:
        """Follow the heaviest parts of a tree down to a part that is not deeper than `deepest`.

        Return the nodes on the path, each with its parts off the path, and the part at the end. A part off the path has
        at most half of the weight of its node. So cases for the parts off the path nest at most to the logarithm of the
        number of leaves.
        """
        path = []
        while isinstance(node, (And, Or)) and self.depth(node) > deepest:
            heaviest = max(node.terms, key=lambda term: self._measures.get(id(term), LEAF)[1])
            path.append((node, [term for term in node.terms if term is not heaviest]))
            node = heaviest
        return path, node
