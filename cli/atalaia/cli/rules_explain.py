"""`atalaia rules explain`: what a rule means, what it reads, where it stands, and who says so."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from atalaia.alerting import durations
from atalaia.alerting.backtest.needs import needs
from atalaia.alerting.promql import printing
from atalaia.alerting.rules import Rule, condition_text, number_text, tree
from atalaia.alerting.store import RuleStore, Stored
from atalaia.alerting.writing.document import to_document
from atalaia.cli import context
from atalaia.cli.records import printable
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra.errors import UsageFailure
from atalaia.schemas.windows import DAY_MS
from atalaia.sinks.history import History
from atalaia.sinks.told import Told

EPILOG: Final = """\
Examples:

atalaia rules explain slow-api            in words and as PromQL, its series, its alerts, its history

atalaia rules explain slow-api -o json    the same for programs
"""
_SHOWN: Final = 10


def explain(
    rule_id: Annotated[str, typer.Argument(help="Its id, as `rules list` shows it.", show_default=False)],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what a rule means, which series it reads now, where its alerts stand, and who changed it when."""
    settings = context.start()
    with RuleStore(settings) as store:
        rule = next((each for each in store.rules() if rule_id in {each.rule_id, each.name}), None)
        stored = store.stored()
    if rule is None:
        raise UsageFailure(f"there is no rule {rule_id!r}; see `atalaia rules list`")
    history, now_ms = History(settings), time.time_ns() // 1_000_000
    read = {
        need.metric_name: [each.series.labels() for each in history.series(need, from_ms=now_ms - DAY_MS, to_ms=now_ms)]
        for need in needs(rule)
    }
    alerts = Told(settings).of_rule(rule.rule_id)
    states = [{"status": each["status"], "since": each["starts_at"], "labels": each["labels"]} for each in alerts]
    if output is Output.JSON:
        found = to_document(rule) | {"promql": printing.text(tree(rule)), "reads": read, "alerts": states}
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2, default=str))
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, text in _facts(rule, stored.get(rule.rule_id)):
        console.print(f"[bold]{name:<10}[/] {escape(str(printable(text)))}")
    for metric, series in read.items():
        console.print(f"[bold]{'reads':<10}[/] {escape(metric)}: {len(series):,} series in the last day")
        _list(console, [_labels(each) for each in series])
    console.print(f"[bold]{'alerts':<10}[/] {len(states):,} known")
    _list(
        console,
        [f"{each['status']} since {each['since']:%Y-%m-%d %H:%M:%S}: {_labels(each['labels'])}" for each in states],
    )


def _facts(rule: Rule, stored: Stored | None) -> list[tuple[str, str]]:
    """What the rule itself says, for people."""
    facts = [
        ("rule", f"{rule.name} ({rule.rule_id}), version {rule.version}" + ("" if rule.is_active else ", inactive")),
        ("fires when", condition_text(rule)),
        ("as PromQL", printing.text(tree(rule)) + _comparison(rule)),
        (
            "severity",
            ", ".join([rule.severity, *(f"{each.severity} at {number_text(each.threshold)}" for each in rule.levels)]),
        ),
        ("judged", "each series by itself" if rule.expression is None else "over all series together"),
    ]
    optional: list[tuple[str, Any]] = [
        ("for", durations.text(rule.hold) if rule.hold else None),
        ("goes on", f"{durations.text(rule.keep_firing)} after it has recovered" if rule.keep_firing else None),
        ("recovers", f"beyond {number_text(rule.recovery)}" if rule.recovery is not None else None),
        ("N of M", f"{rule.needed} of {rule.of_last} steps" if rule.of_last > 1 else None),
        ("needs", f"{rule.minimum_count} events" if rule.minimum_count else None),
        ("complete", f"at least {rule.minimum_completeness:.0%}" if rule.minimum_completeness else None),
        ("owner", rule.owner),
        ("actions", "; ".join(rule.actions) or None),
        ("runbook", dict(rule.annotations).get("runbook_url")),
    ]
    facts += [(name, str(value)) for name, value in optional if value is not None]
    if stored is None:
        return [*facts, ("changed", "never: it comes installed, or from a configured file")]
    at = datetime.fromtimestamp(stored.updated_at_ms / 1000, UTC)
    return [*facts, ("changed", f"{at:%Y-%m-%d %H:%M:%S} UTC by {stored.updated_by or 'somebody'}")]


def _comparison(rule: Rule) -> str:
    return "" if rule.comparison is None else f" {rule.comparison} {number_text(rule.threshold)}"


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(
        f"{name}={value}" for name, value in sorted(labels.items()) if name not in {"metric_name", "tenant"}
    )


def _list(console: Console, lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        console.print(f"{'':<10} {escape(str(printable(line)))}")
    if len(lines) > _SHOWN:
        console.print(f"{'':<10} … and {len(lines) - _SHOWN:,} more; -o json has them all")
