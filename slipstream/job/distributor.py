"""The base class of old distributors."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from typing import Any

from geventjob.cimi.ss_api import SsApi


class Distributor:
    """An old distributor. `geventjob-distributor` sets all attributes before the constructor runs."""

    ACTION_NAME: str
    ss_api: SsApi
    args: argparse.Namespace
    name: str
    stop_event: threading.Event

    def __init__(self) -> None:
        """Set the author's own options to their defaults: the command line cannot set them."""
        parser = argparse.ArgumentParser(add_help=False)
        self._set_command_specific_options(parser)
        parser.parse_args([], self.args)

    def _set_command_specific_options(self, parser: argparse.ArgumentParser) -> None:
        """Add options; for authors."""

    def job_generator(self) -> Iterator[dict[str, Any]]:
        """Yield jobs for ever, with sleeps between them; for authors."""
        raise NotImplementedError

    def _get_jobs_type(self) -> str:
        """Return the name of the election; by default the name of the file."""
        raise NotImplementedError
