"""`geventjob-distributor`: the process that creates jobs on a schedule while it leads."""

import geventjob.patch  # noqa: F401, I001  (before any other import)

import os
import sys

import gevent

from geventjob import config, debug, fork, log, multiprocess
from geventjob.cli import signals
from geventjob.cli.connection import connect
from geventjob.coordination import open_coordination
from geventjob.coordination.base import CoordinationError
from geventjob.coordination.naming import Numbered
from geventjob.notify import Notifier
from geventjob.scheduling.engine import DistributorEngine, chosen
from geventjob.plugins import PluginError, find_distributors
from geventjob.plugins.spawned import share


def main() -> None:
    """Run the distributors and end the process: 0 after a stop, 1 when a part failed, 2 for wrong usage."""
    config.hide_secrets("geventjob-distributor")
    notifier = Notifier()
    settings = config.parse("distributor")
    log_name = f"distributor-{settings.names[0]}" if len(settings.names) == 1 and not settings.all else "distributor"
    log.configure("distributor", settings.log_dir, settings.log_level, log_name)
    debug.Dumps(os.path.join(settings.log_dir, f"{log_name}.log") if settings.log_dir else None)
    fork.isolate()
    multiprocess.cooperate()
    try:
        engine = assemble(settings, notifier)
        gevent.spawn(notifier.feed)
        signals.handle(engine.stop, settings.log_level, signals.keep_options)
        code = engine.run(lambda engine, wait: engine.run(wait))
    except (PluginError, CoordinationError) as error:
        config.refuse("distributor", str(error))
    sys.stderr.flush()
    os._exit(code)  # so that code that swallows its end does not delay the exit


def assemble(settings: config.Settings, notifier: Notifier) -> Numbered[DistributorEngine]:
    """Make the parts of the process from its options. Raises PluginError, CoordinationError."""
    found = find_distributors(settings.distributors_dir, settings.allow_unsafe_plugins)
    share(settings.distributors_dir)
    specs = chosen(found, settings.names, settings.all)
    client = connect(
        settings,
        connections=len(specs) + 1,
        patience=0,  # the leader tries again by itself, and checks each time whether it still leads
    )

    def engine(name: str) -> DistributorEngine:
        settings.name = name
        return DistributorEngine(open_coordination(settings, name), client, specs, settings, found.failures, notifier)

    return Numbered(settings.name, engine)


if __name__ == "__main__":
    main()
