"""Trees come to the numbers that PromQL says, on sources made by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from atalaia.alerting.evaluating.evaluate import EvaluationError, Sample, evaluate
from atalaia.alerting.evaluating.readings import Reading
from atalaia.alerting.expressions import Labels, Read
from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.alerting.promql import parse

WINDOW = (60_000, 120_000)


@dataclass(frozen=True)
class Levels:
    """A source of one number a series: metrics, and in them labels as `a=1,b=2`; None is a silent series."""

    metrics: dict[str, dict[str, float | None]]

    def read(self, read: Read, at_ms: int) -> Iterable[tuple[Labels, Reading]]:
        """The numbers, as single events of the window; grouping is left to what is above."""
        assert read.grouping is None
        del at_ms
        for text, value in self.metrics.get(read.selector.metric_name, {}).items():
            labels = dict(pair.split("=") for pair in text.split(",") if pair)
            if read.selector.selects(labels):
                stats = None if value is None else _event(value)
                yield tuple(sorted(labels.items())), Reading(stats, WINDOW)


def _event(value: float) -> MinuteStats:
    (minute,) = minutes_of([(60_000, 0.0 if math.isnan(value) else value)])
    minute.last = minute.sum = value
    return minute


def values(text: str, **metrics: dict[str, float | None]) -> dict[str, float]:
    """What an expression comes to, by labels."""
    found = evaluate(parse(text), Levels(metrics), 90_000)
    return {",".join(f"{name}={value}" for name, value in sample.labels): sample.value for sample in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", {"q=a": 4, "q=b": 6}),
        ("m > 5", {"q=b": 6}),
        ("5 < m", {"q=b": 6}),
        ("m > bool 5", {"q=a": 0, "q=b": 1}),
        ("10 - m", {"q=a": 6, "q=b": 4}),
        ("m / 0", {"q=a": math.inf, "q=b": math.inf}),
        ("m % 4", {"q=a": 0, "q=b": 2}),
        ("2 ^ m", {"q=a": 16, "q=b": 64}),
        ("-m", {"q=a": -4, "q=b": -6}),
        ("sum(m)", {"": 10}),
        ("avg(m)", {"": 5}),
        ("count(m > 5)", {"": 1}),
        ("group(m)", {"": 1}),
        ("stdvar(m)", {"": 1}),
        ("quantile(0.5, m)", {"": 5}),
        ("topk(1, m)", {"q=b": 6}),
        ("bottomk(1, m)", {"q=a": 4}),
        ("min by (q) (m)", {"q=a": 4, "q=b": 6}),
        ("max without (q) (m)", {"": 6}),
        ("absent(m)", {}),
        ("absent(m > 100)", {"": 1}),
        ('absent(m{q="c"})', {"q=c": 1}),
        ("m and m > 5", {"q=b": 6}),
        ("m unless m > 5", {"q=a": 4}),
        ("m > 5 or m < 5", {"q=b": 6, "q=a": 4}),
        ("m - m", {"q=a": 0, "q=b": 0}),
        ("m > on() group_left() sum(n)", {"q=b": 6}),
        ("clamp(m, 5, 1)", {}),
        ("round(m / 10)", {"q=a": 0, "q=b": 1}),
        ("ln(m - 4)", {"q=a": -math.inf, "q=b": math.log(2)}),
    ],
)
def test_an_expression_has_its_values(text: str, expected: dict[str, float]) -> None:
    """As Prometheus computes them; a comparison keeps the left number, whatever side the constant is on."""
    assert values(text, m={"q=a": 4, "q=b": 6}, n={"x=1": 2, "x=2": 3}) == expected


def test_a_nan_is_in_no_comparison_but_unequal() -> None:
    """As IEEE 754 says; and it is neither the least nor the greatest."""
    level: dict[str, float | None] = {"q=a": math.nan, "q=b": 1}
    assert values("m > 0", m=level) == {"q=b": 1}
    assert values("m < 2", m=level) == {"q=b": 1}
    assert list(values("m != 1", m=level)) == ["q=a"]
    assert values("max(m)", m=level) == values("min(m)", m=level) == {"": 1}
    assert values("topk(1, m)", m=level) == {"q=b": 1}


class TestMatching:
    """Which elements belong together."""

    def test_labels_must_be_equal(self) -> None:
        """One to one, all labels count, and what has no partner is left out."""
        assert values("m / n", m={"q=a,x=1": 8, "q=b": 1}, n={"q=a,x=1": 2, "q=b,x=1": 2}) == {"q=a,x=1": 4}

    def test_on_and_ignoring_say_which(self) -> None:
        """`on` leaves only its labels, `ignoring` all others."""
        metrics: dict[str, dict[str, float | None]] = {"m": {"disk=a,kind=d": 8}, "n": {"disk=a": 2}}
        assert values("m / on(disk) n", **metrics) == values("m / ignoring(kind) n", **metrics) == {"disk=a": 4}

    def test_many_to_one_keeps_the_many(self) -> None:
        """`group_left` keeps the labels of the left side, and takes those that it names along."""
        metrics: dict[str, dict[str, float | None]] = {
            "m": {"disk=a,kind=d": 8, "disk=a,kind=e": 6},
            "n": {"disk=a,by=x": 2},
        }
        assert values("m / on(disk) group_left(by) n", **metrics) == {
            "by=x,disk=a,kind=d": 4,
            "by=x,disk=a,kind=e": 3,
        }
        assert values("n / on(disk) group_right() m", **metrics) == {"disk=a,kind=d": 0.25, "disk=a,kind=e": 1 / 3}

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("m / on(disk) n", "is matched by several series of the left side; write group_left"),
            ("n / on(disk) m", "on the right side of / match the same series"),
            ("m / on(disk) group_right() n", "on the left side of / match the same series"),
            ("m / on(disk) group_left(kind) n", "comes out more than once"),
        ],
    )
    def test_what_is_not_unique_is_an_error(self, text: str, reason: str) -> None:
        """Two partners for one element are no result but an error that names them."""
        with pytest.raises(EvaluationError) as raised:
            values(text, m={"disk=a,kind=d": 8, "disk=a,kind=e": 6}, n={"disk=a": 2})
        assert reason in str(raised.value)
        assert 'disk="a"' in str(raised.value)

    def test_what_describes_a_metric_is_no_difference(self) -> None:
        """Series of two metrics match whatever their units; of one metric, units tell them apart."""
        metrics: dict[str, dict[str, float | None]] = {
            "m": {"q=a,unit=s": 8},
            "n": {"q=a,unit=ms": 2, "q=b,unit=ms": 2},
            "o": {"q=a,unit=BRL": 8, "q=a,unit=USD": 2},
        }
        assert values("m / n", **metrics) == {"q=a": 4}
        assert values("m and n", **metrics) == {"q=a,unit=s": 8}
        assert values("o / o", **metrics) == {"q=a,unit=BRL": 1, "q=a,unit=USD": 1}


class TestSilence:
    """A series that is known and says nothing."""

    def test_an_amount_of_nothing_is_zero(self) -> None:
        """The sum, count and rate of a silent series are 0; of a level there is nothing."""
        silent: dict[str, float | None] = {"q=a": None}
        assert values("increase(m[5m])", m=silent) == {"q=a": 0}
        assert values("count_over_time(m[5m])", m=silent) == {"q=a": 0}
        assert values("m", m=silent) == values("avg_over_time(m[5m])", m=silent) == {}

    def test_within_absent_it_is_nothing(self) -> None:
        """So `absent(increase(…))` means silence."""
        assert values("absent(increase(m[5m]))", m={"q=a": None}) == {"": 1}
        assert values("absent(increase(m[5m]))", m={"q=a": 0}) == {}


def test_a_division_tells_its_parts() -> None:
    """Numerator, denominator, events and window of both sides."""
    source = Levels({"m": {"": 1}, "n": {"": 4}})
    assert evaluate(parse("m / n < 0.5"), source, 90_000) == [Sample((), 0.25, 2, 1.0, WINDOW, 1, 4)]
