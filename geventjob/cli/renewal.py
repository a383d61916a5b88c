"""The options of a running process, which SIGHUP reads again (docs/operations.md, "Signals")."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from geventjob import config
from geventjob import log as logs
from geventjob.config.settings import SECRET_FILES

log = logging.getLogger(__name__)

SECTIONS = {"timeouts": "[timeouts]", "rights": "[rights]"}
"""Settings from sections of the ini file, each with its heading."""


class LiveOptions:
    """The options of a running process, in the Settings that its parts share."""

    def __init__(self, command: str, settings: config.Settings) -> None:
        """Keep the source of the settings: later changes of command line and environment, by actions, do not count."""
        self._command = command
        self._settings = settings
        self._argv, self._environ = sys.argv[1:], dict(os.environ)
        self._running = dict(vars(settings))
        """The values with which the process runs, and the name as given, which may be in use."""
        live = {option.dest: f"--{option.name}" for option in config.options(command) if option.live}
        secrets = {"ss_secret": "--ss-secret-file"}
        self._live = {**live, **secrets, **SECTIONS}
        fixed = {option.dest: f"--{option.name}" for option in config.options(command) if not option.live}
        self._fixed = {**fixed, **{setting: f"--{name}" for name, setting in SECRET_FILES.items()}, "names": "NAME"}
        self._fixed |= {"all": "--all"} if command == "distributor" else {}

    def read(self) -> config.Settings:
        """Return the settings that a start would have now. Raises WrongUsage."""
        parser = config.OptionParser(self._command)
        settings = config.read(parser, self._argv, self._environ)
        for warning in parser.warnings:
            log.warning("%s", warning)
        return settings

    def apply(self, read: config.Settings) -> None:
        """Take over the values that may change in a running process; log these, and the others that have changed."""
        changed = self._changed(self._live, read)
        for name in changed:
            self._running[name] = getattr(read, name)
            setattr(self._settings, name, self._running[name])
        if "log_level" in changed:  # otherwise SIGUSR2 may have set the level
            logs.set_level(read.log_level)
        log.info("options were read again; changed: %s", ", ".join(dict.fromkeys(changed.values())) or "none")
        if waiting := self._changed(self._fixed, read):
            log.warning("restart to change %s", ", ".join(dict.fromkeys(waiting.values())))

    def _changed(self, among: dict[str, str], read: config.Settings) -> dict[str, str]:
        """Return the settings whose values differ now, with the words for their options."""
        now: dict[str, Any] = vars(read)
        return {name: words for name, words in among.items() if name in now and now[name] != self._running.get(name)}
