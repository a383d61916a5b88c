"""Drop-in folders as packages: each file is a module of its own, and may import those beside it.

A folder becomes the package `geventjob_actions_<number>`, or `slipstream.job.geventjob_actions_<number>` where one of
its files imports relative to the package of SlipStream's engine in which it lay (`from ..util import wait`). So
`from .helper import x` works. `import helper` finds the file too, after everything that is installed.
"""

from __future__ import annotations

import ast
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

OLD = re.compile(rb"^\s*(from|import)\s+(slipstream\.job|\.\.)", re.MULTILINE)
"""How a file imports that was written for SlipStream's engine."""
RELATIVE = re.compile(rb"^\s*from\s+\.\.", re.MULTILINE)
PARENT = "slipstream.job."
PACKAGE = re.compile(r"(slipstream\.job\.)?geventjob_[a-z]+_(?P<number>[0-9a-f]{8})")
LAZY = {"map", "filter", "zip"}
"""What did its work at once in Python 2 and does nothing in Python 3 unless its result is used."""


class FreshLoader(SourceFileLoader):
    """Loads without a bytecode cache: none is left in /etc, and none can be older than an edit of the same second."""

    def path_stats(self, path: str) -> Any:
        raise OSError(path)

    def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override,unused-ignore]
        """Raises SyntaxError for a file of the old engine with a statement that does nothing in Python 3."""
        if isinstance(data, bytes) and OLD.search(data):
            _check_lazy(ast.parse(data, path))
        return super().source_to_code(data, path, **options)


class Finder:
    """Finds packages and modules of drop-in folders, for `sys.meta_path`; the last one in it."""

    def __init__(self) -> None:
        self._folders: list[Path] = []

    def open(self, folders: Iterable[Path]) -> None:
        """Let modules of these folders be imported, before those of folders that were opened earlier."""
        self._folders = list(dict.fromkeys([*folders, *self._folders]))
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a folder's package, of a module in it, or of a top-level module that nothing else has."""
        package, _, stem = name.rpartition(".")
        if PACKAGE.fullmatch(name):
            return ModuleSpec(name, None, is_package=True) if self._of(name) else None
        folder = self._of(package)
        for each in [folder] if folder else [] if package else self._folders:
            if (file := each / f"{stem}.py").is_file():
                return spec_from_file_location(name, file, loader=FreshLoader(name, str(file)))
        return None

    def _of(self, package: str) -> Path | None:
        match = PACKAGE.fullmatch(package)
        return next((f for f in self._folders if match and match["number"] == _number(f)), None)


finder = Finder()


def package_of(folder: Path, files: Sequence[Path], group: str) -> str:
    """Return the name of the folder's package, forget what was imported of it, and let it be imported anew."""
    finder.open([folder])
    parent = PARENT if any(RELATIVE.search(file.read_bytes()) for file in files) else ""
    package = f"{parent}{group.replace('.', '_')}_{_number(folder)}"
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}.") or _lies_in(module, folder):
            del sys.modules[name]
    return package


def load(file: Path, package: str) -> ModuleType:
    """Import a file as a module of its folder's package, unless a file beside it has done so."""
    name = f"{package}.{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    __import__(package)
    spec = spec_from_file_location(name, file, loader=FreshLoader(name, str(file)))
    assert spec
    assert spec.loader
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def is_drop_in(module: ModuleType) -> bool:
    """Return whether the module is one of a folder's package."""
    return bool(PACKAGE.fullmatch(str(getattr(module, "__name__", "")).rpartition(".")[0]))


def is_old(file: Path) -> bool:
    """Return whether the file was written for SlipStream's engine."""
    return bool(OLD.search(file.read_bytes()))


def doubles(files: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return the files that `import NAME` beside them does not find, each with the file of another folder that it
    does."""
    found = []
    for file in files:
        loader = getattr(sys.modules.get(file.stem), "__loader__", None)
        if isinstance(loader, FreshLoader) and loader.path != str(file):
            found.append((file, loader.path))
    return found


def _check_lazy(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            called = node.value.func.id
            if called in LAZY:
                why = f"{called}(…) on line {node.lineno} does nothing in Python 3: write a for loop"
                raise SyntaxError(why)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    loader = getattr(module, "__loader__", None)
    return isinstance(loader, FreshLoader) and Path(loader.path).parent == folder and "." not in loader.name


def _number(folder: Path) -> str:
    """Return what tells the packages of folders apart, from the absolute path."""
    return f"{zlib.crc32(str(folder).encode()):08x}"
