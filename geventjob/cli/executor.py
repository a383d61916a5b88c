"""`geventjob-executor`: the process that takes jobs off the queue and runs their actions."""

import geventjob.patch  # noqa: F401, I001  (before any other import)

import io
import gc
import os
import sys
from typing import Any

import gevent

from geventjob import config, debug, fork, log, multiprocess
from geventjob.cli import signals
from geventjob.cli.connection import arguments, connect, log_in, opening
from geventjob.cli.renewal import LiveOptions
from geventjob.cli.traces import start_traces
from geventjob.cimi.client import Client
from geventjob.coordination.base import CoordinationError
from geventjob.coordination.naming import Numbered
from geventjob.executor.context import ExecutorContext
from geventjob.executor.culprits import Culprits
from geventjob.executor.engine import ExecutorEngine
from geventjob.executor.hooks import Hooks
from geventjob.executor.limits import JobLimits
from geventjob.executor.memory import excess
from geventjob.executor.forbidden_calls import refuse_forks_of_coroutines, refuse_signals, refuse_waits_of_finalizers
from geventjob.executor.state import ActionState
from geventjob.executor.watch import Watch
from geventjob.executor.workers.pool import Workers
from geventjob.exit_code import ExitCode
from geventjob.notify import Notifier
from geventjob.plugins import PluginError, find_actions
from geventjob.plugins.spawned import share


def main() -> None:
    """Run the executor and end the process: 0 after a stop, 1 when a part failed, 2 for wrong usage."""
    config.hide_secrets("geventjob-executor")
    notifier = Notifier()
    settings = config.parse("executor")
    if isinstance(sys.stdout, io.TextIOWrapper):  # an action that prints a name that is not UTF-8 must not fail
        sys.stdout.reconfigure(errors="backslashreplace")
    log.configure("executor", **settings.logging)
    fork.isolate()
    multiprocess.cooperate()
    refuse_signals()
    refuse_forks_of_coroutines()
    refuse_waits_of_finalizers()
    spans = start_traces(settings, "executor")
    try:
        options = LiveOptions("executor", settings)
        hangups = signals.catch(settings)
        client = connect(settings, connections=settings.threads + 1)
        engine = assemble(settings, client, notifier)
        if why := excess(limits_of(settings)):
            config.refuse("executor", f"before the first job {why}")
        # A job makes hundreds of objects: looked through 700 at a time, they cost an executor a tenth of its CPU.
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gevent.spawn(notifier.feed)
        signals.handle(engine.stop, hangups, lambda: renew(options, client, engine.engine))
        if settings.metrics_port is not None:
            serve(settings, engine)
        code = engine.run(lambda engine, wait: engine.run(wait))
    except (PluginError, CoordinationError, OSError) as error:
        print(f"geventjob-executor: {error}", file=sys.stderr)
        code = ExitCode.USAGE
    sys.stderr.flush()
    log.write_turns()
    if spans:
        spans.close()
    os._exit(code)  # so that abandoned actions and native threads do not delay the exit


def observed(settings: config.Settings) -> Hooks:
    """Return the hooks that measure and trace the runs; the libraries are loaded for their options alone."""
    observers: list[Any] = []
    if settings.metrics_port is not None:
        from geventjob.executor.metrics import RunMetrics
        from geventjob.metrics import REGISTRY

        observers.append(RunMetrics(REGISTRY))
    if settings.traces:
        from geventjob.executor.traces import RunTraces
        from geventjob.traces import tracer

        observers.append(RunTraces(tracer()))
    return Hooks(on_start=[each.started for each in observers], on_end=[each.ended for each in observers])


def serve(settings: config.Settings, engine: Numbered[ExecutorEngine]) -> None:
    """Serve the metrics of the engine. Raises OSError."""
    from geventjob.cli.metrics import serve_metrics
    from geventjob.executor.metrics import ExecutorFigures

    figures = ExecutorFigures(lambda: engine.engine)
    serve_metrics(settings, figures, figures.why_not_ready)


def renew(options: LiveOptions, client: Client, engine: ExecutorEngine) -> None:
    """Read options and action files again. Raises WrongUsage, PluginError: nothing has changed; CoordinationError."""
    read = options.read()
    found = find_actions(read.actions_dir, read.allow_unsafe_plugins)
    options.apply(read)
    log_in(client, read)
    share(read.actions_dir)
    engine.renew(found, limits_of(read))


def die_with_fork_server() -> None:
    """End the process at once: its jobs count as interrupted, since one of them may have ended the fork server."""
    log.write_turns()
    os._exit(1)


def limits_of(settings: config.Settings) -> JobLimits:
    """Return the limits among the options."""
    return JobLimits(**{name: getattr(settings, name) for name in JobLimits.__dataclass_fields__})


def assemble(settings: config.Settings, client: Client, notifier: Notifier) -> Numbered[ExecutorEngine]:
    """Make the parts of the process from its options. Raises PluginError, CoordinationError."""
    state = ActionState()  # first, since it replaces functions that action files import
    dumps = debug.Dumps(os.path.join(settings.log_dir, "executor.log") if settings.log_dir else None)
    actions = find_actions(settings.actions_dir, settings.allow_unsafe_plugins)
    share(settings.actions_dir)
    watch = Watch(
        session_timeout=settings.session_timeout,
        max_blocking=settings.max_blocking,
        fd=dumps.fd,
        culprits=Culprits(os.path.join(settings.data_dir, "culprits")),
        state=state,
    )
    dumps.describe = watch.describe
    hooks, opened = observed(settings), opening(settings)
    limits = limits_of(settings)
    workers = Workers(
        vars(settings), lambda: arguments(settings), limits, settings.session_timeout, lost=die_with_fork_server
    )
    workers.renew(actions)

    def engine(name: str) -> ExecutorEngine:
        settings.name = name
        coordination, context = opened(name), ExecutorContext(client, settings)
        return ExecutorEngine(coordination, context, actions, limits, watch, notifier, hooks, workers)

    return Numbered(settings.name, engine)


if __name__ == "__main__":
    main()
