"""Trees as PromQL: what is written means the same again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from expression_data import expressions
from hypothesis import assume, given

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Calendar, Expression, Grouping, Period, Read, Rolling, Selector
from atalaia.alerting.promql import PromqlError, parse, text


@given(expressions)
def test_what_is_parsed_from_a_text_prints_to_a_text_of_the_same_tree(expression: Expression) -> None:
    """text, parse, text, parse: after the first parse nothing changes any more."""
    try:
        parsed = parse(text(expression))
    except PromqlError:
        assume(condition=False)
        raise
    assert parse(text(parsed)) == parsed


@pytest.mark.parametrize(
    "written",
    [
        "cpu_usage",
        "cpu_usage offset 1h > 90",
        'max by (region) (cpu_usage{host=~"a|b", unit!="x"}) - min(cpu_usage) >= 5',
        "sum by (service_name) (increase(http_requests[5m])) / sum by (service_name) (increase(http_requests[1h]))",
        "rate(http_request_duration_count[5m])",
        "increase(http_request_duration_sum[5m]) / count_over_time(http_request_duration[5m])",
        'sum(increase(http_request_duration_bucket{endpoint="/", le="500"}[5m]))',
        "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_bucket[5m])))",
        "histogram_quantile(0.9, sum without (method) (rate(http_request_duration_bucket[5m])))",
        "quantile_over_time(0.999, http_request_duration[5m])",
        "last_over_time(http_requests[5m])",
        "last_over_time(cpu_usage[10m])",
        'absent(service_up{service_name="api"})',
        "absent_over_time(http_requests[10m])",
        "absent(max(cpu_usage))",
        "sum(increase(http_requests[5m])) or vector(0)",
        "cpu_usage * on (host) group_left (region) memory_usage",
        "cpu_usage and on () memory_usage > 5",
        "cpu_usage > bool 5 == 1",
        "(cpu_usage + 1) * 2",
        "cpu_usage - (1 - memory_usage)",
        "cpu_usage ^ memory_usage ^ 2",
        "(cpu_usage ^ 2) ^ memory_usage",
        "(cpu_usage or memory_usage) and disk_usage",
        "(-2) ^ cpu_usage",
        "topk by (region) (3, cpu_usage)",
        "clamp(round(cpu_usage, 0.5), 0, 100)",
        '{"our own", "a b"="c"} > 5',
    ],
)
def test_the_usual_spelling_stays(written: str) -> None:
    """What people write as we do comes back letter by letter."""
    assert text(parse(written)) == written


def test_what_promql_has_no_words_for_is_readable() -> None:
    """Calendar windows and pooled averages are written in its manner."""
    today = Read(Selector("order_value"), Aggregate.SUM, Calendar(Period.DAY, "UTC"), grouping=Grouping(()))
    assert text(today) == "sum(increase(order_value[this day in UTC]))"
    mean = Read(Selector("cpu_usage"), Aggregate.AVG, Rolling(timedelta(minutes=5)), grouping=Grouping(("region",)))
    assert text(mean) == "pooled by (region) (avg_over_time(cpu_usage[5m]))"
