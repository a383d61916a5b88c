"""Measure the English of docstrings, and look for words that CONTRIBUTING bans.

    tools/docstrings.py                  a row for each part of the tree, then the modules that are furthest off
    tools/docstrings.py --list PATH...   each docstring under PATH that is no imperative, and each banned word
    tools/docstrings.py --check          exit with 1 when a part misses a limit or holds a banned word

Two figures count. Verbs: the share of docstrings of functions that begin with an imperative verb. Docstrings of
properties and test functions do not count, as these may begin with a noun. Pronouns: the share of `PRONOUNS` among the
words of all docstrings; code between backticks does not count.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).parents[1]
PARTS = ("geventjob", "slipstream", "actions", "distributors", "tests", "bench", "tools")
LEAST_VERBS = 60
"""Percent of the docstrings of functions, in each of `PARTS`."""
MOST_PRONOUNS = 5
"""Percent of the words of docstrings, in each of `PARTS`."""
PRONOUNS = frozenset({"it", "that", "what", "who", "one", "those", "such", "he", "his"})
BANNED = re.compile(
    r"\b(thrice|whosoever|needs? it not|(is|are|was|were) told of|as it ever was|DESIGN|FINDINGS|CALENDARS|CIMI\.md)\b"
)
TEXTS = (".py", ".md", ".toml", ".ini", ".service", ".yml")
EXEMPT = frozenset(
    {"CONTRIBUTING.md", "tests/unit/test_citations.py", "tools/docstrings.py", "tests/unit/test_docstrings.py"}
)
"""Files that name banned words to ban them."""

VERBS = frozenset((TOP / "tools" / "verbs").read_text().split())
"""Verbs with which a docstring may begin. Add a missing verb to the file."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Count:
    """The counts of one module or part, and the places of what misses the rules."""

    functions: int = 0
    verbs: int = 0
    words: int = 0
    pronouns: int = 0
    findings: list[str] = field(default_factory=list)
    banned: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Add the counts and findings of another module."""
        self.functions += other.functions
        self.verbs += other.verbs
        self.words += other.words
        self.pronouns += other.pronouns
        self.findings += other.findings
        self.banned += other.banned

    @property
    def verb_share(self) -> float:
        """Percent; 100 where there are no functions."""
        return 100 * self.verbs / self.functions if self.functions else 100.0

    @property
    def pronoun_share(self) -> float:
        """Percent; 0 where there are no words."""
        return 100 * self.pronouns / self.words if self.words else 0.0

    @property
    def passes(self) -> bool:
        """Whether both limits are kept and there is no banned word."""
        return self.verb_share >= LEAST_VERBS and self.pronoun_share <= MOST_PRONOUNS and not self.banned

    @property
    def debt(self) -> float:
        """The docstrings and pronouns too many for the limits, for the order of the worst modules."""
        verbs = LEAST_VERBS / 100 * self.functions - self.verbs
        return max(0.0, verbs) + max(0.0, self.pronouns - MOST_PRONOUNS / 100 * self.words)


def attributes(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the strings that follow assignments: the docstrings of attributes and constants."""
    for before, after in itertools.pairwise(body):
        if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def is_counted(node: ast.AST) -> bool:
    """Return whether a docstring of this node must begin with a verb."""
    if not isinstance(node, Function) or node.name.startswith("test_"):
        return False
    return not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def count_words(count: Count, text: str) -> None:
    """Count the words and pronouns of a docstring, without the code in it."""
    words = re.findall(r"[a-z']+", re.sub(r"`[^`]*`", " ", text).lower())
    count.words += len(words)
    count.pronouns += sum(word in PRONOUNS for word in words)


def measure(path: Path) -> Count:
    """Count one module."""
    count = Count()
    for node in ast.walk(ast.parse(path.read_text())):
        for text in attributes(getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []):
            count_words(count, text)
        if not isinstance(node, Function | ast.ClassDef | ast.Module) or not (text := ast.get_docstring(node) or ""):
            continue
        count_words(count, text)
        if is_counted(node):
            count.functions += 1
            if re.split(r"[^a-z]", text.lower())[0] in VERBS:
                count.verbs += 1
            else:
                count.findings.append(f"{name(path)}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}")
    return count


def banned(path: Path) -> list[str]:
    """Return the places of banned words in a file."""
    lines = enumerate(path.read_text().splitlines(), 1) if name(path) not in EXEMPT else ()
    return [f"{name(path)}:{number}: {found[0]}" for number, line in lines for found in BANNED.finditer(line)]


def name(path: Path) -> str:
    """Return the path below the top of the tree."""
    return str(path.relative_to(TOP))


def files(top: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files under a folder that we write: hidden folders and what is kept as found (`old`) are left out."""
    for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
        below = path.relative_to(TOP).parts
        if path.suffix in endings and not any(part.startswith(".") or part in ("old", "build") for part in below):
            yield path


def survey(tops: Iterable[str]) -> tuple[dict[str, Count], dict[str, Count]]:
    """Count parts and modules: each as a dictionary by name."""
    parts: dict[str, Count] = {}
    modules: dict[str, Count] = {}
    for top in tops:
        parts[top] = Count()
        for path in files((TOP / top).resolve(), (".py",)):
            modules[name(path)] = measure(path)
            parts[top].add(modules[name(path)])
    return parts, modules


def row(title: str, count: Count) -> str:
    """Return a line of the table."""
    verbs = f"{count.verb_share:5.0f} % of {count.functions:4}"
    return f"{title:44} {verbs} begin with a verb {count.pronoun_share:6.1f} % of {count.words:6} words are pronouns"


def main() -> int:
    """Print the figures; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the English of docstrings.")
    parser.add_argument("paths", nargs="*", default=list(PARTS), metavar="PATH", help="default: the whole tree")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a limit is missed or a word is banned")
    parser.add_argument("--list", action="store_true", help="list each docstring that begins with no verb")
    parser.add_argument("--worst", type=int, default=15, metavar="N", help="modules to name (default: 15)")
    args = parser.parse_args()
    parts, modules = survey(args.paths)
    tops = [TOP] if args.paths == list(PARTS) else [(TOP / top).resolve() for top in args.paths]
    words = [place for top in tops for path in files(top, TEXTS) for place in banned(path)]
    if args.check:
        failures = [row(title, count) for title, count in parts.items() if not count.passes] + words
        print(*failures, sep="\n", end="\n" if failures else "")
        return 1 if failures else 0
    print(*(row(title, count) for title, count in parts.items()), sep="\n")
    worst = sorted(((count.debt, title) for title, count in modules.items() if count.debt), reverse=True)
    print(*(row(f"  {title}", modules[title]) for _, title in worst[: args.worst]), sep="\n")
    print(f"{len(words)} banned words")
    if args.list:
        print(*(place for count in parts.values() for place in count.findings), *words, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
