"""`atalaia alerts explain`: what an alert was told from, and whether that is still so, from the events themselves."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from atalaia.alerting import durations
from atalaia.alerting.backtest import again
from atalaia.alerting.evaluating import spans
from atalaia.alerting.expressions import Matcher, MatchOperator, reads
from atalaia.alerting.rules import Rule, number_text, tree
from atalaia.alerting.store import RuleStore
from atalaia.cli import context
from atalaia.cli.records import plain, printable
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra.errors import UsageFailure
from atalaia.schemas.events import AlertStatus
from atalaia.sinks.told import Alert, Told

EPILOG: Final = """\
Examples:

atalaia alerts tail --no-follow -o json            shows the fingerprint and the episode of each alert

atalaia alerts explain 3f0c9a1be7d24c55a1b2c3d4e5f60718   what it was told from, and whether that still holds
"""
_SHOWN: Final = 10
_CLOSE: Final = 1e-9
_SKETCHED: Final = 0.02
"""Two sketches that are right within 1 % differ by 2 % at most."""


@dataclass(frozen=True, slots=True)
class Again:
    """The value computed from raw events, and how it compares with the one that was told."""

    value: float | None
    verdict: str


def explain(
    mark: Annotated[str, typer.Argument(metavar="FINGERPRINT|EPISODE", help="As `alerts tail -o json` shows it.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what an alert was told from, and compute its value again from the raw events in ClickHouse.

    The value may differ where events came late, or where raw events are past their retention.
    """
    settings = context.start()
    told = Told(settings)
    alerts = told.of(mark)
    if not alerts:
        raise UsageFailure(f"no alert, episode or transition is {mark!r}; `atalaia alerts tail -o json` has their ids")
    latest = alerts[0]
    based = next((each for each in alerts if each["value"] is not None), latest)
    with RuleStore(settings) as store:
        rule = next((each for each in store.rules() if each.rule_id == latest["rule_id"]), None)
    window = _window(based, rule)
    offsets = told.offsets(based["metric_name"], dict(based["labels"]), *window)
    found = _again(told, rule, based, window)
    if output is Output.JSON:
        said = {"alert": plain(latest.columns), "again": {"value": found.value, "verdict": found.verdict}}
        said["offsets"] = [dict(zip(("partition", "first", "last", "events"), each, strict=True)) for each in offsets]
        said["transitions"] = [plain(each.columns) for each in alerts]
        typer.echo(json.dumps(said, ensure_ascii=False, indent=2, default=str))
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, text in _facts(latest, based, rule, now=datetime.now(UTC)):
        console.print(f"[bold]{name:<13}[/] {escape(str(printable(text)))}")
    for number, first, last, count in offsets:
        console.print(f"[bold]{'events':<13}[/] {count:,} in partition {number}, offsets {first:,} to {last:,}")
    console.print(f"[bold]{'again':<13}[/] {escape(found.verdict)}")
    console.print("[bold]transitions[/]")
    for each in alerts[:_SHOWN]:
        value = "no value" if each["value"] is None else number_text(each["value"])
        console.print(f"  {each['timestamp']:%Y-%m-%d %H:%M:%S} {each['status']:<13} {value}")


def _facts(latest: Alert, based: Alert, rule: Rule | None, *, now: datetime) -> list[tuple[str, str]]:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(latest["labels"].items()))
    since = _aware(latest["starts_at"])
    facts = [
        ("rule", f"{latest['rule_name']} ({latest['rule_id']}), version {latest['rule_version']}"),
        ("on", labels),
        ("status", f"{latest['status']}, {latest['severity']}, since {since:%Y-%m-%d %H:%M:%S} UTC"),
        ("condition", latest["condition"]),
    ]
    if based["value"] is not None:
        facts.append(
            ("value", f"{number_text(based['value'])} {based['unit']}, threshold {number_text(based['threshold'])}")
        )
    if based["window_start"] is not None:
        facts.append(("window", f"{based['window_start']:%Y-%m-%d %H:%M:%S} to {based['window_end']:%H:%M:%S} UTC"))
    whole = based["completeness"]
    facts.append(("completeness", "not said" if whole is None else f"{whole:.1%}"))
    if rule is not None and rule.version != latest["rule_version"]:
        facts.append(("note", f"the rule is at version {rule.version} by now"))
    if rule is not None and latest["status"] == AlertStatus.PENDING:
        left = max(timedelta(), since + rule.hold - now)
        facts.append(("for", f"{durations.text(rule.hold)}, of which {round(left.total_seconds())} s are left"))
    return facts


def _window(alert: Alert, rule: Rule | None) -> tuple[datetime, datetime]:
    """The span of the events that the value was made of; of a latest value, as far back as it may have come."""
    if alert["window_start"] is not None:
        return _aware(alert["window_start"]), _aware(alert["window_end"])
    at = _aware(alert["timestamp"])
    reach_ms = max((spans.longest_ms(leaf.span) for leaf in reads(tree(rule))), default=0) if rule is not None else 0
    return at - timedelta(milliseconds=max(reach_ms, 300_000)), at + timedelta(milliseconds=1)


def _again(told: Told, rule: Rule | None, alert: Alert, window: tuple[datetime, datetime]) -> Again:
    """Computes the value anew, by the rule as it is now."""
    if rule is None:
        return Again(None, "cannot be computed again: the rule is gone")
    if alert["value"] is None:
        return Again(None, "nothing to compare: no value was told")
    labels = dict(alert["labels"])
    if rule.expression is None:
        mine = told.events(alert["metric_name"], labels, *window)
        if len({series for series, _ in mine}) > 1:
            exact = {series.record_key(): series for series, _ in mine if series.labels() == labels}
            mine = [pair for pair in mine if pair[0].record_key() in exact]
        if not mine:
            return Again(None, "the raw events of its window are not in ClickHouse (any more)")
        value = again.of_series(rule, (minute for _, minute in mine))
    else:
        minutes = []
        for leaf in reads(tree(rule)):
            reach = timedelta(milliseconds=spans.longest_ms(leaf.span)) + leaf.offset + timedelta(hours=1)
            equal = {each.label: each.value for each in leaf.selector.matchers if _is_equal(each)}
            minutes += told.events(leaf.selector.metric_name, equal, window[1] - reach, window[1])
        unique = {(series, minute.start_ms): minute for series, minute in minutes}
        at_ms = int(window[1].timestamp() * 1000) - 1
        value = again.of_expression(rule, ((key[0], minute) for key, minute in unique.items()), labels, at_ms=at_ms)
    return Again(value, _compared(value, float(alert["value"]), rule))


def _compared(value: float | None, told: float, rule: Rule) -> str:
    """The outcome for people."""
    if value is None:
        return f"the raw events make no value now; told was {number_text(told)}"
    if math.isclose(value, told, rel_tol=_CLOSE, abs_tol=1e-12):
        return f"{number_text(value)} from the raw events: the same"
    share = abs(value - told) / abs(told) if told else math.inf
    near = " (within what two sketches may differ)" if share <= _SKETCHED and "p9" in str(rule.aggregate) else ""
    by = f"{number_text(value - told)}, {share:.2%}" if told else number_text(value - told)
    return f"{number_text(value)} from the raw events: differs by {by} from the {number_text(told)} that was told{near}"


def _is_equal(matcher: Matcher) -> bool:
    return matcher.operator is MatchOperator.EQUAL


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
