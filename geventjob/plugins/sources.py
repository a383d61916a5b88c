"""Sources of plugins: the shipped package, drop-in folders, and entry points of installed packages."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from geventjob.ownership import Unsafe, check_code
from geventjob.plugins import dropins
from geventjob.plugins.specs import PluginError

log = logging.getLogger(__name__)

ENGINE = {"job_executor", "job_executor_one_action"}
"""Scripts of SlipStream's engine that lie beside its distributors and are its executors."""


@dataclass(frozen=True)
class PluginSource:
    """A module or entry point that may hold plugins."""

    name: str
    """Name for messages."""
    fallback: str
    """Name of a plugin without a name of its own."""
    load: Callable[[], Any]
    shipped: bool = False
    old: bool = False
    """Whether the file was written for SlipStream's engine."""


def shipped(package: str) -> Iterator[PluginSource]:
    """Yield the modules of the shipped package."""
    for module in pkgutil.iter_modules(import_module(package).__path__):
        name = f"{package}.{module.name}"
        yield PluginSource(name, module.name, partial(import_module, name), shipped=True)


def installed(group: str) -> Iterator[PluginSource]:
    """Yield the entry points of a group."""
    points: Iterable[EntryPoint] = entry_points(group=group)
    for point in points:
        yield PluginSource(f"entry point {point.name} = {point.value}", point.name, point.load)


def dropped(dirs: Sequence[str], unsafe: bool) -> dict[Path, list[Path]]:
    """Return drop-in folder → its files. Raises PluginError."""
    found: dict[Path, list[Path]] = {}
    for folder in dict.fromkeys(Path(d).resolve() for d in dirs):
        try:
            if not unsafe:
                check_code(folder)
            found[folder] = sorted(f for f in folder.iterdir() if f.suffix == ".py" and f.name[0] not in "._")
        except Unsafe as why:
            raise PluginError(f"{why.strerror}, or use --allow-unsafe-plugins") from None
        except OSError as error:
            raise PluginError(f"folder {folder} cannot be searched: {error.strerror}") from None
    return found


def sources(files: Mapping[Path, Sequence[Path]], group: str) -> Iterator[PluginSource]:
    """Yield the files of drop-in folders, except executors of SlipStream's engine."""
    for folder, each in files.items():
        package = dropins.package_of(folder, each, group)
        for file in each:
            old = dropins.is_old(file)
            if old and file.stem in ENGINE:
                log.warning("%s is left out: geventjob-executor replaces it", file)
            else:
                yield PluginSource(str(file), file.stem, partial(dropins.load, file, package), old=old)
