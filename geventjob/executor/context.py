"""The executor as its actions see it: `self.executor` of an action class."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from gevent.event import Event

from geventjob.cimi.client import Client
from geventjob.cimi.ss_api import SsApi


class ExecutorContext:
    """The server's API, the options, and for actions of SlipStream's engine its Elasticsearch."""

    def __init__(self, client: Client, settings: Any) -> None:
        self.client = client
        self.ss_api = SsApi(client)
        self.settings = settings
        self.stop_event = Event()
        """Set when the executor is asked to stop, for loops in actions of SlipStream's engine. It ends no action."""

    @property
    def args(self) -> Any:
        """Return the options, under the name that SlipStream's actions use."""
        return self.settings

    @property
    def name(self) -> str:
        """Return the name of the executor."""
        return str(self.settings.name)

    @cached_property
    def es(self) -> Any:
        """Return a client for `--es-hosts-list`, made at first use, with a connection for each job that may run."""
        from geventjob.executor import elastic

        hosts = getattr(self.settings, "es_hosts_list", ())
        return elastic.connect(hosts, self.settings.threads) if hosts else elastic.Missing()
