"""The traces of a process, where `--traces` asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventjob import config

if TYPE_CHECKING:
    from geventjob.traces import Exporting


def start_traces(settings: config.Settings, command: str) -> Exporting | None:
    """Start the traces of a process, and return what exports its spans; None without `--traces`.

    Wrong settings, and a missing OpenTelemetry, are one line on stderr and exit code 2.
    """
    if not settings.traces:
        return None
    try:
        from geventjob import traces

        return traces.start(config.COMMANDS[command])
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        config.refuse(command, f"--traces needs OpenTelemetry: pip install 'geventjob[otel]' ({error})")
    except ValueError as error:
        config.refuse(command, f"--traces: {error}")
