"""`geventjob-distributor`: the process that creates jobs on a schedule while it leads."""

import geventjob.patch  # noqa: F401, I001  (before any other import)

import os
import sys

import gevent

from geventjob import config, debug, fork, log, multiprocess
from geventjob.cli import signals
from geventjob.cimi.client import Client
from geventjob.cli.connection import connect, log_in, opening
from geventjob.cli.renewal import LiveOptions
from geventjob.cli.traces import start_traces
from geventjob.coordination.base import CoordinationError
from geventjob.coordination.naming import Numbered
from geventjob.notify import Notifier
from geventjob.scheduling.engine import DistributorEngine, chosen
from geventjob.plugins import Distributors, PluginError, find_distributors
from geventjob.plugins.spawned import share


def main() -> None:
    """Run the distributors and end the process: 0 after a stop, 1 when a part failed, 2 for wrong usage."""
    config.hide_secrets("geventjob-distributor")
    notifier = Notifier()
    settings = config.parse("distributor")
    log_name = f"distributor-{settings.names[0]}" if len(settings.names) == 1 and not settings.all else "distributor"
    log.configure("distributor", name=log_name, **settings.logging)
    debug.Dumps(os.path.join(settings.log_dir, f"{log_name}.log") if settings.log_dir else None)
    fork.isolate()
    multiprocess.cooperate()
    spans = start_traces(settings, "distributor")
    try:
        options = LiveOptions("distributor", settings)
        hangups = signals.catch(settings)
        found = find_distributors(settings.distributors_dir, settings.allow_unsafe_plugins)
        client = connect(
            settings,
            connections=len(found.names) + 1,
            patience=0,  # the leader tries again by itself, and checks each time whether it still leads
        )
        engine = assemble(settings, found, client, notifier)
        gevent.spawn(notifier.feed)
        signals.handle(engine.stop, hangups, lambda: renew(options, found, client, engine.engine))
        if settings.metrics_port is not None:
            serve(settings, engine)
        code = engine.run(lambda engine, wait: engine.run(wait))
    except (PluginError, CoordinationError, OSError) as error:
        config.refuse("distributor", str(error))
    sys.stderr.flush()
    log.write_turns()
    if spans:
        spans.close()
    os._exit(code)  # so that code that swallows its end does not delay the exit


def serve(settings: config.Settings, engine: Numbered[DistributorEngine]) -> None:
    """Serve the metrics of the engine. Raises OSError."""
    from geventjob.cli.metrics import serve_metrics
    from geventjob.scheduling.metrics import DistributorFigures

    figures = DistributorFigures(lambda: engine.engine.leads, lambda: engine.engine.session)
    serve_metrics(settings, figures, figures.why_not_ready)


def renew(options: LiveOptions, found: Distributors, client: Client, engine: DistributorEngine) -> None:
    """Read options and distributor files again. Raises as `geventjob.cli.executor.renew` does."""
    read = options.read()
    merged = found.merged(find_distributors(read.distributors_dir, read.allow_unsafe_plugins))
    specs = chosen(merged, read.names, read.all)
    options.apply(read)
    log_in(client, read)
    share(read.distributors_dir)
    found.replace(merged)
    engine.renew(specs, merged.failures)


def assemble(
    settings: config.Settings, found: Distributors, client: Client, notifier: Notifier
) -> Numbered[DistributorEngine]:
    """Make the parts of the process from its options. Raises PluginError, CoordinationError."""
    share(settings.distributors_dir)
    opened = opening(settings)

    def engine(name: str) -> DistributorEngine:
        settings.name = name
        specs = chosen(found, settings.names, settings.all)
        return DistributorEngine(opened(name), client, specs, settings, found.failures, notifier)

    return Numbered(settings.name, engine)


if __name__ == "__main__":
    main()
