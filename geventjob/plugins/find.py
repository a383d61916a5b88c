"""How a process finds actions and distributors when it starts; a restart finds new ones.

They are looked for in the package that is shipped, in the `*.py` of each drop-in folder, and among the entry
points of installed packages (DESIGN §7, §8).
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


def marked(module: ModuleType, name: str) -> list[Any]:
    """Return what a shipped or drop-in module defines as the action of this name."""
    if not str(getattr(module, "__name__", "")).startswith("geventjob.actions.") and not dropins.is_drop_in(module):
        return []
    marks = [(vars(thing).get("__geventjob_action__"), thing) for thing in own(module)]
    return [thing for mark, thing in marks if mark and name in (mark.name, *mark.aliases)]


# --- where they are looked for

ENGINE = {"job_executor", "job_executor_one_action"}
"""Scripts of SlipStream's engine that lay beside its distributors, and are its executors."""


@dataclass(frozen=True)
class Source:
    """Where something may be found."""

    name: str
    """For messages."""
    fallback: str
    """The name of what has none of its own."""
    load: Callable[[], Any]
    shipped: bool = False
    old: bool = False
    """Whether it was written for SlipStream's engine."""


def find(
    group: str, dirs: Sequence[str], among: Callable[[Any, str, str], Iterator[Spec]], unsafe: bool
) -> Found[Spec]:
    """Return all of a kind. What does not import is logged and left out; so is an old file of what is shipped."""
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
    return Found(specs, dirs, failures)


def described(error: BaseException) -> str:
    """An error in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shipped(package: str) -> Iterator[Source]:
    for module in pkgutil.iter_modules(import_module(package).__path__):
        name = f"{package}.{module.name}"
        yield Source(name, module.name, partial(import_module, name), shipped=True)


def installed(group: str) -> Iterator[Source]:
    points: Iterable[EntryPoint] = entry_points(group=group)
    for point in points:
        yield Source(f"entry point {point.name} = {point.value}", point.name, point.load)


def dropped(dirs: Sequence[str], unsafe: bool) -> dict[Path, list[Path]]:
    """Return the drop-in folders, each with its files. Raises PluginError."""
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


def sources(files: Mapping[Path, Sequence[Path]], group: str) -> Iterator[Source]:
    """What lies in drop-in folders, but for the old engine's own executors."""
    for folder, each in files.items():
        package = dropins.package_of(folder, each, group)
        for file in each:
            old = dropins.is_old(file)
            if old and file.stem in ENGINE:
                log.warning("%s is left out: geventjob-executor stands in its place", file)
            else:
                yield Source(str(file), file.stem, partial(dropins.load, file, package), old=old)
