"""`atalaia rules backtest`: when rules would have fired, on the history that there is."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atalaia.alerting.backtest.episodes import Episode
from atalaia.alerting.backtest.minutes import Minutes
from atalaia.alerting.backtest.needs import needs
from atalaia.alerting.backtest.trials import Trial, swept, trials
from atalaia.alerting.rules import Rule, condition_text, number_text, unit_text
from atalaia.cli import backtest_plot, context, progress, rules_chosen, sweeps
from atalaia.cli.stack import Output, OutputOption
from atalaia.cli.sweeps import Swept
from atalaia.cli.verify import instant
from atalaia.infra.errors import UsageFailure
from atalaia.infra.settings import Settings
from atalaia.schemas.windows import MINUTE_MS
from atalaia.sinks.history import Found, History
from atalaia.streams import recorded

EPILOG: Final = """\
Examples:

atalaia rules backtest slow-api --from 7d                     when it would have fired in the last week

atalaia rules backtest rules/new.yaml --from 7d --plot        a rule that is not in force yet, drawn

atalaia rules backtest slow-api --from 7d --sweep 100..500/50 how often it would with other thresholds

atalaia rules backtest --from 24h -o json                     every rule in force, for programs

atalaia rules backtest slow-api --from 2h --topics            from the events in Kafka, not from ClickHouse
"""
_SHOWN: Final = 40
"""Episodes of a rule that are listed; the summary counts all."""

RulesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[RULE-ID|FILE]…", help="Rules in force, or files; without any: all.")
]
FromOption = Annotated[str, typer.Option("--from", help="From here on: a date or time (UTC), or 7d, 90m.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Up to here; without it, up to now.")]


def backtest(  # noqa: PLR0917 - each is an option of the command line
    rules: RulesArgument = None,
    start: FromOption = "24h",
    end: ToOption = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the value, the threshold, and when it fires.")] = False,
    sweep: Annotated[
        str | None, typer.Option(help="Thresholds to try, as FIRST..LAST/STEP; for one rule that has a threshold.")
    ] = None,
    topics: Annotated[bool, typer.Option("--topics", help="Read the events in Kafka instead of ClickHouse.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say when rules would have fired, for how long, and how bad it was. Times are UTC.

    Rules are judged at the end of every minute, by what ClickHouse keeps of minutes (7 days, unless set otherwise) and
    with everything that has come by now: what began and ended within a minute is not seen, nor what came late.
    """
    settings = context.start()
    now = datetime.now(UTC)
    from_ms, to_ms = (_ms(instant(start, now=now)), now if end is None else instant(end, now=now))
    span = (from_ms - from_ms % MINUTE_MS, _ms(to_ms) // MINUTE_MS * MINUTE_MS)
    if span[0] >= span[1]:
        raise UsageFailure(f"--from {start} is not before --to {end or 'now'}: there is no whole minute in between")
    thresholds = sweeps.parse(sweep) if sweep is not None else []
    chosen = rules_chosen.rules_of(settings, rules or [])
    if thresholds and (len(chosen) != 1 or chosen[0].comparison is None):
        raise UsageFailure("--sweep goes with one rule, and one that compares a number with a threshold")
    source = _Topics(settings, chosen, span) if topics else _ClickHouse(settings, span)
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    reports = []
    for rule in chosen:
        found = list(source.trials(rule))
        report = _Report(rule, found, span, [Swept.of(one, swept(found, one), span) for one in thresholds])
        reports.append(report)
        if output is Output.TABLE:
            report.show(console)
            if plot:
                drawn = backtest_plot.plot(rule, found, span, columns=shutil.get_terminal_size().columns)
                console.print(drawn)
    if output is Output.JSON:
        typer.echo(json.dumps([each.plain() for each in reports], ensure_ascii=False, indent=2))


class _Report:
    """One rule's backtest."""

    def __init__(self, rule: Rule, found: Sequence[Trial], span: tuple[int, int], sweep: Sequence[Swept]) -> None:
        self.rule = rule
        self.alerts = len(found)
        self.sweep = sweep
        self.span = span
        everything = [episode for trial in found for episode in trial.episodes() if episode.overlaps(*span)]
        self.episodes = sorted(everything, key=lambda each: (each.firing_ms, each.fingerprint))

    @property
    def minutes(self) -> float:
        """How long it fired, all alerts together."""
        return sum(each.minutes_within(*self.span) for each in self.episodes)

    def show(self, console: Console) -> None:
        """Episodes as a table, with a summary."""
        console.print(f"[bold]{escape(self.rule.name)}[/] ({escape(self.rule.rule_id)})")
        console.print(f"  {escape(condition_text(self.rule))}")
        if self.episodes:
            console.print(self._table())
        if len(self.episodes) > _SHOWN:
            console.print(f"  … and {len(self.episodes) - _SHOWN:,} more; -o json has them all")
        fired = f"fired {len(self.episodes):,} times" if len(self.episodes) != 1 else "fired once"
        console.print(f"  {fired}, {_length(self.minutes)} in all; on {self.alerts:,} series or groups")
        if self.sweep:
            console.print(sweeps.table(self.sweep))
        console.print()

    def plain(self) -> dict[str, Any]:
        """The same for JSON."""
        found: dict[str, Any] = {
            "rule_id": self.rule.rule_id,
            "name": self.rule.name,
            "condition": condition_text(self.rule),
            "from": _iso(self.span[0]),
            "to": _iso(self.span[1]),
            "judged": self.alerts,
            "episodes": [_plain(each, self.span) for each in self.episodes],
            "minutes_firing": self.minutes,
        }
        return found | ({"sweep": [each.plain() for each in self.sweep]} if self.sweep else {})

    def _table(self) -> Table:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("  fired", "for", "worst", "severity", "on"):
            shown.add_column(title, justify="right" if title in {"for", "worst"} else "left", overflow="fold")
        measure = unit_text(self.rule.unit)
        for each in self.episodes[:_SHOWN]:
            lasted = _length(each.minutes_within(*self.span)) + ("" if each.resolved_ms is not None else " and on")
            worst = "-" if each.worst is None else f"{number_text(round(each.worst, 4))}{measure}"
            shown.add_row(f"  {_text(each.firing_ms)}", lasted, worst, each.severity.value, escape(_where(each)))
        return shown


class _ClickHouse:
    """Minutes from ClickHouse."""

    def __init__(self, settings: Settings, span: tuple[int, int]) -> None:
        self._history = History(settings)
        self._span = span

    def trials(self, rule: Rule) -> Iterator[Trial]:
        """The rule tried on everything that it reads."""
        from_ms, to_ms = self._span
        found = [(need, self._history.series(need, from_ms=from_ms, to_ms=to_ms)) for need in needs(rule)]
        before_ms = max((need.before_ms for need, _ in found), default=0)
        total = sum(len(series) for _, series in found)
        with progress.counting(_stderr(), rule.rule_id, total) as reached:
            done = 0
            together: list[Minutes] = []
            for need, series in found:
                wider = need.reaching(before_ms)
                for minutes in self._minutes(wider, series):
                    if rule.expression is None:
                        yield from trials(rule, minutes)
                    else:
                        together += minutes
                    done += len(minutes)
                    reached(done)
        if rule.expression is not None:
            with progress.counting(_stderr(), f"{rule.rule_id}, minutes", (to_ms - from_ms) // MINUTE_MS) as reached:
                yield from trials(rule, together, reached=reached)

    def _minutes(self, need: Any, series: Sequence[Found]) -> Iterator[list[Minutes]]:
        from_ms, to_ms = self._span
        return self._history.minutes(need, series, from_ms=from_ms, to_ms=to_ms)


class _Topics:
    """Minutes from the events that are in Kafka, read once for all rules."""

    def __init__(self, settings: Settings, rules: Sequence[Rule], span: tuple[int, int]) -> None:
        from_ms, to_ms = span
        wanted = [need for rule in rules for need in needs(rule)]
        before_ms = max((need.before_ms for need in wanted), default=0)
        metrics = {need.metric_name for need in wanted}
        with progress.saying(_stderr()) as say:
            say("reading", "events")
            self._minutes = recorded.minutes(settings, metrics, from_ms=from_ms - before_ms, to_ms=to_ms)

    def trials(self, rule: Rule) -> Iterator[Trial]:
        """The rule tried on everything that it reads."""
        names = {need.metric_name for need in needs(rule)}
        return trials(rule, [each for each in self._minutes if each.series.metric_name in names])


def _plain(each: Episode, span: tuple[int, int]) -> dict[str, Any]:
    return {
        "fingerprint": each.fingerprint,
        "labels": dict(each.labels),
        "severity": each.severity.value,
        "threshold": each.threshold,
        "since": _iso(each.since_ms),
        "fired": _iso(each.firing_ms),
        "resolved": None if each.resolved_ms is None else _iso(each.resolved_ms),
        "minutes": each.minutes_within(*span),
        "worst": each.worst,
    }


def _where(each: Episode) -> str:
    told = {"tenant", "metric_name", "unit", "frequency"}
    return ", ".join(f"{name}={value}" for name, value in each.labels if name not in told) or "everything"


def _length(minutes: float) -> str:
    """A length of time for people.

    >>> _length(1_506.0)
    '1d 1h 6m'
    """
    days, rest = divmod(round(minutes), 1440)
    hours, left = divmod(rest, 60)
    parts = [f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (left, "m")) if count]
    return " ".join(parts) or "0m"


def _stderr() -> Console:
    return Console(stderr=True)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // MINUTE_MS * 60, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // MINUTE_MS * 60, UTC).strftime("%Y-%m-%d %H:%M")
