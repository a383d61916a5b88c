"""The search for actions and distributors, at the start of a process and at SIGHUP."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from geventjob.plugins import dropins
from geventjob.plugins.marks import ActionMark, check_method, check_runs, checked
from geventjob.plugins.parameters import parameters_of
from geventjob.plugins.sources import dropped, installed, shipped, sources
from geventjob.plugins.specs import (
    Actions,
    ActionSpec,
    Distributors,
    DistributorSpec,
    PluginError,
    PluginSet,
    Spec,
)

log = logging.getLogger(__name__)

OLD_PREFIX = "job_distributor_"


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
                    specs.append(replace(spec, origin=source.name))
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
        yield ActionSpec(checked(fallback), thing, None, True, source, parameters=parameters_of(thing))


def action_spec(target: Any, source: str) -> ActionSpec:
    """Return the spec of a marked target. Raises TypeError for parameters that no payload can fill."""
    mark: ActionMark = target.__geventjob_action__
    return ActionSpec(
        mark.name, target, mark.timeout, mark.preempt, source, mark.aliases,
        retry=mark.retry, parameters=parameters_of(target), isolation=mark.isolation,
    )  # fmt: skip


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
