"""Columns of a result as a plot in the terminal: lines over time, bars over names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import plotext
from rich.text import Text

from atalaia.infra.errors import UsageFailure

LINES: Final = 18
MOST_BARS: Final = 40
MOST_SERIES: Final = 8
_TICKS: Final = 6
_COLUMNS: Final = 120
_FORMS: Final = ((3 * 86_400, "%Y-%m-%d"), (86_400, "%m-%d %H:%M"), (-1, "%H:%M"))
"""How instants are written when so many seconds lie between the first and the last."""

Rows = Sequence[Sequence[Any]]


def plot(names: Sequence[str], rows: Rows, *, columns: int) -> Text:
    """The first column across, the numeric ones up. A column of names between them makes a line for each name.

    UsageFailure where there is nothing to plot.
    """
    if not rows:
        raise UsageFailure("nothing to plot: the query gave no rows")
    numeric = [at for at in range(1, len(names)) if any(_is_number(row[at]) for row in rows)]
    if not numeric:
        raise UsageFailure(
            f"--plot needs a first column of times or names, then a numeric one; the query gave {', '.join(names)}"
        )
    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(columns, _COLUMNS), LINES)
    figure.theme("simple")
    figure.title(", ".join(names[at] for at in numeric))
    if isinstance(rows[0][0], date):
        _lines(figure, series(names, rows, numeric))
    else:
        _bars(figure, rows[:MOST_BARS], numeric[0])
    return Text.from_ansi(str(figure.build()))


def series(names: Sequence[str], rows: Rows, numeric: Sequence[int]) -> dict[str, list[tuple[date, float]]]:
    """The points of each line. Without a column of names, a line a numeric column; with one, a line a name.

    >>> day = date(2026, 1, 1)
    >>> series(["day", "who", "n"], [(day, "a", 1), (day, "b", 2)], [2])
    {'a': [(datetime.date(2026, 1, 1), 1.0)], 'b': [(datetime.date(2026, 1, 1), 2.0)]}
    """
    lines: dict[str, list[tuple[date, float]]] = {}
    named = [at for at in range(1, len(names)) if at not in numeric]
    for row in rows:
        prefix = " ".join(str(row[at]) for at in named if row[at] not in {None, ""})
        for at in numeric:
            name = " ".join(part for part in (prefix, names[at] if len(numeric) > 1 or not prefix else "") if part)
            if _is_number(row[at]):
                lines.setdefault(name, []).append((row[0], float(row[at])))
    return lines


def _lines(figure: Any, lines: dict[str, list[tuple[date, float]]]) -> None:
    chosen = sorted(lines.items(), key=lambda line: -sum(abs(value) for _, value in line[1]))[:MOST_SERIES]
    for name, points in chosen:
        drawn = figure.signal([_seconds(at) for at, _ in points], [value for _, value in points], marker="braille")
        drawn.lines()
        if len(chosen) > 1:
            drawn.label(name)
        figure.draw(drawn)
    instants = [_seconds(at) for _, points in chosen for at, _ in points]
    first, last = min(instants), max(instants)
    ticks = [first + (last - first) * step / _TICKS for step in range(_TICKS + 1)] if last > first else [first]
    form = next(form for seconds, form in _FORMS if last - first > seconds)
    figure.ruler(axis=0).ticks(ticks, [datetime.fromtimestamp(tick, UTC).strftime(form) for tick in ticks])


def _bars(figure: Any, rows: Rows, at: int) -> None:
    figure.draw(figure.bar([str(row[0]) for row in rows], [float(row[at] or 0) for row in rows]))


def _seconds(at: date) -> float:
    """All times are UTC, as in the tables."""
    moment = at if isinstance(at, datetime) else datetime(at.year, at.month, at.day, tzinfo=UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
