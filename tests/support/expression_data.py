"""Trees of all shapes, for property tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import (
    Absent,
    Apply,
    Binary,
    Calendar,
    Expression,
    Function,
    Grouping,
    Matcher,
    Matching,
    MatchOperator,
    Number,
    Operator,
    Period,
    Read,
    Reduce,
    Reduction,
    Rolling,
    Selector,
)

METRICS = ["cpu_usage", "http_requests", "http_request_duration", "conversion_rate", "order_value", "our own 🔥", "by"]
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.sampled_from(["service_name", "region", "host", "endpoint", "a b", "é"])
numbers = st.floats(allow_nan=False, allow_infinity=False)
groupings = st.builds(Grouping, st.lists(names, unique=True, max_size=3).map(tuple), without=st.booleans())


def _matcher(label: str, operator: MatchOperator, value: str) -> Matcher:
    pattern = operator in {MatchOperator.MATCHES, MatchOperator.NOT_MATCHES}
    return Matcher(label, operator, f"{value.encode().hex()}.*|x" if pattern else value)


matchers = st.builds(_matcher, names, st.sampled_from(MatchOperator), st.just("") | texts)
selectors = st.builds(Selector, st.sampled_from(METRICS), st.lists(matchers, max_size=3).map(tuple))
aggregates = (
    st.sampled_from(Aggregate)
    | st.builds(Quantile, st.floats(0, 1))
    | st.builds(CountWithin, high=numbers)
    | st.builds(CountWithin, low=st.floats(-9, 0), high=st.floats(0, 9))
)
spans = st.sampled_from([1, 5, 60, 180, 60 * 24 * 31]).map(lambda n: Rolling(timedelta(minutes=n))) | st.builds(
    Calendar, st.sampled_from(Period), st.sampled_from(["UTC", "America/Sao_Paulo"])
)
offsets = st.sampled_from([0, 5, 60, 7 * 24 * 60]).map(lambda n: timedelta(minutes=n))
readings = st.builds(Read, selectors, aggregates, spans, offsets, st.none() | groupings)
matchings = st.just(Matching()) | st.builds(
    Matching,
    st.lists(names, unique=True, max_size=2).map(tuple),
    on=st.booleans(),
    group=st.sampled_from([None, "left", "right"]),
    include=st.just(()),
)


def _around(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    constants = st.builds(Number, numbers)
    reductions: Any = st.builds(
        Reduce,
        st.sampled_from(sorted(set(Reduction) - {Reduction.TOPK, Reduction.BOTTOMK, Reduction.QUANTILE})),
        inner,
        groupings,
    )
    chosen: Any = st.builds(Reduce, st.just(Reduction.TOPK), inner, groupings, st.integers(1, 9).map(float))
    applied: Any = st.builds(Apply, st.sampled_from([Function.ABS, Function.LN]), inner)
    clamped: Any = st.builds(Apply, st.just(Function.CLAMP), inner, st.tuples(numbers, numbers))
    absences: Any = st.builds(Absent, inner, st.just(()) | st.just((("region", "BR"),)))
    matched: Any = st.builds(Binary, st.sampled_from(Operator), inner, inner, matchings)
    scaled: Any = st.builds(
        Binary,
        st.sampled_from([Operator.DIVIDE, Operator.ABOVE, Operator.POWER, Operator.SUBTRACT, Operator.EQUAL]),
        inner,
        constants,
    )
    turned: Any = st.builds(Binary, st.sampled_from([Operator.SUBTRACT, Operator.POWER]), constants, inner)
    divided: Any = st.builds(
        Binary, st.just(Operator.DIVIDE), inner, inner, minimum_denominator=st.sampled_from([0.0, 20.0])
    )
    return st.one_of(reductions, chosen, applied, clamped, absences, matched, scaled, turned, divided)


expressions: st.SearchStrategy[Expression] = st.recursive(readings, _around, max_leaves=8)
