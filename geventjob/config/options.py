"""The table of options, from which parser, `--help`, the shipped ini files and the reference page come."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from geventjob.config import kinds
from geventjob.config.kinds import Kind

COMMANDS = {
    "executor": "geventjob-executor",
    "distributor": "geventjob-distributor",
    "server": "geventjob-server",
    "up": "geventjob up",
    "client": "geventjob",
}
"""The commands by the names that `parse` takes; `client` is `geventjob` without `up`."""


class Option(NamedTuple):
    """One option: `--NAME`, `GEVENTJOB_NAME` in the environment and `NAME` in the ini file."""

    name: str
    kind: Kind
    commands: str
    """Names of the commands with this option, separated by spaces."""
    help: str
    default: Any = None
    shown: str | None = None
    """The default in words, for help, where the value itself would not explain it."""
    usual: str | None = None
    """The default in the shipped ini files, where the real default is made at run time."""
    metavar: str | None = None
    many: bool = False
    """Whether the value is a list: the option is repeatable, and takes values separated by commas."""
    several: bool = False
    """Whether several words may follow the option."""
    live: bool = False
    """Whether a running process takes over a new value at SIGHUP."""

    @property
    def dest(self) -> str:
        """The name of the setting."""
        return self.name.replace("-", "_")

    @staticmethod
    def variable_of(name: str) -> str:
        """Return the environment variable of an option's name."""
        return f"GEVENTJOB_{name.upper().replace('-', '_')}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return self.variable_of(self.name)

    @property
    def secret(self) -> bool:
        """Whether the value is never shown."""
        return self.kind is kinds.secret

    @property
    def switch(self) -> bool:
        """Whether the option takes no value."""
        return self.kind is kinds.flag

    @property
    def written_default(self) -> str:
        """The default as written in an ini file; an empty text for no default."""
        return "false" if self.switch else written(self.default)

    @property
    def default_text(self) -> str:
        """The default in words."""
        return self.shown or self.usual or self.written_default or "none"


def written(value: Any) -> str:
    """Return a value as written in an ini file."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return f"{value:.10g}" if isinstance(value, float) else ",".join(value)


def default_data_dir() -> str:
    """Return `geventjob` in the user's XDG state folder; an empty text for a user without home, as in containers."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return "" if state.startswith("~") else os.path.join(state, "geventjob")  # "~": no $HOME, no entry of the user


ACTIONS = "/etc/slipstream/actions"
DISTRIBUTORS = "/etc/slipstream/distributors"

REFUSED = ("link-local", "server")
"""Networks that `http_request` does not reach by default."""

DAEMONS = "executor distributor server"
CLIENTS = "executor distributor client"

OPTIONS = (
    Option("ss-url", kinds.listed(kinds.url), CLIENTS,
           "the job server, or a SlipStream server; several addresses of one server are separated by commas",
           default="http://127.0.0.1:8200", metavar="URL"),
    Option("ss-user", kinds.text, CLIENTS, "user name on the job server", metavar="USER", live=True),
    Option("ss-pass", kinds.secret, CLIENTS, "the user's password; ss-pass-file or the environment are safer",
           metavar="PASSWORD", live=True),
    Option("ss-pass-file", kinds.readable, CLIENTS, "file whose first line is the password", metavar="FILE", live=True),
    Option("ss-key", kinds.text, CLIENTS, "API key to log in with instead of a user, made by `geventjob key new`",
           metavar="KEY", live=True),
    Option("ss-secret-file", kinds.readable, CLIENTS, "file whose first line is the key's secret", metavar="FILE",
           live=True),
    Option("ss-ca", kinds.readable, CLIENTS, "PEM file of the certificate authorities to trust instead of the system's",
           metavar="FILE"),
    Option("ss-insecure", kinds.flag, CLIENTS, "do not check the server's certificate"),
    Option("max-body", kinds.size, CLIENTS,
           "largest request in bytes that a proxy in front of the server accepts, as 900k or 1m; batches stay below it",
           shown="the limit of the server", metavar="SIZE"),
    Option("zk-hosts", kinds.listed(kinds.endpoint), DAEMONS,
           "ZooKeeper, as HOST:PORT,…; without it the queue is a file in data-dir, for one machine",
           metavar="HOST", many=True, several=True),
    Option("zk-root", kinds.root, DAEMONS, "path in ZooKeeper above all nodes of geventjob", default="",
           metavar="PATH"),
    Option("zk-tls-ca", kinds.readable, DAEMONS,
           "PEM file of the certificate authorities for ZooKeeper; with this or zk-tls-cert the connection uses TLS",
           metavar="FILE"),
    Option("zk-tls-cert", kinds.readable, DAEMONS, "PEM file of the client certificate for ZooKeeper", metavar="FILE"),
    Option("zk-tls-key", kinds.readable, DAEMONS, "PEM file of that certificate's key, unless zk-tls-cert holds it",
           metavar="FILE"),
    Option("zk-auth-file", kinds.readable, DAEMONS,
           "file with USER:PASSWORD, the digest log-in to ZooKeeper; only this user can then use the nodes",
           metavar="FILE"),
    Option("es-hosts-list", kinds.listed(kinds.search_host), "executor server",
           "Elasticsearch nodes, as HOST:PORT or URL, for the documents of the server (without it, a file in data-dir)"
           " and for executor.es in actions of SlipStream's engine", default=(), metavar="HOST", many=True,
           several=True),
    Option("es-user", kinds.text, "server", "user name in Elasticsearch", metavar="USER", live=True),
    Option("es-pass-file", kinds.readable, "server", "file whose first line is that user's password", metavar="FILE",
           live=True),
    Option("es-api-key-file", kinds.readable, "server",
           "file whose first line is an API key of Elasticsearch, as ID:KEY or encoded, instead of a user",
           metavar="FILE", live=True),
    Option("es-ca", kinds.readable, "server",
           "PEM file of the certificate authorities for Elasticsearch; hosts without a scheme then use https",
           metavar="FILE"),
    Option("es-index-prefix", kinds.index_prefix, "server", "prefix of the names of the indexes in Elasticsearch",
           default="geventjob", metavar="PREFIX"),
    Option("name", kinds.node_name, DAEMONS,
           "name of this process; an executor or distributor whose name is in use adds a number, as NAME-2",
           shown="<host>-<pid>", metavar="NAME"),
    Option("data-dir", kinds.path, "executor distributor server up client",
           "folder of the embedded queue and store, and of client.ini, which `geventjob up` writes",
           usual="~/.local/state/geventjob", metavar="DIR"),
    Option("session-timeout", kinds.seconds, f"{DAEMONS} up",
           "seconds without a heartbeat after which a process counts as dead", default=10.0),
    Option("threads", kinds.count, "executor up", "number of jobs that run at once, each in a greenlet", default=100,
           metavar="N"),
    Option("relist-interval", kinds.seconds, "executor up",
           "shortest time in seconds between two reads of the queue in ZooKeeper; each of n waiting executors waits"
           " n times as long, 0.05 at most", default=0.005),
    Option("age-share", kinds.share, "executor up",
           "of how many jobs that are taken one is the oldest in the queue, whatever its priority, so that none waits"
           " for ever: 8 is one in eight, 1 every job, 0 none", default=8, metavar="N"),
    Option("max-interruptions", kinds.count, "executor up",
           "number of interruptions, as by the death of its executor, after which a job is given up",
           default=5, metavar="N", live=True),
    Option("unknown-grace", kinds.seconds, "executor up",
           "seconds after which a job fails if no live executor has its action", default=60.0, live=True),
    Option("not-found-grace", kinds.seconds, "executor up",
           "seconds for which a job in the queue may be unknown to the server", default=5.0, live=True),
    Option("cimi-patience", kinds.seconds, "executor up",
           "seconds for which a taken job waits for a server that is away", default=120.0, live=True),
    Option("shutdown-timeout", kinds.seconds, "executor up",
           "seconds for running actions to end after a request to stop", default=120.0, live=True),
    Option("max-rss", kinds.size, "executor up",
           "memory in bytes, as 1500m or 2g, above which the executor takes no more jobs, drains and ends with exit"
           " code 0, so that the service manager starts it again", shown="no limit", metavar="SIZE", live=True),
    Option("max-jobs-per-process", kinds.count, "executor up",
           "number of jobs after which the process of an action with isolation=\"process\" ends; 1 gives each job a new"
           " process", default=100, metavar="N", live=True),
    Option("action-timeout", kinds.seconds, "executor up",
           "time limit in seconds of an action without one in the job, in [timeouts] and in its code", live=True),
    Option("max-timeout", kinds.seconds, "executor up", "upper bound in seconds of the running time of every action",
           live=True),
    Option("max-blocking", kinds.seconds, f"{DAEMONS} up",
           "seconds for which the event loop may be blocked before the log names the code, and an executor"
           " interrupts a blocking system call (a third of session-timeout at most)", default=2.0),
    Option("actions-dir", kinds.listed(kinds.folder), "executor up",
           "folder of action files, loaded at start and at SIGHUP",
           shown=f"{ACTIONS} where it exists", usual=ACTIONS, metavar="DIR", many=True, live=True),
    Option("distributors-dir", kinds.listed(kinds.folder), "distributor up",
           "folder of distributor files, loaded at start and at SIGHUP", shown=f"{DISTRIBUTORS} where it exists",
           usual=DISTRIBUTORS, metavar="DIR", many=True, live=True),
    Option("http-refuse", kinds.listed(kinds.network), "executor up",
           "networks that the action http_request must not reach: ADDRESS/BITS, link-local, server (the job server"
           " itself); or nothing", default=REFUSED, metavar="NETWORK", many=True, live=True),
    Option("allow-unsafe-plugins", kinds.flag, "executor distributor up",
           "load action and distributor files that users other than root and the process's own may change",
           live=True),
    Option("reconcile-interval", kinds.seconds, "server",
           "seconds between two checks that each job that is not final is in the queue", default=60.0),
    Option("metrics-port", kinds.port, "executor distributor",
           "port for /metrics, /healthz and /readyz; 0 for any free port", shown="none"),
    Option("metrics-host", kinds.host, "executor distributor", "address of that port", default="127.0.0.1"),
    Option("metrics-token-file", kinds.readable, DAEMONS,
           "file whose first line lets a client read /metrics, as Authorization: Bearer TOKEN", metavar="FILE"),
    Option("traces", kinds.flag, f"{DAEMONS} up",
           "export traces by OpenTelemetry, as the environment variables OTEL_… say; needs the extra otel"),
    Option("audit-days", kinds.age, "server up",
           "age in days at which events of the audit are deleted; 0: never", default=90, metavar="DAYS"),
    Option("max-retries", kinds.retries, "server up",
           "most retries of a job, whatever the job and its action say", default=25, metavar="N"),
    Option("cleanup-days", kinds.days, "executor distributor up",
           "age in days from which on cleanup_jobs deletes jobs that have ended", default=7.0, metavar="DAYS",
           live=True),
    Option("host", kinds.host, "server up", "address to listen on; 0.0.0.0 for all", default="127.0.0.1"),
    Option("port", kinds.port, "server up", "port to listen on; 0 for any free port", default=8200),
    Option("tls-cert", kinds.readable, "server",
           "PEM file of the server's certificate and its chain; the port then speaks HTTPS alone. SIGHUP reads the file"
           " again", metavar="FILE"),
    Option("tls-key", kinds.readable, "server", "PEM file of that certificate's key, unless tls-cert holds it",
           metavar="FILE"),
    Option("base-uri", kinds.url, "server",
           "address at which clients reach the server, as https://jobs.example",
           shown="the address that a client uses", metavar="URL"),
    Option("admin-pass-file", kinds.readable, "server",
           "file whose first line becomes the password of the administrator, super", metavar="FILE"),
    Option("distributor", kinds.listed(kinds.text), "up", "distributor to run beside jobs_cleanup and schedules",
           default=(), metavar="NAME", many=True),
    Option("reload", kinds.flag, "up",
           "restart the executor when an action file changes, and the distributor when a distributor file does"),
    Option("demo", kinds.flag, "up", "run a demo of a hundred jobs"),
    Option("log-dir", kinds.path, f"{DAEMONS} up", "folder of the log files; without it the log goes to stderr",
           metavar="DIR"),
    Option("no-log-rotation", kinds.flag, f"{DAEMONS} up",
           "let log files grow, where another program, as logrotate, moves them; without it a file of 10 MB is moved"),
    Option("log-level", kinds.level, f"{DAEMONS} up", "level of the log: debug, info, warning, error or critical",
           default="info", metavar="LEVEL", live=True),
    Option("log-format", kinds.log_format, f"{DAEMONS} up",
           "form of the log lines: text for people, or json, an object in each line", default="text",
           metavar="text|json"),
    Option("log-jobs", kinds.log_jobs, f"{DAEMONS} up",
           "turns of the life of jobs to log, as started and ended: all, failed (and lost), or none", default="all",
           metavar="all|failed|none", live=True),
)  # fmt: skip


def options(command: str) -> list[Option]:
    """Return the options of a command in the order of help and pages."""
    return [option for option in OPTIONS if command in option.commands.split()]
