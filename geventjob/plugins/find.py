"""How a process finds actions and distributors when it starts; a restart finds new ones.

They are looked for in the package that is shipped, in the `*.py` of each drop-in folder, and among the entry
points of installed packages (DESIGN §7, §8).
"""

from __future__ import annotations

import inspect
import logging
import pkgutil
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from geventjob.ownership import Unsafe, check_code
from geventjob.plugins.marks import ActionMark, check_method, check_runs, checked

log = logging.getLogger(__name__)

OLD_PREFIX = "job_distributor_"


class PluginError(Exception):
    """What was found cannot be used together or at all; one line that names the files."""


@dataclass(frozen=True)
class ActionSpec:
    """An action that was found."""

    name: str
    target: Any
    timeout: float | None
    """Seconds, as its decorator says."""
    preempt: bool
    source: str
    """The file, for messages."""
    aliases: tuple[str, ...] = ()

    def instance(self, executor: Any, job: Any) -> Callable[[], Any]:
        """What does the work of one job. May run the author's constructor, so call it where its errors count as his."""
        make = self.target
        return make(executor, job).do_work if inspect.isclass(self.target) else partial(make, job)


@dataclass(frozen=True)
class DistributorSpec:
    """A distributor that was found. `old`: of SlipStream's kind, with `job_generator` and `collect_interval`."""

    name: str
    target: Any
    source: str
    old: bool = False
    aliases: tuple[str, ...] = ()


Spec = TypeVar("Spec", bound="ActionSpec | DistributorSpec")


class Found(Generic[Spec]):
    """What was found, by name."""

    def __init__(
        self, specs: Iterable[Spec] = (), folders: Sequence[str] = (), failures: dict[str, str] | None = None
    ) -> None:
        """Raises PluginError if two of `specs` have one name."""
        self.folders = tuple(folders)
        """The drop-in folders that were searched."""
        self.failures: dict[str, str] = failures or {}
        """File (or entry point) → why it did not import."""
        self._specs: dict[str, Spec] = {}
        for spec in specs:
            for name in (spec.name, *spec.aliases):
                self._enter(name, spec)

    def _enter(self, name: str, spec: Spec) -> None:
        other = self._specs.setdefault(name, spec)
        if other.target is not spec.target:
            raise PluginError(f"two are named {name!r}: one in {other.source}, one in {spec.source}")

    def get(self, name: str) -> Spec | None:
        """The one of this name or alias."""
        return self._specs.get(name)

    @property
    def names(self) -> list[str]:
        """All names and aliases, sorted."""
        return sorted(self._specs)


Actions = Found[ActionSpec]
Distributors = Found[DistributorSpec]


def find_actions(dirs: Sequence[str] = (), unsafe: bool = False) -> Actions:
    """Return the shipped actions, those of each folder, and those of entry points `geventjob.actions`.

    `unsafe`: also from folders and files that others may change. Raises PluginError.
    """
    return find("geventjob.actions", dirs, actions_in, unsafe)


def find_distributors(dirs: Sequence[str] = (), unsafe: bool = False) -> Distributors:
    """Return the shipped distributors, those of each folder, and those of entry points `geventjob.distributors`.

    `unsafe` as for `find_actions`. Raises PluginError.
    """
    return find("geventjob.distributors", dirs, distributors_in, unsafe)


def actions_in(thing: Any, source: str, fallback: str) -> Iterator[ActionSpec]:
    """Of a module, or of what an entry point names: that needs no mark, its name is then the entry point's."""
    if inspect.ismodule(thing):
        for target in own(thing):
            if "__geventjob_action__" in vars(target):
                yield action_spec(target, source)
    elif "__geventjob_action__" in vars(thing):
        yield action_spec(thing, source)
    else:
        check_runs(thing, "do_work")
        yield ActionSpec(checked(fallback), thing, None, True, source)


def action_spec(target: Any, source: str) -> ActionSpec:
    mark: ActionMark = target.__geventjob_action__
    if mark.isolation is not None:
        raise PluginError(f"action {mark.name!r} in {source} asks for isolation={mark.isolation!r}: there is none yet")
    return ActionSpec(mark.name, target, mark.timeout, mark.preempt, source, mark.aliases)


def distributors_in(thing: Any, source: str, fallback: str) -> Iterator[DistributorSpec]:
    """As `actions_in`; a class of the old kind has the name of its file without `job_distributor_`."""
    for target in own(thing) if inspect.ismodule(thing) else [thing]:
        if "__geventjob_distributor__" in vars(target):
            yield DistributorSpec(target.__geventjob_distributor__, target, source)
        elif isinstance(getattr(target, "ACTION_NAME", None), str) and callable(getattr(target, "job_generator", None)):
            yield DistributorSpec(checked(fallback.removeprefix(OLD_PREFIX)), target, source, old=True)
        elif target is thing:
            check_method(target, "jobs")
            yield DistributorSpec(checked(fallback), target, source)


def own(module: ModuleType) -> list[Any]:
    """Functions and classes that a module defines, not those that it imports; each once."""
    things = [thing for thing in vars(module).values() if inspect.isfunction(thing) or inspect.isclass(thing)]
    return list(dict.fromkeys(thing for thing in things if thing.__module__ == module.__name__))


# --- where they are looked for

Loader = Callable[[], Any]


def find(
    group: str, dirs: Sequence[str], among: Callable[[Any, str, str], Iterator[Spec]], unsafe: bool
) -> Found[Spec]:
    """Return all of a kind. What does not import is logged and left out."""
    specs: list[Spec] = []
    failures: dict[str, str] = {}
    for name, fallback, load in (*shipped(group), *dropped(dirs, group, unsafe), *installed(group)):
        try:
            thing = load()
            source = getattr(inspect.getmodule(thing), "__file__", None) or name
            specs += list(among(thing, source, fallback))
        except (KeyboardInterrupt, PluginError):
            raise
        except BaseException as error:  # SystemExit and Timeout too: one bad file must not cost all the others
            log.exception("%s does not import, it is left out", name)
            failures[name] = described(error)
    return Found(specs, dirs, failures)


def described(error: BaseException) -> str:
    """An error in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shipped(package: str) -> Iterator[tuple[str, str, Loader]]:
    for module in pkgutil.iter_modules(import_module(package).__path__):
        name = f"{package}.{module.name}"
        yield name, module.name, partial(import_module, name)


def installed(group: str) -> Iterator[tuple[str, str, Loader]]:
    points: Iterable[EntryPoint] = entry_points(group=group)
    for point in points:
        yield f"entry point {point.name} = {point.value}", point.name, point.load


def dropped(dirs: Sequence[str], group: str, unsafe: bool) -> Iterator[tuple[str, str, Loader]]:
    for folder in dict.fromkeys(Path(d).resolve() for d in dirs):
        try:
            if not unsafe:
                check_code(folder)
            files = sorted(f for f in folder.iterdir() if f.suffix == ".py" and f.name[0] not in "._")
        except Unsafe as found:
            raise PluginError(f"{found.strerror}, or use --allow-unsafe-plugins") from None
        except OSError as error:
            raise PluginError(f"folder {folder} cannot be searched: {error.strerror}") from None
        for file in files:
            yield str(file), file.stem, partial(load_file, file, group)


class FreshLoader(SourceFileLoader):
    """Without a bytecode cache: none is left in /etc, and none can be older than an edit of the same second."""

    def path_stats(self, path: str) -> Any:
        raise OSError(path)


RELATIVE = re.compile(rb"^from \.\.?[a-z]", re.MULTILINE)
OLD_PACKAGE = "slipstream.job.actions."


DROPPED = re.compile(r"(slipstream\.job\.actions\.)?geventjob_[a-z]+_(?P<number>[0-9a-f]{8})_(?P<stem>.+)")


def number(file: Path) -> str:
    """Return what tells the modules of files of one name apart, from the absolute path."""
    return f"{zlib.crc32(str(file).encode()):08x}"


def drop_in(name: str, file: Path) -> ModuleSpec:
    """Return how the module `name` is loaded from a drop-in file."""
    spec = spec_from_file_location(name, file, loader=FreshLoader(name, str(file)))
    assert spec
    return spec


def load_file(file: Path, group: str) -> ModuleType:
    """Import a drop-in under a name that nothing else has.

    One that imports relative to itself lay in the package of SlipStream's actions, and is put there again.
    """
    package = OLD_PACKAGE if RELATIVE.search(file.read_bytes()) else ""
    name = f"{package}{group.replace('.', '_')}_{number(file)}_{file.stem}"
    spec = drop_in(name, file)
    assert spec.loader
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
