"""What more events do to a condition, and what data it is about."""

from __future__ import annotations

import pytest

from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import Absent
from atalaia.alerting.promql import parse, split, text
from atalaia.alerting.shared.outlook import must_settle, observed


@pytest.mark.parametrize(
    ("written", "waits"),
    [
        ("sum(increase(tried_total[1h])) > 5", False),
        ("sum(increase(tried_total[1h])) < 5", True),
        ("sum(increase(tried_total[1h])) == 5", True),
        ("5 > sum(increase(tried_total[1h]))", True),
        ("increase(tried_total[1h]) * 2 + 1 <= 5", True),
        ("increase(tried_total[1h]) * -1 > -5", True),
        ("10 - increase(tried_total[1h]) > 5", True),
        ("avg_over_time(level[1h]) < 5", False),
        ("count(level) < 2", False),
        ("increase(failed_total[5m]) / increase(tried_total[5m]) > 0.5", False),
        ("increase(good_total[5m]) / increase(tried_total[5m]) < 0.5", False),
        ("increase(tried_total[1h]) / increase(tried_total[1h] offset 1d) < 0.5", True),
        (
            "increase(tried_total[1h]) / increase(tried_total[1h] offset 1d) > 2",
            True,
        ),  # what is compared with may be late
        ("increase(tried_total[5m]) > 5 and level < 3", False),
        ("increase(tried_total[5m]) > 5 unless increase(failed_total[5m]) > 3", True),
        ("level > 3 and increase(tried_total[5m]) < 3", True),
        ("stddev(increase(tried_total[5m])) > 3", True),
        ("abs(increase(tried_total[5m]) - 5) > 3", True),
        ("absent(increase(tried_total[5m]))", False),
        ("(increase(tried_total[5m]) > bool 5) == 0", True),
    ],
)
def test_what_may_be_too_low_waits(written: str, waits: bool) -> None:  # noqa: FBT001 - a column of the table
    """Where a sum that is not all there yet could make the condition hold, and nowhere else."""
    expression, comparison, _ = split(parse(written))
    assert must_settle(expression, comparison) is waits
    whole = parse(written)
    assert must_settle(whole) is waits
    assert comparison is None or isinstance(comparison, Comparison)


@pytest.mark.parametrize(
    ("written", "opened"),
    [
        ("level > 5", "level > bool 5"),
        ("level > 5 and tried < 3", "(level > bool 5) and (tried < bool 3)"),
        ("level > 5 unless tried < 3", "level > bool 5"),
        ("topk(3, level)", "level"),
        ("sum by (job) (level > 5)", "sum by (job) (level > bool 5)"),
        ("level > 5 or tried > 3", "(level > bool 5) or (tried > bool 3)"),
    ],
)
def test_filters_are_opened(written: str, opened: str) -> None:
    """What is left has a value wherever there is data to decide by."""
    assert text(observed(parse(written))) == text(parse(opened))


def test_absence_is_always_decided() -> None:
    """What is absent or not needs no data."""
    found = observed(parse('absent(level{job="a"})'))
    assert isinstance(found, Absent)
    assert found.labels == (("service_name", "a"),)
