"""The search for actions and distributors at the start of a process; a restart finds new ones.

Sources are the shipped package, the `*.py` in each drop-in folder, and entry points of installed packages.
"""

from __future__ import annotations

import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from geventjob.ownership import Unsafe, check_code
from geventjob.plugins import dropins
from geventjob.plugins.marks import ActionMark, check_method, check_runs, checked

log = logging.getLogger(__name__)

OLD_PREFIX = "job_distributor_"


class PluginError(Exception):
    """Plugins that cannot be used, or not together. The text is one line that names the files."""


@dataclass(frozen=True)
class ActionSpec:
    """An action: its name, its code and its options."""

    name: str
    target: Any
    timeout: float | None
    """Time limit in seconds, from the decorator."""
    preempt: bool
    source: str
    """The file, for messages."""
    aliases: tuple[str, ...] = ()

    def instance(self, executor: Any, job: Any) -> Callable[[], Any]:
        """Return the callable that does the work of one job.

        The author's constructor may run, so call this where its errors count as errors of the action.
        """
        make = self.target
        return make(executor, job).do_work if inspect.isclass(self.target) else partial(make, job)


@dataclass(frozen=True)
class DistributorSpec:
    """A distributor. `old`: of SlipStream's kind, with `job_generator` and `collect_interval`."""

    name: str
    target: Any
    source: str
    old: bool = False
    aliases: tuple[str, ...] = ()


Spec = TypeVar("Spec", bound="ActionSpec | DistributorSpec")


class PluginSet(Generic[Spec]):
    """The actions or distributors of a process, by name."""

    def __init__(
        self, specs: Iterable[Spec] = (), folders: Sequence[str] = (), failures: dict[str, str] | None = None
    ) -> None:
        """Enter the specs under their names and aliases. Raises PluginError if two of them share a name."""
        self.folders = tuple(folders)
        """The drop-in folders that were searched."""
        self.failures: dict[str, str] = failures or {}
        """File (or entry point) → reason why it did not import."""
        self._specs: dict[str, Spec] = {}
        for spec in specs:
            for name in (spec.name, *spec.aliases):
                self._enter(name, spec)

    def _enter(self, name: str, spec: Spec) -> None:
        """Enter a spec under a name. Raises PluginError for a name that another spec has."""
        other = self._specs.setdefault(name, spec)
        if other.target is not spec.target:
            raise PluginError(f"two are named {name!r}: one in {other.source}, one in {spec.source}")

    def get(self, name: str) -> Spec | None:
        """Return the spec of a name or alias; None if there is none."""
        return self._specs.get(name)

    @property
    def names(self) -> list[str]:
        """All names and aliases, sorted."""
        return sorted(self._specs)


Actions = PluginSet[ActionSpec]
Distributors = PluginSet[DistributorSpec]


def find_actions(dirs: Sequence[str] = (), unsafe: bool = False) -> Actions:
    """Return the shipped actions, those of each folder, and those of entry points `geventjob.actions`.

    `unsafe`: also from folders and files that other users may change. Raises PluginError.
    """
    return find("geventjob.actions", dirs, actions_in, unsafe)


def find_distributors(dirs: Sequence[str] = (), unsafe: bool = False) -> Distributors:
    """Return the shipped distributors, those of each folder, and those of entry points `geventjob.distributors`.

    `unsafe` as for `find_actions`. Raises PluginError.
    """
    return find("geventjob.distributors", dirs, distributors_in, unsafe)


def actions_in(thing: Any, source: str, fallback: str) -> Iterator[ActionSpec]:
    """Yield the actions of a module or of the target of an entry point.

    A target without a mark has the name of the entry point. Raises TypeError, ValueError, PluginError.
    """
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
    """Return the spec of a marked target. Raises PluginError for an isolation that does not exist yet."""
    mark: ActionMark = target.__geventjob_action__
    if mark.isolation is not None:
        raise PluginError(f"action {mark.name!r} in {source} asks for isolation={mark.isolation!r}: there is none yet")
    return ActionSpec(mark.name, target, mark.timeout, mark.preempt, source, mark.aliases)


def distributors_in(thing: Any, source: str, fallback: str) -> Iterator[DistributorSpec]:
    """Yield distributors as `actions_in` does; a class of the old kind has its file's name without OLD_PREFIX."""
    for target in own(thing) if inspect.ismodule(thing) else [thing]:
        if "__geventjob_distributor__" in vars(target):
            yield DistributorSpec(target.__geventjob_distributor__, target, source)
        elif isinstance(getattr(target, "ACTION_NAME", None), str) and callable(getattr(target, "job_generator", None)):
            yield DistributorSpec(checked(fallback.removeprefix(OLD_PREFIX)), target, source, old=True)
        elif target is thing:
            check_method(target, "jobs")
            yield DistributorSpec(checked(fallback), target, source)


def own(module: ModuleType) -> list[Any]:
    """Return functions and classes that a module defines, each once, without imported ones."""
    things = [thing for thing in vars(module).values() if inspect.isfunction(thing) or inspect.isclass(thing)]
    return list(dict.fromkeys(thing for thing in things if thing.__module__ == module.__name__))


def marked(module: ModuleType, name: str) -> list[Any]:
    """Return the targets that a shipped or drop-in module defines as the action of this name."""
    if not str(getattr(module, "__name__", "")).startswith("geventjob.actions.") and not dropins.is_drop_in(module):
        return []
    marks = [(vars(thing).get("__geventjob_action__"), thing) for thing in own(module)]
    return [thing for mark, thing in marks if mark and name in (mark.name, *mark.aliases)]


# --- sources

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


def find(
    group: str, dirs: Sequence[str], among: Callable[[Any, str, str], Iterator[Spec]], unsafe: bool
) -> PluginSet[Spec]:
    """Return all plugins of a group; log and leave out files that do not import, and old files of shipped plugins."""
    specs: list[Spec] = []
    failures: dict[str, str] = {}
    named: set[str] = set()
    files = dropped(dirs, unsafe)
    for source in (*shipped(group), *sources(files, group), *installed(group)):
        try:
            thing = source.load()
            file = getattr(inspect.getmodule(thing), "__file__", None) or source.name
            for spec in list(among(thing, file, source.fallback)):
                names = {spec.name, *spec.aliases}
                if source.shipped:
                    named |= names
                if source.old and names & named:
                    log.warning("%s in %s is left out: it comes with geventjob", spec.name, source.name)
                else:
                    specs.append(spec)
        except (KeyboardInterrupt, PluginError):
            raise
        except BaseException as error:  # SystemExit and Timeout too: one bad file must not cost all the others
            log.exception("%s does not import, it is left out", source.name)
            failures[source.name] = described(error)
    for path, other in dropins.doubles(file for each in files.values() for file in each):
        log.warning("`import %s` means %s for the files beside %s too: give them names of their own",
                    path.stem, other, path)  # fmt: skip
    return PluginSet(specs, dirs, failures)


def described(error: BaseException) -> str:
    """Return an error in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
