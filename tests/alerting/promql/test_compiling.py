"""PromQL means of events what the metric's kind makes of it; what it cannot mean is refused, where it stands."""

from __future__ import annotations

import time
from datetime import timedelta
from random import Random

import pytest

from atalaia.alerting.aggregates import Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import (
    LOOK_BACK,
    Absent,
    Apply,
    Binary,
    Function,
    Grouping,
    Matcher,
    Matching,
    MatchOperator,
    Number,
    Operator,
    Read,
    Reduce,
    Reduction,
    Rolling,
    Selector,
)
from atalaia.alerting.promql import PromqlError, parse, text

FIVE = Rolling(timedelta(minutes=5))


def leaf(metric: str, aggregate: Aggregate | Quantile | CountWithin, grouping: Grouping | None = None) -> Read:
    """Five minutes of a metric."""
    return Read(Selector(metric), aggregate, FIVE, grouping=grouping)


CPU = leaf("cpu_usage", Aggregate.LAST)


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        ("cpu_usage", CPU),
        ("  # of all hosts\n cpu_usage{}", CPU),
        ("{__name__='cpu_usage'}", CPU),
        ("up", leaf("service_up", Aggregate.LAST)),
        ("process_resident_memory_bytes", leaf("memory_resident", Aggregate.LAST)),
        ("cpu_usage offset 1h", Read(Selector("cpu_usage"), Aggregate.LAST, FIVE, offset=timedelta(hours=1))),
        ("increase(http_requests_total[5m])", leaf("http_requests", Aggregate.SUM)),
        ("sum_over_time(http_requests[5m])", leaf("http_requests", Aggregate.SUM)),
        ("rate(http_requests_total[5m])", leaf("http_requests", Aggregate.RATE)),
        ("count_over_time(http_requests[5m])", leaf("http_requests", Aggregate.COUNT)),
        ("avg_over_time(cpu_usage[5m])", leaf("cpu_usage", Aggregate.AVG)),
        ("min_over_time(cpu_usage[5m])", leaf("cpu_usage", Aggregate.MIN)),
        ("max_over_time(cpu_usage[5m])", leaf("cpu_usage", Aggregate.MAX)),
        ("last_over_time(http_requests[5m])", leaf("http_requests", Aggregate.LAST)),
        ("first_over_time(cpu_usage[5m])", leaf("cpu_usage", Aggregate.FIRST)),
        ("present_over_time(cpu_usage[5m])", Apply(Function.CLAMP, CPU, (1, 1))),
        ("quantile_over_time(0.95, http_request_duration[5m])", leaf("http_request_duration", Aggregate.P95)),
        ("quantile_over_time(0.9, http_request_duration[5m])", leaf("http_request_duration", Quantile(0.9))),
        (
            "histogram_quantile(0.95, rate(http_request_duration_bucket[5m]))",
            leaf("http_request_duration", Aggregate.P95),
        ),
        (
            "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_bucket[5m])))",
            leaf("http_request_duration", Aggregate.P99, Grouping(("service_name",))),
        ),
        (
            "histogram_quantile(0.5, sum(increase(http_request_duration[5m])))",
            leaf("http_request_duration", Aggregate.P50, Grouping(())),
        ),
        (
            "histogram_quantile(0.5, sum without (method) (rate(http_request_duration_bucket[5m])))",
            leaf("http_request_duration", Aggregate.P50, Grouping(("method",), without=True)),
        ),
        ("rate(http_request_duration_count[5m])", leaf("http_request_duration", Aggregate.RATE)),
        ("increase(http_request_duration_sum[5m])", leaf("http_request_duration", Aggregate.SUM)),
        (
            "sum(increase(http_request_duration_bucket{le='500'}[5m]))",
            leaf("http_request_duration", CountWithin(high=500), Grouping(())),
        ),
        ("increase(http_request_duration_bucket{le='+Inf'}[5m])", leaf("http_request_duration", Aggregate.COUNT)),
        ("sum by (region) (increase(http_requests[5m]))", leaf("http_requests", Aggregate.SUM, Grouping(("region",)))),
        ("sum(rate(http_requests[5m])) by (job)", leaf("http_requests", Aggregate.RATE, Grouping(("service_name",)))),
        ("sum(count_over_time(cpu_usage[5m]))", leaf("cpu_usage", Aggregate.COUNT, Grouping(()))),
        ("max without (host) (max_over_time(cpu_usage[5m]))",
         leaf("cpu_usage", Aggregate.MAX, Grouping(("host",), without=True))),
        ("max(cpu_usage)", Reduce(Reduction.MAX, CPU)),
        ("max(min_over_time(cpu_usage[5m]))", Reduce(Reduction.MAX, leaf("cpu_usage", Aggregate.MIN))),
        ("topk by (region) (3, cpu_usage)", Reduce(Reduction.TOPK, CPU, Grouping(("region",)), 3)),
        ("quantile(0.5, cpu_usage)", Reduce(Reduction.QUANTILE, CPU, Grouping(()), 0.5)),
        ("count(cpu_usage > 90)", Reduce(Reduction.COUNT, Binary(Operator.ABOVE, CPU, Number(90)))),
        ("vector(2 * 3)", Reduce(Reduction.SUM, Number(6))),
        ("-cpu_usage", Binary(Operator.MULTIPLY, CPU, Number(-1))),
        ("90 < cpu_usage", Binary(Operator.ABOVE, CPU, Number(90))),
        ("cpu_usage > bool -2 ^ 2", Binary(Operator.ABOVE, CPU, Number(-4), as_bool=True)),
        ("memory_resident > 1.5 * 1024 ^ 3",
         Binary(Operator.ABOVE, leaf("memory_resident", Aggregate.LAST), Number(1610612736))),
        ("round(cpu_usage, 5)", Apply(Function.ROUND, CPU, (5,))),
        ("absent(up{job='api', region=~'B.'})", Absent(
            Read(Selector("service_up", (
                Matcher("service_name", MatchOperator.EQUAL, "api"),
                Matcher("region", MatchOperator.MATCHES, "B."),
            )), Aggregate.LAST, FIVE), (("service_name", "api"),))),
        ("absent_over_time(http_requests[5m])", Absent(leaf("http_requests", Aggregate.LAST))),
        ("absent(max(cpu_usage))", Absent(Reduce(Reduction.MAX, CPU))),
        ("cpu_usage and on (job) up",
         Binary(Operator.AND, CPU, leaf("service_up", Aggregate.LAST), Matching(("service_name",), on=True))),
        ("cpu_usage * on (host) group_left (region) memory_usage",
         Binary(Operator.MULTIPLY, CPU, leaf("memory_usage", Aggregate.LAST),
                Matching(("host",), on=True, group="left", include=("region",)))),
        ("cpu_usage unless ignoring (unit) memory_usage",
         Binary(Operator.UNLESS, CPU, leaf("memory_usage", Aggregate.LAST), Matching(("unit",)))),
    ],
)  # fmt: skip
def test_what_is_understood(written: str, tree: object) -> None:
    """Each function of the subset is the reading that the metric's kind makes of it."""
    assert parse(written) == tree


def test_the_look_back_is_prometheus() -> None:
    """A selector without a range looks back five minutes."""
    assert CPU.span == Rolling(LOOK_BACK)


def test_labels_of_the_usual_libraries() -> None:
    """`status` is a metric's `status_code` where it has that and no `status`; all other names stay."""
    assert parse("rate(http_requests{status=~'5..'}[5m])") == parse("rate(http_requests{status_code=~'5..'}[5m])")
    assert "status=~" in text(parse("cpu_usage{status=~'5..'}"))


@pytest.mark.parametrize(
    ("written", "line", "column", "reason"),
    [
        ("", 1, 1, "the expression is empty"),
        ("# nothing", 1, 10, "the expression is empty"),
        ("cpu_usage +", 1, 12, "ends where a value should follow"),
        ("cpu_usage\n  > > 5", 2, 5, "> stands where a value should be"),
        ("cpu_usage memory_usage", 1, 11, "an operator is missing before memory_usage"),
        ("max(cpu_usage", 1, 4, "this ( is not closed"),
        ("max(cpu_usage))", 1, 15, "this ) closes nothing"),
        ("cpu_usage[5m", 1, 10, "this [ is not closed"),
        ("cpu_usage{a='b'", 1, 10, "this { is not closed"),
        ("cpu_usage{a='b", 1, 13, "does not end in its line"),
        ("cpu_usage{a=b}", 1, 13, "a label's value is a text: write 'b' in quotes"),
        ("cpu_usage{a}", 1, 11, "a needs one of =, !=, =~, !~"),
        ("cpu_usage{a='b' c='d'}", 1, 17, "a comma is missing before c"),
        ("cpu_usage{a='b' or c='d'}", 1, 17, "a comma is missing before or"),
        ("cpu_usage{5='b'}", 1, 11, "5 stands where a label should be"),
        ("cpu_usage{a=='b'}", 1, 11, "a needs one of =, !=, =~, !~"),
        ("cpu_usage{a='x', ", 1, 10, "this { is not closed"),
        ("cpu_usage > 5 ü", 1, 15, "'ü' means nothing here"),
        ("cpu_usage = 5", 1, 11, "write == to compare numbers"),
        ("max(a, , b)", 1, 8, ", stands where a value should be"),
        ("max by region (cpu_usage)", 1, 1, "max needs its labels in brackets"),
        ("cpu_usage > 5 and 1 > 0", 1, 1, "two numbers are compared with bool only"),
        ("cpu_usage offset -5m", 1, 11, "what has not happened yet"),
        ("cpu_usage offset x", 1, 11, "offset needs a duration"),
        ("cpu_usage @ 5", 1, 11, "@ is not understood"),
        ("cpu_usage + fill(0) up", 1, 13, "fill is not understood"),
        ("max(rate(cpu_usage))", 1, 5, "rate reads a window: write rate(metric[5m])"),
        ("max(cpu_usage[5m])", 1, 1, "read the window with a function"),
        ("abs(5)", 1, 1, "abs needs a vector here"),
        ("foo(cpu_usage)", 1, 1, "foo is no function of PromQL"),
        ("max_over_time(cpu_usage[5m:1m])", 1, 15, "a subquery"),
        ("cpu_usage{a=~'('}", 1, 14, "no regular expression of RE2"),
        ("up{b=~'.'} or cpu_usage{a=~'(?=x)'}", 1, 28, "no regular expression of RE2"),
        ("cpu_usage{a=~'((a{100}){100}){100}'}", 1, 14, "no regular expression of RE2, or too large"),
        ("{job='x'}", 1, 1, "a selector names one metric"),
        ("{__name__=~'cpu.*'}", 1, 1, "a selector names one metric"),
        ("up > 1 and http_requests > 5", 1, 12, "an increment has no level; write increase(http_requests[5m])"),
        ("order_value > 5", 1, 1, "an amount has no level; write increase(order_value[1h])"),
        ("http_request_duration > 5", 1, 1, "write quantile_over_time(0.95, http_request_duration[5m])"),
        ("http_request_duration_bucket > 5", 1, 1, "has no value by itself"),
        ("rate(cpu_usage[5m])", 1, 1, "cpu_usage is a level, whose rate means nothing"),
        ("increase(conversion_rate[5m])", 1, 1, "conversion_rate is a ratio, whose increase means nothing"),
        ("rate(http_request_duration[5m])", 1, 1, "write rate(http_request_duration_count[5m])"),
        ("rate(http_request_duration_bucket[5m])", 1, 6, "needs one bound"),
        ("rate(http_request_duration_bucket{le='x'}[5m])", 1, 6, "le is 'x'; it must be a number"),
        ("max_over_time(http_request_duration_count[5m])", 1, 1, "grows; write increase"),
        ("sum_over_time(cpu_usage[5m])", 1, 1, "the sum of cpu_usage means nothing, for it is a level"),
        ("quantile_over_time(0.5, http_requests[5m])", 1, 1, "means nothing, for it counts increments"),
        ("quantile_over_time(1.5, cpu_usage[5m])", 1, 20, "1.5 is no quantile"),
        ("quantile_over_time(cpu_usage, cpu_usage[5m])", 1, 1, "quantile_over_time needs a scalar here"),
        ("histogram_quantile(0.9, http_request_duration_bucket)", 1, 25, "reads rates"),
        ("histogram_quantile(0.9, sum(rate(http_request_duration_bucket[5m])))", 1, 25, "this sum drops le"),
        ("histogram_quantile(0.9, avg by (le) (rate(http_request_duration_bucket[5m])))", 1, 25, "not avg"),
        ("histogram_quantile(0.9, rate(http_request_duration_bucket{le='5'}[5m]))", 1, 30, "needs every bucket"),
        ("sum(avg_over_time(cpu_usage[5m]))", 1, 1, "a sum of averages means nothing"),
        ("max(sum(avg by (host) (cpu_usage)))", 1, 5, "a sum of averages means nothing"),
        ("sum(conversion_rate)", 1, 1, "a sum of ratios means nothing"),
        ("sum(up / cpu_usage)", 1, 1, "a sum of ratios means nothing"),
        ("sum(quantile_over_time(0.9, cpu_usage[5m]))", 1, 1, "a sum of percentiles means nothing"),
        ("increase(http_requests[30s])", 1, 10, "the window is 30s; it must be from 1m to 31d"),
        ("increase(http_requests[181m])", 1, 10, "slides by 5m and must be a multiple of it"),
        ("increase(http_requests[1y])", 1, 10, "it must be from 1m to 31d"),
        ("cpu_usage offset 90s", 1, 1, "the offset is 1m30s; it must be whole minutes"),
        ("cpu_usage > 1e400", 1, 13, "this is not a finite number"),
        ("cpu_usage > 1 / 0", 1, 15, "this is not a finite number"),
        ("topk(0, cpu_usage)", 1, 6, "topk keeps 0 series"),
        ("quantile(7, cpu_usage)", 1, 10, "7 is no quantile"),
        ("irate(http_requests[5m])", 1, 1, "irate is not understood; write rate"),
        ("label_replace(up, 'a', 'b', 'c', 'd')", 1, 1, "label_replace is not understood"),
        ("count_values('x', up)", 1, 1, "count_values is not understood"),
        ("up > time()", 1, 6, "time is not understood"),
        ("'text'", 1, 1, "a text is no value"),
        ("http_requests[5m]", 1, 1, "a window is no value"),
        ("up atan2 up", 1, 4, "atan2 is not understood"),
        ("(" * 40 + "up" + ")" * 40, 1, 33, "nested deeper than 32 levels"),
        ("up" + " or up" * 200, 1, 769, "has more than 256 parts"),
        ("- " * 100 + "up", 1, 1, "a chain of more than 90 operators"),
        ("u" * 20_000, 1, 1, "has 20000 characters; at most 16384"),
    ],
)
def test_what_is_refused_and_where(written: str, line: int, column: int, reason: str) -> None:
    """Each refusal has its place within the expression, and says what would be right."""
    with pytest.raises(PromqlError) as caught:
        parse(written)
    assert reason in caught.value.reason
    assert (caught.value.line, caught.value.column) == (line, column)


def test_ten_thousand_characters_are_judged() -> None:
    """A long expression is no wrong one, and is read in no time."""
    hosts = "|".join(f"host-{n}" for n in range(1_200))
    written = f"max by (region) (cpu_usage{{host=~'{hosts}'}}) > 90"
    began = time.perf_counter()
    assert len(written) > 10_000
    assert text(parse(written)).endswith("> 90")
    assert time.perf_counter() - began < 5


def test_any_label_may_be_asked_for() -> None:
    """Quotes, emoji, line ends and backslashes come through, there and back."""
    for value in ('"', "'", "\\", "\n\t", "🔥é", "\x01", "a{b}[c] # d", "\u2028"):
        written = Read(
            Selector("cpu_usage", (Matcher("hóst 🔥", MatchOperator.NOT_EQUAL, value),)), Aggregate.LAST, FIVE
        )
        assert parse(text(written)) == written


def test_random_words_are_never_more_than_refused() -> None:
    """Whatever is written, the answer is a tree or a refusal."""
    random = Random(4)
    words = "up cpu_usage http_requests_total sum by ( ) [5m] { } a='b' , + - * / > == bool and or on group_left 5 1e9 "
    words += (
        "rate increase histogram_quantile topk offset 1h absent =~ '(' le 0.9 \n without ignoring vector # @ é \" $"
    )
    for _ in range(4_000):
        written = " ".join(random.choices(words.split(" "), k=random.randint(1, 14)))
        refused: PromqlError | None = None
        try:
            parse(text(parse(written)))
        except PromqlError as exc:
            refused = exc
        assert refused is None or 1 <= refused.column <= len(written) + 1
