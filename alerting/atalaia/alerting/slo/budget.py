"""How much of an objective's error budget is spent, and how long the rest lasts: pure functions over counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from atalaia.alerting import durations
from atalaia.alerting.slo.burn import Burn, burns_of
from atalaia.alerting.slo.objectives import Slo
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

NOW: Final = timedelta(hours=1)
"""The window of the burn rate now: the shortest that the table trusts (`burn.TABLE`)."""


class Counts(NamedTuple):
    """The events of a span that starts at `start_ms`."""

    start_ms: int
    total: float
    bad: float


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast the budget burnt in the two windows of a burn; None where there were no events, or too few."""

    burn: Burn
    long: float | None
    short: float | None

    @property
    def fires(self) -> bool:
        """Whether both are above the rate."""
        return self.long is not None and self.short is not None and min(self.long, self.short) > self.burn.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """An error budget at an instant; shares are of the budget (1 is all of it), and may pass it.

    Before there are any events nothing is spent.
    """

    total: float
    bad: float
    consumed: float
    remaining: float
    """Below zero: overspent."""
    budget_time: timedelta
    """How long everything may fail in a window; 3.6 h for 99.5 % of 30 days."""
    remaining_time: timedelta
    burn_now: float | None
    """Over the last hour; None without events."""
    exhausted_in: timedelta | None
    """When the budget will be gone if it goes on burning as now; None: never, or not within a window from now."""
    rates: tuple[Rates, ...]

    @property
    def good_share(self) -> float | None:
        """What is compared with the objective: 0 to 1; None without events."""
        return 1 - self.bad / self.total if self.total else None


def budget_of(slo: Slo, hours: Sequence[Counts], minutes: Sequence[Counts], *, now_ms: int) -> Budget:
    """The budget of an objective at `now_ms`.

    `hours` are counts by the hour, over the objective's window and in order; `minutes`, by the minute, over as much as
    the burn windows of up to 6 h (of a 30 d objective) need. Windows end with the running minute, or hour, as far as it
    has come; so one of n hours reaches back to the start of the n-th hour before it ends.
    """
    total, bad = over(hours, slo.window, HOUR_MS, now_ms)
    consumed = bad / (total * slo.budget) if total else 0.0
    burn_now = burn_rate(slo, *over(minutes, NOW, MINUTE_MS, now_ms))
    return Budget(
        total=total,
        bad=bad,
        consumed=consumed,
        remaining=1 - consumed,
        budget_time=slo.budget_time,
        remaining_time=slo.budget_time * (1 - consumed),
        burn_now=burn_now,
        exhausted_in=exhausted_in(slo, hours, burn_now, now_ms=now_ms),
        rates=tuple(_rates(slo, burn, hours, minutes, now_ms) for burn in burns_of(slo)),
    )


def burn_rate(slo: Slo, total: float, bad: float) -> float | None:
    """How many times faster than evenly over its window the budget burns; None of no events.

    >>> from atalaia.alerting.slo.document import from_document
    >>> slo = from_document({"name": "api", "service": "api", "objective": 99.5,
    ...                      "sli": {"values": "http_request_duration", "at_most": 500}})
    >>> burn_rate(slo, 1000, 72)
    14.4
    """
    return round(bad / total / slo.budget, 9) if total else None


def over(counts: Sequence[Counts], window: timedelta, step_ms: int, now_ms: int) -> tuple[float, float]:
    """Total and bad events of the window that ends with the running step."""
    end_ms = now_ms - now_ms % step_ms + step_ms
    start_ms = end_ms - durations.milliseconds(window)
    inside = [count for count in counts if start_ms <= count.start_ms < end_ms]
    return sum(count.total for count in inside), sum(count.bad for count in inside)


def exhausted_in(slo: Slo, hours: Sequence[Counts], burn_now: float | None, *, now_ms: int) -> timedelta | None:
    """How long until the budget is gone, with as many events as on average and as many of them bad as in the last hour.

    The window moves on meanwhile: what falls out of it is no longer spent. Zero where it is gone already, None where
    it is not going to be within a window's length.
    """
    end_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
    length = slo.window // timedelta(hours=1)
    inside = {count.start_ms: count for count in hours}
    kept = [inside.get(end_ms - ago * HOUR_MS, Counts(0, 0.0, 0.0)) for ago in range(length, 0, -1)]
    total, bad = sum(count.total for count in kept), sum(count.bad for count in kept)
    if bad > slo.budget * total:
        return timedelta()
    if not burn_now or not total:
        return None
    first = next(at for at, count in enumerate(kept) if count.total)
    hourly = total / (length - first)  # a service that is new had no events before its first
    for hour, leaving in enumerate(kept, start=1):
        total += hourly - leaving.total
        before, bad = bad, bad + hourly * slo.budget * burn_now - leaving.bad
        if bad > slo.budget * total * (1 + 1e-9):
            spent = bad - before
            over_by = bad - slo.budget * total
            return timedelta(hours=hour - (min(over_by / spent, 1.0) if spent > 0 else 0.0))
    return None


def _rates(slo: Slo, burn: Burn, hours: Sequence[Counts], minutes: Sequence[Counts], now_ms: int) -> Rates:
    fine_until = minutes_needed(slo)

    def counted(window: timedelta) -> tuple[float, float]:
        fine = window <= fine_until
        return over(minutes if fine else hours, window, MINUTE_MS if fine else HOUR_MS, now_ms)

    long, short = counted(burn.long), counted(burn.short)
    enough = long[0] >= slo.minimum_events and long[1] >= slo.minimum_bad
    return Rates(burn, burn_rate(slo, *long) if enough else None, burn_rate(slo, *short))


def minutes_needed(slo: Slo) -> timedelta:
    """How far back counts by the minute are needed; longer windows are read by the hour.

    >>> from atalaia.alerting.slo.document import from_document
    >>> slo = from_document({"name": "api", "service": "api", "objective": 99.5,
    ...                      "sli": {"values": "http_request_duration", "at_most": 500}})
    >>> minutes_needed(slo)
    datetime.timedelta(seconds=21600)
    """
    return max(NOW, *(burn.short for burn in burns_of(slo)))


def burn_down(slo: Slo, hours: Sequence[Counts], *, now_ms: int) -> list[tuple[int, float]]:
    """How the budget of the window that ends now was spent: at the end of each hour, the share that was left.

    The last point is what remains; the steps are what each hour took.
    """
    end_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
    start_ms = end_ms - durations.milliseconds(slo.window)
    inside = [count for count in hours if start_ms <= count.start_ms < end_ms]
    allowed = slo.budget * sum(count.total for count in inside)
    points, bad = [(start_ms, 1.0)], 0.0
    for count in inside:
        bad += count.bad
        points.append((count.start_ms + HOUR_MS, 1 - bad / allowed if allowed else 1.0))
    return points
