"""Drop-in folders as packages: each file is a module, and may import the files beside it.

A folder becomes the package `geventjob_actions_<number>`, or `slipstream.job.geventjob_actions_<number>` where one of
its files imports relative to its package in SlipStream's engine (`from ..util import wait`). So `from .helper import x`
works. `import helper` finds the file too, after all installed modules; see
docs/decisions/0014-drop-in-folders-are-packages.md.
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
"""An import in a file that was written for SlipStream's engine."""
RELATIVE = re.compile(rb"^\s*from\s+\.\.", re.MULTILINE)
PARENT = "slipstream.job."
PACKAGE = re.compile(r"(slipstream\.job\.)?geventjob_[a-z]+_(?P<number>[0-9a-f]{8})")
LAZY = {"map", "filter", "zip"}
"""Functions that worked at once in Python 2 and do nothing in Python 3 unless their result is used."""


class FreshLoader(SourceFileLoader):
    """A loader without a bytecode cache, which would lie in /etc and could miss an edit within a second."""

    def path_stats(self, path: str) -> Any:
        """Refuse, so that no cache is read or written."""
        raise OSError(path)

    def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override,unused-ignore]
        """Compile a file. Raises SyntaxError for an old file with a statement that does nothing in Python 3."""
        if isinstance(data, bytes) and OLD.search(data):
            _check_lazy(ast.parse(data, path))
        return super().source_to_code(data, path, **options)


class Finder:
    """The finder of packages and modules in drop-in folders, the last entry of `sys.meta_path`."""

    def __init__(self) -> None:
        self._folders: list[Path] = []

    def open(self, folders: Iterable[Path]) -> None:
        """Find modules of these folders, before modules of folders that were opened earlier."""
        self._folders = list(dict.fromkeys([*folders, *self._folders]))
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a folder's package, of a module in it, or of a top-level module no other finder has."""
        package, _, stem = name.rpartition(".")
        if PACKAGE.fullmatch(name):
            return ModuleSpec(name, None, is_package=True) if self._of(name) else None
        folder = self._of(package)
        for each in [folder] if folder else [] if package else self._folders:
            if (file := each / f"{stem}.py").is_file():
                return spec_from_file_location(name, file, loader=FreshLoader(name, str(file)))
        return None

    def _of(self, package: str) -> Path | None:
        """Return the folder of a package."""
        match = PACKAGE.fullmatch(package)
        return next((f for f in self._folders if match and match["number"] == _number(f)), None)


finder = Finder()


def package_of(folder: Path, files: Sequence[Path], group: str) -> str:
    """Return the name of the folder's package; unload its modules, and let them be imported anew."""
    finder.open([folder])
    parent = PARENT if any(RELATIVE.search(file.read_bytes()) for file in files) else ""
    package = f"{parent}{group.replace('.', '_')}_{_number(folder)}"
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}.") or _lies_in(module, folder):
            del sys.modules[name]
    return package


def load(file: Path, package: str) -> ModuleType:
    """Return a file as a module of its folder's package, imported unless a file beside it has imported it."""
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
    """Return whether a module belongs to the package of a drop-in folder."""
    return bool(PACKAGE.fullmatch(str(getattr(module, "__name__", "")).rpartition(".")[0]))


def is_old(file: Path) -> bool:
    """Return whether a file was written for SlipStream's engine."""
    return bool(OLD.search(file.read_bytes()))


def doubles(files: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return files that `import NAME` beside them does not find, each with the file of another folder found instead."""
    found = []
    for file in files:
        loader = getattr(sys.modules.get(file.stem), "__loader__", None)
        if isinstance(loader, FreshLoader) and loader.path != str(file):
            found.append((file, loader.path))
    return found


def _check_lazy(tree: ast.AST) -> None:
    """Check for statements that do nothing in Python 3. Raises SyntaxError."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            called = node.value.func.id
            if called in LAZY:
                why = f"{called}(…) on line {node.lineno} does nothing in Python 3: write a for loop"
                raise SyntaxError(why)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Return whether a top-level module was loaded from a file in a folder."""
    loader = getattr(module, "__loader__", None)
    return isinstance(loader, FreshLoader) and Path(loader.path).parent == folder and "." not in loader.name


def _number(folder: Path) -> str:
    """Return the number of a folder's package, from the absolute path."""
    return f"{zlib.crc32(str(folder).encode()):08x}"
