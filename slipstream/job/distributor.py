"""What an old distributor derives from."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from typing import Any

from geventjob.cimi.ss_api import SsApi


class Distributor:
    """Run by `geventjob-distributor`, which sets all attributes before the constructor runs, and leads elections."""

    ACTION_NAME: str
    ss_api: SsApi
    args: argparse.Namespace
    name: str
    stop_event: threading.Event

    def __init__(self) -> None:
        """The options of the author's own have their defaults: a command line has no place for them."""
        parser = argparse.ArgumentParser(add_help=False)
        self._set_command_specific_options(parser)
        parser.parse_args([], self.args)

    def _set_command_specific_options(self, parser: argparse.ArgumentParser) -> None:
        """May add options."""

    def job_generator(self) -> Iterator[dict[str, Any]]:
        """Yields jobs, for ever, and sleeps by itself."""
        raise NotImplementedError

    def _get_jobs_type(self) -> str:
        """Named the election, which has the name of the file here."""
        raise NotImplementedError
