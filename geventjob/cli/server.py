"""`geventjob-server`: the process that serves jobs over HTTP."""

import geventjob.patch  # noqa: I001  (before any other import)

import gc
import logging
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from gevent.ssl import SSLContext

import geventjob
from geventjob import config, debug, log as logs, supervise
from geventjob.cli import signals
from geventjob.cli.metrics import measured
from geventjob.cli.renewal import LiveOptions
from geventjob.cli.traces import start_traces
from geventjob.exit_code import ExitCode
from geventjob.coordination import open_coordination
from geventjob.coordination.member import about, announce, join
from geventjob.coordination.base import Coordination, CoordinationAway, CoordinationError
from geventjob.metrics import REGISTRY, HubLag
from geventjob.notify import Notifier
from geventjob.server.accounts import first_user
from geventjob.server.accounts.audit import Audit
from geventjob.server.jobs.rights import Rights
from geventjob.server.app import application
from geventjob.server.accounts.passwords import Passwords
from geventjob.server.watch.failure_groups import FailureGroups
from geventjob.server.watch.feed import Feed
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.watch.rates import Rates
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.leaders.rescue import Rescue
from geventjob.server.http import tls
from geventjob.server.http.limits import raise_open_file_limit
from geventjob.server.http.server import HttpServer
from geventjob.server.http.tls import CertificateError
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.store import open_store
from geventjob.server.store.base import StoreAway, StoreError
from geventjob.server.store.watched import WatchedStore

if TYPE_CHECKING:
    from geventjob.server.watch.traces import JobTraces

log = logging.getLogger("geventjob.server")

GRACE = 20.0
"""Seconds for open requests to end after a request to stop."""
SWEEP = 3600.0
"""Seconds between two searches for expired sessions."""
BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted; a dropped client tries again after a second."""
SWITCH = 0.0005
"""Seconds for which a native thread (of the store, of a long filter) keeps the interpreter from the event loop.

Python's default of 5 ms would pass at each call to a socket, of which one request needs several.
"""


class ServerProcess:
    """The parts of the server, and the order in which they start and stop."""

    def __init__(self, settings: config.Settings, notifier: Notifier) -> None:
        """Start nothing yet. Raises StoreError, OSError, CertificateError."""
        self._settings = settings
        self._notifier = notifier
        self._options = LiveOptions("server", settings)
        self._store = WatchedStore(open_store(settings, notifier.starting))
        self._feed = Feed()
        self._audit = Audit(self._store, settings.audit_days)
        self._rights = Rights(settings.rights)
        self._stop = Event()
        self._code = ExitCode.SUCCESS
        self._tls = self._certificate()
        self._http: HttpServer | None = None

    def run(self) -> ExitCode:
        """Serve until SIGTERM or SIGINT, and return the exit code. Raises StoreError, CoordinationError, OSError."""
        sys.setswitchinterval(SWITCH)
        signals.handle(self._stop.set, signals.catch(self._settings), self.renew)
        listener = self._bind()
        self._store.start()
        try:
            self._serve_store(self._store, listener)
        finally:
            self._store.close()
        return self._code

    def renew(self) -> None:
        """Read the options and the certificate again. Raises WrongUsage: nothing has changed."""
        read = self._options.read()
        try:
            self._tls = self._certificate()
        except CertificateError as error:
            raise config.WrongUsage(str(error)) from None
        if self._http is not None:
            self._http.tls = self._tls
        self._options.apply(read)
        settings = self._settings
        self._rights.actions = settings.rights
        self._store.log_in(settings.es_user, settings.es_pass, settings.es_api_key)

    def _certificate(self) -> SSLContext | None:
        """Return TLS with the certificate as the files have it now; None without one. Raises CertificateError."""
        certificate, key = self._settings.tls_cert, self._settings.tls_key
        return None if certificate is None else tls.load(certificate, key)

    def _bind(self) -> socket.socket:
        """Bind the port before any other step, so that a port in use is an error at once. Raises OSError."""
        host, port = self._settings.host, self._settings.port
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        return bound

    def _serve_store(self, store: WatchedStore, listener: socket.socket) -> None:
        """Join the fleet and serve the documents of a store until the stop."""
        passwords, sessions = Passwords(), Sessions(store)
        first_user.ensure(store, passwords, self._settings.admin_pass, Path(self._settings.data_dir))
        coordination = measured(partial(open_coordination, self._settings))(self._settings.name)
        if not join(coordination, self._stop):
            return
        try:
            settings, version = self._settings, geventjob.__version__
            promoter = Promoter(store, coordination)
            rates, groups = Rates(store, coordination, promoter), FailureGroups(store)
            app = application(
                store,
                coordination,
                sessions,
                passwords,
                version,
                base_uri=settings.base_uri,
                rights=self._rights,
                promoter=promoter,
                max_retries=settings.max_retries,
                feed=self._feed,
                rates=rates,
                groups=groups,
                audit=self._audit,
                metrics=REGISTRY,
                metrics_token=settings.metrics_token,
                traces=traced(settings),
            )
            listener.listen(BACKLOG)
            reconciler = Reconciler(store, coordination, promoter)
            interval = self._settings.reconcile_interval
            supervise.spawn("the reconciler", lambda: reconciler.keep(interval), self._failed)
            supervise.spawn("the promoter", promoter.keep, self._failed)
            supervise.spawn("the reader of the rules", promoter.book.keep, self._failed)
            supervise.spawn("the rescue of orphaned jobs", Rescue(store, coordination).keep, self._failed)
            supervise.spawn("the look at the lag of the hub", HubLag(REGISTRY).run, self._failed)
            supervise.spawn("the keeper of the rates", rates.keep, self._failed)
            supervise.spawn("the keeper of the groups of failures", groups.keep, self._failed)
            self._http = HttpServer(listener, app, tls=self._tls)
            self._serve(self._http, coordination, sessions)
            rates.write()
            groups.write()
        finally:
            coordination.close()

    def _serve(self, server: HttpServer, coordination: Coordination, sessions: Sessions) -> None:
        """Serve requests until the stop, then let open requests end."""
        gc.freeze()  # collections skip the objects of the start, and hold up the event loop for less time
        raise_open_file_limit(server.limits.connections)
        supervise.spawn("the sweep of old sessions and events", lambda: _sweep(sessions, self._audit), self._failed)
        server.start()
        try:
            address = _address("http" if server.tls is None else "https", self._settings.host, server.server_port)
            if announce(coordination, "servers", about(url=address), self._stop):
                log.info("geventjob-server %s listens on %s", geventjob.__version__, address)
                self._notifier.ready()
                self._stop.wait()
            self._notifier.stopping(GRACE)
            log.info("stopping: open requests have %g s to end", GRACE)
        finally:
            self._feed.close()
            server.finish(GRACE)

    def _failed(self) -> None:
        """Stop with exit code 1, since a part of the process has failed."""
        self._code = ExitCode.FAILURE
        self._stop.set()


def main() -> None:
    """Run the server and end the process: 0 after a stop, 1 when a part failed, 2 for wrong usage."""
    config.hide_secrets("geventjob-server")
    notifier = Notifier()
    settings = config.parse("server")
    logs.configure("server", **settings.logging)
    debug.Dumps(os.path.join(settings.log_dir, "server.log") if settings.log_dir else None)
    spans = start_traces(settings, "server")
    try:
        gevent.spawn(notifier.feed)
        code = ServerProcess(settings, notifier).run()
    except (StoreAway, CoordinationAway) as error:
        log.critical("%s", error)
        code = ExitCode.FAILURE
    except (StoreError, CoordinationError, OSError, CertificateError) as error:
        config.refuse("server", str(error))
    if spans:
        spans.close()
    sys.exit(code)


def traced(settings: config.Settings) -> "JobTraces | None":
    """Return the spans of jobs; None without `--traces`, for which the library is not loaded."""
    if not settings.traces:
        return None
    from geventjob.server.watch.traces import JobTraces
    from geventjob.traces import tracer

    return JobTraces(tracer())


def _sweep(sessions: Sessions, audit: Audit) -> None:
    """Remove expired sessions and old events for ever, at intervals."""
    while True:
        gevent.sleep(SWEEP)
        try:
            sessions.sweep()
            audit.forget()
        except StoreError as error:
            log.warning("old sessions and events stay: %s", error)


def _address(scheme: str, host: str, port: int | None) -> str:
    """Return the URL of a host and port."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


if __name__ == "__main__":
    main()
