"""Every rule is a tree, whichever way it was spelled, and says what it is in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import (
    Calendar,
    Expression,
    Number,
    Period,
    Read,
    Reduce,
    Reduction,
    Rolling,
    Selector,
)
from atalaia.alerting.promql import parse, text
from atalaia.alerting.rules import Comparison, Rule, RuleError, condition_text, tree
from atalaia.alerting.writing.document import from_document


def rule(**fields: Any) -> Rule:
    """A rule with a name."""
    return from_document({"name": "x"} | fields)


@pytest.mark.parametrize(
    ("fields", "promql"),
    [
        ({"metric": "cpu_usage", "condition": "> 5"}, "cpu_usage"),
        ({"metric": "revenue_hourly", "condition": "> 5"}, "last_over_time(revenue_hourly[2h])"),
        ({"metric": "cpu_usage", "where": {"host": "a"}, "aggregate": "max", "window": "1h", "condition": "> 5"},
         'max_over_time(cpu_usage{host="a"}[1h])'),
        ({"metric": "cpu_usage", "tenant": "acme", "condition": "> 5"}, 'cpu_usage{tenant="acme"}'),
        ({"expr": "max(cpu_usage) / min(memory_usage) > 5", "tenant": "acme"},
         'max(cpu_usage{tenant="acme"}) / min(memory_usage{tenant="acme"})'),
        ({"expr": "absent(up)", "tenant": "acme"}, 'absent(service_up{tenant="acme"})'),
    ],
)  # fmt: skip
def test_the_tree_of_a_rule(fields: dict[str, Any], promql: str) -> None:
    """The number that is compared, of the rule's own tenant alone; the bare form looks back as far as it is judged."""
    assert text(tree(rule(**fields))) == promql


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"expr": "sum by (region) (increase(order_value[1h])) > 500"},
         "sum by (region) (increase(order_value[1h])) > 500 BRL"),
        ({"expr": "max(cpu_usage) > 90", "n_of_m": "3 of 5", "for": "5m"},
         "max(cpu_usage) > 90 % in 3 of 5 steps for 5m"),
        ({"expr": "absent(up)"}, "absent(service_up)"),
        ({"expr": "up == 0"}, "last of service_up over 5m == 0, or silent for 1m"),
        ({"metric": "service_up", "absent_for": "5m"}, "service_up silent for 5m"),
        ({"expr": "sum(rate(order_value[5m])) < 5"}, "sum(rate(order_value[5m])) < 5 BRL/s"),
        ({"expr": "count(cpu_usage) < 5"}, "count(cpu_usage) < 5"),
        ({"expr": "cpu_usage - cpu_usage offset 1h > 5"}, "cpu_usage - cpu_usage offset 1h > 5 %"),
        ({"expr": "max(cpu_usage) / min(cpu_usage) > 5"}, "max(cpu_usage) / min(cpu_usage) > 5"),
    ],
)  # fmt: skip
def test_a_condition_in_words(fields: dict[str, Any], said: str) -> None:
    """Value, limit, unit as far as there is one, steps, hold and silence."""
    assert condition_text(rule(**fields)) == said


def test_texts_and_owners_decide_nothing() -> None:
    """Whoever changes them keeps the alerts' state; whoever changes an expression does not."""
    one = rule(expr="max(cpu_usage) > 5")
    assert one.same_condition(rule(expr="max(cpu_usage) > 5", owner="me", summary="s", notify_amendments=True))
    assert not one.same_condition(rule(expr="min(cpu_usage) > 5"))
    assert not one.same_condition(rule(expr="max(cpu_usage) > 5", minimum_completeness=0.9))


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (Number(5), "expr reads no metric"),
        (
            Reduce(Reduction.SUM, Read(Selector("cpu_usage"), Aggregate.AVG, Rolling(timedelta(hours=1)))),
            "expr a sum of averages means nothing",
        ),
        (Read(Selector("cpu_usage"), Aggregate.SUM, Rolling(timedelta(hours=1))), "cpu_usage: the aggregate is sum"),
        (Read(Selector("cpu_usage"), Aggregate.MAX, Rolling(timedelta(days=99))), "the window is 99d"),
        (Read(Selector("cpu_usage"), Aggregate.MAX, Calendar(Period.DAY, "Mars")), "the zone is 'Mars'"),
        (
            Read(Selector("cpu_usage"), Aggregate.MAX, Calendar(Period.DAY), timedelta(seconds=1)),
            "the offset is 1s; it must be whole minutes",
        ),
    ],
)
def test_what_an_expression_may_not_read(expression: Expression, said: str) -> None:
    """Trees from programs are checked as those from texts are."""
    with pytest.raises(RuleError) as caught:
        Rule(rule_id="r", name="R", metric_name="cpu_usage", comparison=None, threshold=0.0, expression=expression)
    assert said in str(caught.value)


def test_an_expression_is_all_that_a_rule_reads() -> None:
    """A window beside it would say something else."""
    with pytest.raises(RuleError, match="leave out where, aggregate and window"):
        Rule(
            rule_id="r",
            name="R",
            metric_name="cpu_usage",
            comparison=Comparison.ABOVE,
            threshold=0.0,
            expression=parse("max(cpu_usage)"),
            window=timedelta(hours=1),
        )
