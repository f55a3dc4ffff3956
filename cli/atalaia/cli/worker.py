"""`atalaia worker stream|sink`: one worker as this process, for supervisors and containers."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

import typer

from atalaia.infra import settings as configuration
from atalaia.infra.errors import Failure
from atalaia.infra.local import stack
from atalaia.infra.local.ports import taken
from atalaia.infra.settings import Settings

_EPILOG: Final = """\
Examples:

atalaia worker stream    aggregate events and judge rules, until SIGTERM

atalaia worker sink      store what Kafka carries in ClickHouse, until SIGTERM

ATALAIA_STREAMS__METRICS_PORT=9201 atalaia worker stream    one more beside those of `atalaia up`
"""

app = typer.Typer(epilog=_EPILOG, no_args_is_help=True, help="Run one worker as this process: stream or sink.")


@app.command()
def stream() -> None:
    """Aggregate events in windows and judge rules.

    Exit code 0 after SIGTERM or SIGINT; anything else asks a supervisor to start it anew.
    """
    from atalaia.streams.process import run  # noqa: PLC0415 - Faust is loaded by whoever runs it

    settings = _settings()
    _run(run, settings, port=settings.streams.metrics_port, setting="ATALAIA_STREAMS__METRICS_PORT")


@app.command()
def sink() -> None:
    """Store events, rollups, alerts and dead letters in ClickHouse.

    Exit code 0 after SIGTERM or SIGINT; anything else asks a supervisor to start it anew.
    """
    from atalaia.sinks.worker import run  # noqa: PLC0415 - the same for the sink

    settings = _settings()
    _run(run, settings, port=settings.sinks.metrics_port, setting="ATALAIA_SINKS__METRICS_PORT")


def _settings() -> Settings:
    """As for any command, but each worker's own section stays as it was set: two workers can't share a port."""
    loaded = configuration.load()
    return stack.running(loaded).model_copy(update={"streams": loaded.streams, "sinks": loaded.sinks})


def _run(work: Callable[[Settings], int], settings: Settings, *, port: int, setting: str) -> None:
    try:
        code = work(settings)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        holder = next(iter(taken([port])), f"port {port} is taken")
        raise Failure(f"{holder}: stop it, or set {setting} to another port") from exc
    raise typer.Exit(code)
