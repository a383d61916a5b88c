"""Every option, declared once: parser, `--help`, the shipped ini files and the reference page come from this table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geventjob.config import kinds
from geventjob.config.kinds import Kind

COMMANDS = {
    "executor": "geventjob-executor",
    "distributor": "geventjob-distributor",
    "server": "geventjob-server",
    "up": "geventjob up",
    "client": "geventjob",
}
"""The commands by the names that `parse` takes; `client` is the operator's side of `geventjob`."""


@dataclass(frozen=True)
class Option:
    """One option: `--NAME`, `GEVENTJOB_NAME` in the environment and `NAME` in the ini file."""

    name: str
    kind: Kind
    commands: str
    """Names of those that have it, separated by spaces."""
    help: str
    default: Any = None
    shown: str | None = None
    """What help says of the default where the value itself would not tell."""
    usual: str | None = None
    """What stands in the shipped ini files where the default is made at run time."""
    metavar: str | None = None
    many: bool = False
    """A list: repeatable, and several separated by commas."""
    several: bool = False
    """Several words may follow it, too."""

    @property
    def dest(self) -> str:
        return self.name.replace("-", "_")

    @staticmethod
    def variable_of(name: str) -> str:
        return f"GEVENTJOB_{name.upper().replace('-', '_')}"

    @property
    def variable(self) -> str:
        return self.variable_of(self.name)

    @property
    def secret(self) -> bool:
        return self.kind is kinds.secret

    @property
    def switch(self) -> bool:
        return self.kind is kinds.flag

    @property
    def written_default(self) -> str:
        """The default as one would write it in an ini file; nothing where there is none."""
        return "false" if self.switch else written(self.default)

    @property
    def default_text(self) -> str:
        """The default for people."""
        return self.shown or self.usual or self.written_default or "none"


def written(value: Any) -> str:
    """A value of an option as one would write it in an ini file."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, (int, float)) else ",".join(value)


def default_data_dir() -> str:
    """Return `geventjob` in the user's XDG state folder; nothing for a user without a home, as containers have."""
    try:
        return str(Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "geventjob")
    except RuntimeError:  # neither $HOME nor an entry in the password file
        return ""


ACTIONS = "/etc/slipstream/actions"
DISTRIBUTORS = "/etc/slipstream/distributors"

REFUSED = ("link-local", "server")
"""What `http_request` does not reach unless told otherwise."""

DAEMONS = "executor distributor server"
CLIENTS = "executor distributor client"

OPTIONS = (
    Option("ss-url", kinds.listed(kinds.url), CLIENTS,
           "the job server, or a SlipStream server; several addresses of one server are separated by commas",
           default="http://127.0.0.1:8200", metavar="URL"),
    Option("ss-user", kinds.text, CLIENTS, "user name on the job server", metavar="USER"),
    Option("ss-pass", kinds.secret, CLIENTS, "the user's password; better is ss-pass-file, or the environment",
           metavar="PASSWORD"),
    Option("ss-pass-file", kinds.readable, CLIENTS, "file whose first line is the password", metavar="FILE"),
    Option("ss-key", kinds.text, CLIENTS, "API key to log in with in place of a user, made by `geventjob key new`",
           metavar="KEY"),
    Option("ss-secret-file", kinds.readable, CLIENTS, "file whose first line is the key's secret", metavar="FILE"),
    Option("ss-ca", kinds.readable, CLIENTS, "PEM file of the authorities to trust instead of the usual ones",
           metavar="FILE"),
    Option("ss-insecure", kinds.flag, CLIENTS, "do not check the server's certificate"),
    Option("max-body", kinds.size, CLIENTS,
           "bytes that a proxy before the server takes in one request, as 900k or 1m; batches of jobs are kept below",
           shown="what the server takes", metavar="SIZE"),
    Option("zk-hosts", kinds.listed(kinds.endpoint), DAEMONS,
           "ZooKeeper, as HOST:PORT,…; without it the queue is a file in data-dir, for the processes of one machine",
           metavar="HOST", many=True, several=True),
    Option("zk-root", kinds.root, DAEMONS, "path in ZooKeeper under which everything lies", default="",
           metavar="PATH"),
    Option("zk-tls-ca", kinds.readable, DAEMONS,
           "PEM file of the authorities that ZooKeeper's certificate may come from; with this or zk-tls-cert the"
           " connection is TLS", metavar="FILE"),
    Option("zk-tls-cert", kinds.readable, DAEMONS, "PEM file of the certificate to show to ZooKeeper", metavar="FILE"),
    Option("zk-tls-key", kinds.readable, DAEMONS, "PEM file of its key, if that is not in zk-tls-cert", metavar="FILE"),
    Option("zk-auth-file", kinds.readable, DAEMONS,
           "file with USER:PASSWORD, the digest log-in to ZooKeeper; all nodes are then for this user alone",
           metavar="FILE"),
    Option("es-hosts-list", kinds.listed(kinds.search_host), "executor server",
           "Elasticsearch nodes, as HOST:PORT or URL: where the server keeps its documents (without it, in a file in"
           " data-dir), and what actions of old have as executor.es", default=(), metavar="HOST", many=True,
           several=True),
    Option("es-user", kinds.text, "server", "user name in Elasticsearch", metavar="USER"),
    Option("es-pass-file", kinds.readable, "server", "file whose first line is that user's password", metavar="FILE"),
    Option("es-api-key-file", kinds.readable, "server",
           "file whose first line is an API key of Elasticsearch, as ID:KEY or encoded, in place of a user",
           metavar="FILE"),
    Option("es-ca", kinds.readable, "server",
           "PEM file of the authorities that Elasticsearch's certificates may come from; hosts without a scheme are"
           " then https", metavar="FILE"),
    Option("es-index-prefix", kinds.index_prefix, "server", "what the names of the indexes in Elasticsearch begin with",
           default="geventjob", metavar="PREFIX"),
    Option("name", kinds.node_name, DAEMONS,
           "name of this process; an executor or distributor adds a number where another has it: NAME-2",
           shown="<host>-<pid>", metavar="NAME"),
    Option("data-dir", kinds.path, "executor distributor server up client",
           "folder of the embedded queue and store, and of the client.ini that `geventjob up` writes",
           usual="~/.local/state/geventjob", metavar="DIR"),
    Option("session-timeout", kinds.seconds, f"{DAEMONS} up",
           "seconds without a sign of life after which a process is taken for dead", default=10.0),
    Option("threads", kinds.count, "executor up", "jobs that run at once, each in a greenlet", default=100,
           metavar="N"),
    Option("relist-interval", kinds.seconds, "executor up",
           "shortest time between two looks at the queue over ZooKeeper, in seconds; each of n executors that wait"
           " looks after n times that, or 0.05", default=0.005),
    Option("max-interruptions", kinds.count, "executor up",
           "a job that was interrupted so often (its executor died, say) is given up", default=5, metavar="N"),
    Option("unknown-grace", kinds.seconds, "executor up",
           "seconds after which a job fails whose action no live executor has", default=60.0),
    Option("not-found-grace", kinds.seconds, "executor up",
           "seconds for which the server may not know a job that is in the queue", default=5.0),
    Option("cimi-patience", kinds.seconds, "executor up",
           "seconds for which a job that was taken waits for a server that is away", default=120.0),
    Option("shutdown-timeout", kinds.seconds, "executor up",
           "seconds that running actions get to end when the process is asked to stop", default=120.0),
    Option("action-timeout", kinds.seconds, "executor up",
           "seconds that an action may take if neither the job nor [timeouts] nor the action itself says"),
    Option("max-timeout", kinds.seconds, "executor up", "seconds that no action may exceed, whoever says otherwise"),
    Option("max-blocking", kinds.seconds, f"{DAEMONS} up",
           "seconds for which the event loop may stand still before the log says what holds it, and an executor"
           " interrupts a system call that blocks it (after a third of session-timeout at the latest)", default=2.0),
    Option("actions-dir", kinds.listed(kinds.folder), "executor up", "folder of action files, loaded at start",
           shown=f"{ACTIONS} where it exists", usual=ACTIONS, metavar="DIR", many=True),
    Option("distributors-dir", kinds.listed(kinds.folder), "distributor up",
           "folder of distributor files, loaded at start", shown=f"{DISTRIBUTORS} where it exists", usual=DISTRIBUTORS,
           metavar="DIR", many=True),
    Option("http-refuse", kinds.listed(kinds.network), "executor up",
           "what the action http_request does not reach: networks as ADDRESS/BITS, link-local, server (the job server"
           " itself); or nothing", default=REFUSED, metavar="NETWORK", many=True),
    Option("allow-unsafe-plugins", kinds.flag, "executor distributor up",
           "load action and distributor files that others than root and the process's own user may change"),
    Option("reconcile-interval", kinds.seconds, "server",
           "seconds between two looks whether each job that is not final stands in the queue", default=60.0),
    Option("cleanup-days", kinds.days, "executor distributor up",
           "jobs that ended longer ago than this are deleted by cleanup_jobs", default=7.0, metavar="DAYS"),
    Option("host", kinds.host, "server up", "address to listen on; 0.0.0.0 for all", default="127.0.0.1"),
    Option("port", kinds.port, "server up", "port to listen on; 0 for any that is free", default=8200),
    Option("base-uri", kinds.url, "server",
           "address at which clients reach the server, as https://jobs.example; without it, what a client calls it",
           metavar="URL"),
    Option("admin-pass-file", kinds.readable, "server",
           "file whose first line becomes the password of the administrator, super", metavar="FILE"),
    Option("distributor", kinds.listed(kinds.text), "up", "distributor to run besides jobs_cleanup", default=(),
           metavar="NAME", many=True),
    Option("reload", kinds.flag, "up",
           "start the executor again when a file of an action changes, the distributor when one of its files does"),
    Option("demo", kinds.flag, "up", "run a hundred jobs of several kinds for show"),
    Option("log-dir", kinds.path, f"{DAEMONS} up", "folder of the log files; without it the log goes to stderr",
           metavar="DIR"),
    Option("log-level", kinds.level, f"{DAEMONS} up", "debug, info, warning, error or critical", default="info",
           metavar="LEVEL"),
)  # fmt: skip


def options(command: str) -> list[Option]:
    """The options that a command has, in the order in which people read them."""
    return [option for option in OPTIONS if command in option.commands.split()]
