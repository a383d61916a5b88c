"""The options of a running process, which SIGHUP reads again (docs/operations.md, "Signals")."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from geventjob import config
from geventjob import log as logs
from geventjob.config.settings import SECRET_FILES

log = logging.getLogger(__name__)

SECTIONS = {"timeouts": "[timeouts]", "rights": "[rights]"}
"""Settings from sections of the ini file, each with its heading."""
SECRETS_IN = {**SECRET_FILES, "ss-secret-file": "ss_secret"}
"""Option with a file → setting with the secret in the file."""


class LiveOptions:
    """The options of a running process, in the Settings that its parts share."""

    def __init__(
        self,
        command: str,
        settings: config.Settings,
        argv: Sequence[str] | None = None,
        tell: Callable[[str], object] = log.warning,
    ) -> None:
        """Keep the source of the settings: later changes of command line and environment, by actions, do not count.

        `argv`: by default that of the process. `tell` is called with each line for the operator.
        """
        self._command = command
        self._settings = settings
        self._argv = sys.argv[1:] if argv is None else argv
        self._environ = dict(os.environ)
        self._tell = tell
        self._running = dict(vars(settings))
        """The values with which the process runs, and the name as given, which may be in use."""
        self._live = dict(SECTIONS)
        self._fixed = {"names": "NAME", "all": "--all"}
        for option in config.options(command):
            among = self._live if option.live else self._fixed
            for setting in (option.dest, SECRETS_IN.get(option.name, option.dest)):
                among[setting] = f"--{option.name}"

    def read(self) -> config.Settings:
        """Return the settings that a start would have now. Raises WrongUsage."""
        parser = config.OptionParser(self._command)
        settings = config.read(parser, self._argv, self._environ)
        for warning in parser.warnings:
            self._tell(warning)
        return settings

    def apply(self, read: config.Settings) -> None:
        """Take over the values that may change in a running process; tell these, and the others that have changed."""
        changed = self._changed(self._live, read)
        for name in changed:
            self._running[name] = getattr(read, name)
            setattr(self._settings, name, self._running[name])
        if "log_level" in changed:  # otherwise SIGUSR2 may have set the level
            logs.set_level(read.log_level)
        if "log_jobs" in changed:
            logs.set_turns(read.log_jobs)
        self._tell(f"options were read again; changed: {', '.join(dict.fromkeys(changed.values())) or 'none'}")
        if waiting := self._changed(self._fixed, read):
            self._tell(f"restart to change {', '.join(dict.fromkeys(waiting.values()))}")

    def _changed(self, among: dict[str, str], read: config.Settings) -> dict[str, str]:
        """Return the settings whose values differ now, with the words for their options."""
        now: dict[str, Any] = vars(read)
        return {name: words for name, words in among.items() if name in now and now[name] != self._running.get(name)}
