"""Objectives and error budgets, drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atalaia.alerting import durations
from atalaia.alerting.publishing import Applied, Change
from atalaia.alerting.rules import number_text
from atalaia.alerting.slo.budget import Budget, Rates, burn_down
from atalaia.alerting.slo.history import Standing
from atalaia.alerting.slo.objectives import Slo
from atalaia.alerting.slo.watched import Watched
from atalaia.alerting.writing.document import to_document
from atalaia.alerting.writing.loader import Problem
from atalaia.cli.plot import plot as drawn

_BAR: Final = 40
_LOW: Final = 0.25
"""A budget of which less than this is left is shown in yellow."""
_CHANGE_STYLES: Final = {Change.CREATED: "green", Change.UPDATED: "yellow", Change.UNCHANGED: "dim"}


class Form(StrEnum):
    """How objectives are printed."""

    YAML = "yaml"
    JSON = "json"


def problems(found: Iterable[Problem], doubted: Iterable[Problem], *, err: bool = False) -> None:
    """One line a problem, with its place."""
    for listed, colour in ((found, typer.colors.RED), (doubted, typer.colors.YELLOW)):
        for problem in listed:
            place = typer.style(f"{problem.file}:{problem.line}:{problem.column}:", bold=True)
            typer.echo(f"{place} {typer.style(problem.message, fg=colour)}", err=err)


def applied(planned: Sequence[Applied], deleted: Sequence[str], *, as_json: bool) -> None:
    """What became of each alert."""
    if as_json:
        found = [to_document(one.rule) | {"change": one.change.value} for one in planned]
        typer.echo(
            json.dumps([*found, *({"id": one, "change": "deleted"} for one in deleted)], ensure_ascii=False, indent=2)
        )
        return
    console = Console(highlight=False, soft_wrap=True)
    for one in planned:
        change = f"[{_CHANGE_STYLES[one.change]}]{one.change:<9}[/]"
        active = f"{one.rule.severity}" if one.rule.is_active else "[dim]inactive[/]"
        console.print(f"{change} [bold]{escape(one.rule.rule_id)}[/] v{one.rule.version}  {active}")
    for rule_id in deleted:
        console.print(f"[red]deleted  [/] [bold]{escape(rule_id)}[/]")


def listed(found: Sequence[Watched]) -> None:
    """A line an objective."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "service", "objective", "window", "budget", "calls", "owner"):
        shown.add_column(title, justify="right" if title in {"objective", "budget"} else "left", overflow="fold")
    for one in found:
        slo = one.slo
        calls = ", ".join(
            f"{rule.rule_id.rpartition('-')[2]} ({rule.severity})" for rule in one.rules if rule.is_active
        )
        shown.add_row(
            escape(slo.name),
            escape(slo.service),
            f"{slo.objective:g} %",
            durations.text(slo.window),
            span(slo.budget_time),
            calls or "-",
            escape(slo.owner or "-"),
        )
    Console().print(shown)


def shown(slo: Slo, standings: Sequence[Standing], *, now_ms: int, plot: bool) -> None:
    """Everything about the budgets of an objective."""
    console = Console(highlight=False)
    window = durations.text(slo.window)
    console.print(
        f"[bold]{escape(slo.name)}[/]  {slo.objective:g} % over {window}: a budget of {slo.budget * 100:g} %, "
        f"or {span(slo.budget_time)}"
    )
    if slo.description:
        console.print(escape(slo.description))
    if not standings:
        console.print(f"No events in the last {window}: nothing is spent.")
    for standing in standings:
        _standing(console, standing)
        if plot:
            points = burn_down(slo, standing.hours, now_ms=now_ms)
            rows = [(datetime.fromtimestamp(at_ms / 1000, UTC), left * 100) for at_ms, left in points]
            columns = shutil.get_terminal_size().columns
            console.print(drawn(["at", "budget left, %"], rows, columns=columns))


def as_data(slo: Slo, standings: Sequence[Standing]) -> dict[str, Any]:
    """The same for programs; times in seconds."""
    return {
        "name": slo.name,
        "service": slo.service,
        "objective": slo.objective,
        "window": durations.text(slo.window),
        "budgets": [{"labels": dict(one.labels)} | _budget_data(one.budget) for one in standings],
    }


def span(duration: timedelta) -> str:
    """A duration for people, in one unit with a decimal.

    >>> span(timedelta(hours=3.6)), span(timedelta(minutes=-3)), span(timedelta(days=30))
    ('3.6 h', '-3 min', '30 d')
    """
    seconds = duration.total_seconds()
    unit, name = next(
        ((unit, name) for unit, name in ((172_800, "d"), (3_600, "h"), (60, "min")) if abs(seconds) >= unit), (1, "s")
    )
    return f"{number_text(round(seconds / min(unit, 86_400), 1))} {name}"


def _standing(console: Console, standing: Standing) -> None:
    budget = standing.budget
    group = ", ".join(f"{name}={value}" for name, value in standing.labels)
    style = "red" if budget.remaining <= 0 else "yellow" if budget.remaining < _LOW else "green"
    filled = round(min(max(budget.remaining, 0.0), 1.0) * _BAR)
    console.print(f"\n[bold]{escape(group) or 'all events'}[/]")
    console.print(f"  [{style}]{'█' * filled}[/][dim]{'░' * (_BAR - filled)}[/] {budget.remaining:.1%} left")
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    good = budget.good_share
    facts.add_row("events", f"{number_text(budget.total)}, {number_text(budget.bad)} of them bad")
    facts.add_row("good", "-" if good is None else f"{good:.4%}")
    facts.add_row("consumed", f"{budget.consumed:.1%} of the budget, or {span(budget.budget_time * budget.consumed)}")
    facts.add_row("remaining", f"{budget.remaining:.1%}, or {span(budget.remaining_time)}")
    facts.add_row("burns now", _rate(budget.burn_now))
    facts.add_row("at that rate", _exhausted(budget))
    console.print(facts)
    rates = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("alert", "at", "long", "burns", "short", "burns", ""):
        rates.add_column(title, justify="right" if title in {"at", "burns"} else "left")
    for one in budget.rates:
        rates.add_row(*_rates(one))
    console.print(rates)


def _rates(rates: Rates) -> list[str]:
    burn = rates.burn
    return [
        burn.urgency.value,
        f"{burn.rate:g}x",
        durations.text(burn.long),
        _rate(rates.long),
        durations.text(burn.short),
        _rate(rates.short),
        "[red]burning[/]" if rates.fires else "",
    ]


def _rate(rate: float | None) -> str:
    return "too few events" if rate is None else f"{rate:.2f}x"


def _exhausted(budget: Budget) -> str:
    match budget.exhausted_in:
        case None:
            return "it lasts"
        case left if not left:
            return "it is gone"
        case left:
            return f"it is gone in {span(left)}"


def _budget_data(budget: Budget) -> dict[str, Any]:
    left = budget.exhausted_in
    return {
        "events": budget.total,
        "bad": budget.bad,
        "good_share": budget.good_share,
        "consumed": budget.consumed,
        "remaining": budget.remaining,
        "budget_seconds": budget.budget_time.total_seconds(),
        "remaining_seconds": budget.remaining_time.total_seconds(),
        "burn_rate": budget.burn_now,
        "exhausted_in_seconds": None if left is None else left.total_seconds(),
        "burns": [
            {
                "alert": one.burn.urgency.value,
                "rate": one.burn.rate,
                "long": durations.text(one.burn.long),
                "long_rate": one.long,
                "short": durations.text(one.burn.short),
                "short_rate": one.short,
                "fires": one.fires,
            }
            for one in budget.rates
        ],
    }
