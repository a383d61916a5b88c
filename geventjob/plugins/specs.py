"""Actions and distributors that a process has found, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from geventjob.plugins.isolation import Isolation
from geventjob.plugins.parameters import NO_PARAMETERS, Parameters
from geventjob.plugins.retries import NO_RETRIES, RetryPolicy


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
    origin: str = ""
    """File or entry point, by the name that `PluginSet.failures` has."""
    retry: RetryPolicy = NO_RETRIES
    parameters: Parameters = NO_PARAMETERS
    isolation: Isolation | None = None
    """The process of its own in which the action runs; None: a greenlet of the executor."""

    def instance(self, executor: Any, job: Any) -> Callable[[], Any]:
        """Return the callable that does the work of one job.

        The author's constructor may run, so call this where its errors count as errors of the action. Raises
        InvalidPayload, before the constructor, for a payload that does not fit the parameters.
        """
        make = self.target
        values, fields = self.parameters.fill(job.payload) if self.parameters else ((), {})
        work = make(executor, job).do_work if inspect.isclass(self.target) else partial(make, job)
        return partial(work, *values, **fields) if values or fields else work


@dataclass(frozen=True)
class DistributorSpec:
    """A distributor. `old`: of SlipStream's kind, with `job_generator` and `collect_interval`."""

    name: str
    target: Any
    source: str
    old: bool = False
    aliases: tuple[str, ...] = ()
    origin: str = ""
    """As of an ActionSpec."""


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
        self._removed: dict[str, Spec] = {}
        for spec in specs:
            for name in (spec.name, *spec.aliases):
                self._enter(name, spec)

    def _enter(self, name: str, spec: Spec) -> None:
        """Enter a spec under a name. Raises PluginError for a name that another spec has."""
        other = self._specs.setdefault(name, spec)
        if other.target is not spec.target:
            raise PluginError(f"two are named {name!r}: one in {other.source}, one in {spec.source}")

    def get(self, name: str) -> Spec | None:
        """Return the spec of a name or alias, also of one that was removed since the start; None if there is none."""
        return self._specs.get(name) or self._removed.get(name)

    def merged(self, found: PluginSet[Spec]) -> PluginSet[Spec]:
        """Return the plugins that were found now. A file or entry point that no longer imports keeps what it had."""
        kept = {name: spec for name, spec in self._specs.items() if spec.origin in found.failures}
        made = PluginSet[Spec](folders=found.folders, failures=found.failures)
        made._specs = kept | found._specs
        made._removed = {n: spec for n, spec in (self._removed | self._specs).items() if n not in made._specs}
        return made

    @property
    def outdated(self) -> list[str]:
        """Names whose file or entry point no longer imports, sorted."""
        return sorted(name for name, spec in self._specs.items() if spec.origin in self.failures)

    def replace(self, merged: PluginSet[Spec]) -> None:
        """Have the plugins of another set from now on."""
        vars(self).update(vars(merged))

    @property
    def names(self) -> list[str]:
        """All names and aliases, sorted."""
        return sorted(self._specs)


Actions = PluginSet[ActionSpec]
Distributors = PluginSet[DistributorSpec]
