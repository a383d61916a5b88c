"""The process of `geventjob check`: reads the configuration of a command, and looks at everything that it needs.

Each look returns findings. A finding says in words what is wrong and what to do, and shows no secret.
"""

import geventjob.patch  # noqa: I001  (before any other import)

import json
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import geventjob
from geventjob import config
from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError, LoginRefused, ServerAway
from geventjob.cli.connection import connect
from geventjob.cli.screen import Screen
from geventjob.exit_code import ExitCode
from geventjob.masking import mask_logins
from geventjob.plugins import PluginError, find_actions, find_distributors
from geventjob.scheduling.engine import chosen
from geventjob.server.store.base import StoreError

PATIENCE = 5.0
"""Seconds for each server to answer."""
MOST_SKEW = 2.0
"""Seconds by which the clocks of two machines may differ: dates of schedules and jobs come from both."""
LOG_IN = "Mend --ss-user and --ss-pass-file, or --ss-key and --ss-secret-file"
ROLES = {"executor": {"EXECUTOR", "ADMIN"}, "distributor": {"SUBMITTER", "ADMIN"}}
"""Command → roles of which its user needs one."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    trouble: str = ""
    """What is wrong; empty for nothing."""
    advice: str = ""
    fact: str = ""
    """What was seen, where all is well."""

    @property
    def line(self) -> str:
        """The finding in words."""
        if not self.trouble:
            return f"ok     {self.what}{f': {self.fact}' if self.fact else ''}"
        return f"wrong  {self.what}: {self.trouble}{f'. {self.advice}' if self.advice else ''}"


Look = Callable[[config.Settings, str], Iterator[Finding]]
"""Looks at a part, with the settings of a command and its name."""


def main() -> int:
    """Check the command that the request describes, print the findings, and return the exit code.

    0: all is well; 1: something is wrong; 2: the configuration itself.
    """
    with os.fdopen(int(sys.argv[1])) as file:
        request = json.load(file)
    logging.getLogger("geventjob").addHandler(logging.NullHandler())  # the findings say it all
    screen, command = Screen(json=request["json"]), request["command"]
    parser = config.OptionParser(command, add_help=False)
    try:
        settings = config.read(parser, request["arguments"], os.environ)
        found = [Finding("configuration", fact=f"geventjob {geventjob.__version__}, Python {sys.version.split()[0]}")]
    except config.WrongUsage as wrong:
        told(
            screen, [Finding("configuration", mask_logins(wrong.message), "Mend the option, the file or the variable")]
        )
        return ExitCode.USAGE
    found += [Finding("configuration", warning) for warning in parser.warnings]
    for look in LOOKS[command]:
        found += look(settings, command)
    told(screen, found)
    return ExitCode.FAILURE if any(each.trouble for each in found) else ExitCode.SUCCESS


def told(screen: Screen, found: list[Finding]) -> None:
    """Print the findings, a line each."""
    if screen.json:
        screen.document([{"ok": not each.trouble, **each._asdict()} for each in found])
    for each in found:
        screen.line(each.line, "red" if each.trouble else None)


# --- the job server


def job_server(settings: config.Settings, command: str) -> Iterator[Finding]:
    """Look at the job server: whether it answers, its health, version and clock, and the log-in."""
    what = f"job server {settings.ss_url}"
    try:
        with connect(settings, connections=1, timeout=(PATIENCE, PATIENCE), patience=0.0) as client:
            entry = client.get("cloud-entry-point")
            if "geventjob" not in entry:
                yield Finding(what, fact="answers, a SlipStream server")
                return
            yield from server_itself(what, client, str(entry["geventjob"]["version"]))
            yield from log_in(settings, client, command)
    except LoginRefused as error:
        yield Finding("log-in", str(error), LOG_IN)
    except ServerAway as error:
        yield Finding(what, str(error), "Start geventjob-server there, or name another server by --ss-url")
    except (CimiError, ValueError) as error:
        yield Finding(what, str(error), "Does --ss-url name a job server?")


def server_itself(what: str, client: Client, version: str) -> Iterator[Finding]:
    """Look at version, health and clock of a job server that answers."""
    if version.split(".")[:2] != geventjob.__version__.split(".")[:2]:
        yield Finding(
            what, f"has version {version}, here is {geventjob.__version__}", "Upgrade servers first, then this"
        )
    else:
        yield Finding(what, fact=f"answers, version {version}")
    health, skew = client.health()
    if health != "ok":
        yield Finding("health of the server", health, "See the log of the server")
    if abs(skew) > MOST_SKEW:
        words = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the clock of the server"
        yield Finding("clock", f"this machine is {words}", "Let both follow a time server, as with chrony")
    else:
        yield Finding("clock", fact="agrees with the server's")


def log_in(settings: config.Settings, client: Client, command: str) -> Iterator[Finding]:
    """Look at the log-in and its roles."""
    name = settings.ss_user or settings.ss_key
    if name is None:
        yield Finding(
            "log-in", "no user is named", "Give --ss-user and --ss-pass-file, or --ss-key and --ss-secret-file"
        )
        return
    roles = set(client.search("session")["sessions"][0]["roles"].split())
    needed = ROLES.get(command, set())
    shown = " ".join(sorted(role for role in roles if "/" not in role and role not in ("ANON", "USER"))) or "USER"
    if needed and not needed & roles:
        wanted = " or ".join(sorted(needed, reverse=True))
        advice = f"Add the role: geventjob user add NAME --role {sorted(needed, reverse=True)[0]}"
        yield Finding("log-in", f"{name} has the role {shown}; a {command} needs {wanted}", advice)
    else:
        yield Finding("log-in", fact=f"{name}, {shown}")


# --- what the process keeps


def coordination(settings: config.Settings, _: str) -> Iterator[Finding]:
    """Look at each server of ZooKeeper; without ZooKeeper the folder of the data has the queue."""
    if not settings.zk_hosts:
        return
    from geventjob.coordination.zookeeper.reach import trouble_of

    tls = (settings.zk_tls_ca, settings.zk_tls_cert, settings.zk_tls_key)
    for host in settings.zk_hosts.split(","):
        trouble = trouble_of(host, settings.zk_root, tls, settings.zk_auth_file)
        advice = "Start it, or mend --zk-hosts, the --zk-tls files or --zk-auth-file"
        yield Finding(f"ZooKeeper {host}", trouble, advice, "gives a session")


def elasticsearch(settings: config.Settings, _: str) -> Iterator[Finding]:
    """Look at each node of Elasticsearch that a server keeps its documents in."""
    if not settings.es_hosts_list:
        return
    from geventjob.server.store.elasticsearch.reach import version_of

    for host in settings.es_hosts_list:
        what = f"Elasticsearch {mask_logins(host)}"
        try:
            login = {"user": settings.es_user, "password": settings.es_pass, "api_key": settings.es_api_key}
            yield Finding(what, fact=version_of(host, PATIENCE, ca=settings.es_ca, **login))
        except StoreError as error:
            words = mask_logins(str(error)).removeprefix(f"Elasticsearch at {mask_logins(host)}").lstrip(": ")
            yield Finding(what, words, "Start it, or mend --es-hosts-list, --es-ca or the log-in")


def folders(settings: config.Settings, _: str) -> Iterator[Finding]:
    """Look at the folders in which the process writes."""
    named = {"data-dir": settings.data_dir, "log-dir": getattr(settings, "log_dir", None)}
    for option, folder in named.items():
        if not folder:
            continue
        there = folder
        while not os.path.exists(there):  # it is made at the start
            there = os.path.dirname(there)
        try:
            with tempfile.TemporaryFile(dir=there):
                yield Finding(f"{option} {folder}", fact="can be written")
        except OSError as error:
            advice = f"Give it to the user of the process (chown), free its disk, or name another folder by --{option}"
            yield Finding(f"{option} {folder}", f"cannot be written: {error.strerror}", advice)


def ports(settings: config.Settings, _: str) -> Iterator[Finding]:
    """Look whether the ports are free on which the process listens."""
    for host_option, option in (("host", "port"), ("metrics-host", "metrics-port")):
        host, port = (getattr(settings, name.replace("-", "_"), None) for name in (host_option, option))
        if port is None or host is None:
            continue
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind((host, port))
                yield Finding(f"{option} {host}:{port}", fact="is free")
            except OSError as error:
                advice = f"Name another one by --{option}, unless this process itself runs already"
                yield Finding(f"{option} {host}:{port}", f"cannot listen: {error.strerror}", advice)


def actions(settings: config.Settings, _: str) -> Iterator[Finding]:
    """Look whether the files of actions load."""
    try:
        found = find_actions(settings.actions_dir, settings.allow_unsafe_plugins)
    except PluginError as error:
        yield Finding("actions", str(error), "Mend the files of --actions-dir")
        return
    for file, why in found.failures.items():
        yield Finding(f"actions of {file}", f"does not load: {why}", "Mend the file, or take it out of the folder")
    yield Finding("actions", fact=f"{len(found.names)} load: {', '.join(found.names)}")


def distributors(settings: config.Settings, _: str) -> Iterator[Finding]:
    """Look whether the distributors load, and those that are named are there."""
    try:
        found = find_distributors(settings.distributors_dir, settings.allow_unsafe_plugins)
        names = [spec.name for spec in chosen(found, settings.names, settings.all)]
    except PluginError as error:
        yield Finding("distributors", str(error), "Mend the names, or the files of --distributors-dir")
        return
    for file, why in found.failures.items():
        yield Finding(f"distributors of {file}", f"does not load: {why}", "Mend the file, or take it out of the folder")
    yield Finding("distributors", fact=", ".join(names))


LOOKS: dict[str, tuple[Look, ...]] = {
    "client": (job_server,),
    "server": (folders, coordination, elasticsearch, ports),
    "executor": (folders, coordination, job_server, actions, ports),
    "distributor": (folders, coordination, job_server, distributors, ports),
    "up": (folders, ports, actions),
}
"""Command → its looks, in the order of the lines."""
