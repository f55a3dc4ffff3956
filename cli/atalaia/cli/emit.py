"""`atalaia emit`: one event from the command line, or JSON lines from standard input."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import count
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from atalaia.cli import context
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.settings import Settings, librdkafka
from atalaia.producers import BufferFull, DeliveryError, Emitter, MetricError, Producer, Stats
from atalaia.producers.fields import KNOWN_FIELDS

app = typer.Typer()

_SERVICE: Final = "atalaia-cli"
_BLOCK_SECONDS: Final = 60.0
_BAD_LINES_SHOWN: Final = 20
_SHOW_EVERY: Final = 1_000
_KNOWN: Final = KNOWN_FIELDS | {"metric_name", "value", "timestamp"}

_EPILOG: Final = """\
Examples:

atalaia emit order_value 59.90                                        one event, now

atalaia emit revenue_daily 2500 -m payment_method=pix --region BR --at 2026-01-31T23:00:00-03:00

atalaia emit < events.jsonl                                           many, as F1 names their fields

echo '{"metric_name": "cpu_usage", "value": 71.5, "service_name": "web"}' | atalaia emit
"""


@app.command(epilog=_EPILOG)
def emit(  # noqa: PLR0917 - each is an option of the command line
    metric: Annotated[str | None, typer.Argument(help="The metric's name; without it, JSON lines are read.")] = None,
    value: Annotated[float | None, typer.Argument(help="Its value.")] = None,
    service: Annotated[str, typer.Option(help="Who emits; a JSON line may say service_name itself.")] = _SERVICE,
    unit: Annotated[str | None, typer.Option(help="For example ms or BRL (default: the catalogue's).")] = None,
    frequency: Annotated[str | None, typer.Option(help="real_time, hourly, daily or monthly.")] = None,
    metric_type: Annotated[str | None, typer.Option("--type", help="The metric's family, such as revenue.")] = None,
    region: Annotated[str | None, typer.Option(help="Where, for example BR.")] = None,
    affiliate: Annotated[str | None, typer.Option(help="For which affiliate.")] = None,
    metadata: Annotated[list[str] | None, typer.Option("-m", "--meta", help="KEY=VALUE, as often as needed.")] = None,
    at: Annotated[str | None, typer.Option(help="Event time, ISO 8601 with its zone (default: now).")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the last acknowledgements.", min=0)] = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Emit one event, or JSON lines from standard input.

    Ends when Kafka has acknowledged everything; exit code 1 where something was refused or lost. A bad JSON line is
    named, and the others are emitted.
    """
    fields = {
        "metric_name": metric,
        "value": value,
        "unit": unit,
        "frequency": frequency,
        "metric_type": metric_type,
        "region": region,
        "affiliate_id": affiliate,
        "metadata": _pairs(metadata or []),
        "timestamp": at,
    }
    said = {name: field for name, field in fields.items() if field}
    if value is None and said:
        raise UsageFailure("emit: give METRIC and VALUE, or neither and JSON lines on standard input")
    if metric is None and sys.stdin.isatty():
        raise UsageFailure("emit: give METRIC and VALUE, or pipe JSON lines in; `atalaia emit --help` shows how")
    settings = context.start()
    with _producer(settings, service) as producer:
        if metric is not None:
            _emit_one(producer, said | {"value": value}, timeout, output)
        else:
            _emit_lines(producer, sys.stdin.buffer, timeout, output)


def event_of(said: Any) -> tuple[str | None, dict[str, Any]]:
    """The service that a JSON object names, if it does, and the arguments of `emit`.

    >>> event_of({"metric_name": "cpu_usage", "value": 3, "service_name": "web"})
    ('web', {'metric_name': 'cpu_usage', 'value': 3})
    """
    if not isinstance(said, dict):
        raise MetricError("line", said, 'must be an object such as {"metric_name": "cpu_usage", "value": 71.5}')
    arguments = dict(said)
    service = arguments.pop("service_name", None)
    if service is not None and not isinstance(service, str):
        raise MetricError("service_name", service, "must be text")
    for name in ("metric_name", "value"):
        if name not in arguments:
            raise MetricError(name, None, "is missing")
    for name, argument in arguments.items():
        if name not in _KNOWN:
            raise MetricError(name, argument, f"no such field; there are service_name, {', '.join(sorted(_KNOWN))}")
    if isinstance(at := arguments.get("timestamp"), str):
        try:
            arguments["timestamp"] = datetime.fromisoformat(at)
        except ValueError as exc:
            remedy = "must be ISO 8601 with its zone, such as 2026-01-31T23:00:00Z"
            raise MetricError("timestamp", at, remedy) from exc
    return service, arguments


@contextmanager
def _producer(settings: Settings, service: str) -> Iterator[Producer]:
    try:
        producer = Producer(
            settings.kafka.bootstrap_servers,
            service_name=service,
            tenant=settings.tenant,
            registry=settings.registry.url,
            block_timeout=_BLOCK_SECONDS,
            config=librdkafka(settings.kafka),
        )
    except ValueError as exc:  # MetricError and ConfigError: they name the argument and the remedy
        raise UsageFailure(f"emit: {exc}") from exc
    try:
        yield producer
    finally:
        producer.close(0)  # whoever gets here has waited, or has given up


def _emit_one(producer: Producer, said: dict[str, Any], timeout_seconds: float, output: Output) -> None:
    try:
        _, arguments = event_of(said)
        delivery = producer.deliver(**arguments).result(timeout_seconds)
    except MetricError as exc:
        raise UsageFailure(f"emit: {exc}") from exc
    except DeliveryError as exc:
        raise Failure(f"emit: {exc}") from exc
    except TimeoutError as exc:
        raise _unacknowledged(producer.stats) from exc
    if output is Output.JSON:
        typer.echo(json.dumps(asdict(delivery)))
    else:
        typer.echo(f"{delivery.event_id} is in {delivery.topic}, partition {delivery.partition} at {delivery.offset}")


def _emit_lines(producer: Producer, lines: BinaryIO, timeout_seconds: float, output: Output) -> None:
    services: dict[str, Emitter] = {}
    bad = 0
    with _progress(lines) as reached:
        for number, line in zip(count(1), lines, strict=False):
            if not line.strip():
                continue
            try:
                service, arguments = event_of(_parsed(line))
                if service is not None and service not in services:
                    services[service] = producer.on_behalf_of(service)
                emitter = producer if service is None else services[service]
                emitter.emit(**arguments)
            except MetricError as exc:
                bad += 1
                if bad <= _BAD_LINES_SHOWN:
                    typer.secho(f"line {number}: {exc}", fg=typer.colors.RED, err=True)
            except BufferFull as exc:
                raise Failure(f"emit: line {number}: {exc}") from exc
            if number % _SHOW_EVERY == 0:
                reached(producer.stats)
        stats = producer.flush(timeout_seconds)
        reached(stats)
    _say(stats, bad, output)
    if stats.queued:
        raise _unacknowledged(stats)
    if bad or stats.lost:
        raise typer.Exit(1)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as exc:
        raise MetricError("line", line.decode(errors="replace").strip(), f"is not JSON ({exc})") from exc


def _say(stats: Stats, bad: int, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps(asdict(stats) | {"queued": stats.queued, "bad_lines": bad}))
    losses = [f"{number:,} lost ({reason})" for reason, number in {**stats.failed, **stats.dropped}.items()]
    refused = [f"{bad:,} bad lines refused"] if bad else []
    typer.echo("; ".join([f"{stats.acknowledged:,} events acknowledged", *refused, *losses]), err=True)


def _unacknowledged(stats: Stats) -> Failure:
    why = stats.last_error or "is Kafka up? `atalaia status` says"
    return Failure(f"emit: {stats.queued:,} events are not acknowledged: {why}")


def _pairs(said: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in said]
    for key, equals, value in pairs:
        if not key or not equals:
            raise UsageFailure(f"emit: --meta {key}{equals}{value}: must be KEY=VALUE")
    return {key: value for key, _, value in pairs}


@contextmanager
def _progress(lines: BinaryIO) -> Iterator[Callable[[Stats], None]]:
    """A bar on a terminal: of a file, how much of it is read; of a pipe, that something moves."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    status = os.fstat(lines.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    columns = (TextColumn("emit"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=size)

        def reached(stats: Stats) -> None:
            described = f"{stats.emitted:,} events, {stats.acknowledged:,} acknowledged"
            shown.update(task, description=described, completed=lines.tell() if size else 0)

        yield reached
