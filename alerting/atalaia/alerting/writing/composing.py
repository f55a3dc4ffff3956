"""What the fields of a written rule compute: PromQL, an amount, a ratio of two, or a change, as one tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from atalaia.alerting import promql
from atalaia.alerting.aggregates import Aggregate, Quantile
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import (
    LOOK_BACK,
    Absent,
    Apply,
    Binary,
    Calendar,
    Expression,
    Grouping,
    Matcher,
    MatchOperator,
    Number,
    Operator,
    Period,
    Read,
    Reduce,
    Rolling,
    Selector,
    reads,
)
from atalaia.alerting.faults import Fault, RuleError
from atalaia.alerting.promql import PromqlError, names
from atalaia.alerting.sense import aggregate_fault
from atalaia.alerting.writing.written import Amount, Document

Path = tuple[str | int, ...]

_WEEK: Final = timedelta(weeks=1)
_PERIODS: Final = {Period.HOUR: timedelta(hours=1), Period.DAY: timedelta(days=1), Period.WEEK: _WEEK}


@dataclass(frozen=True, slots=True)
class Computed:
    """What a rule compares, and with what as far as an expression says so. `value` None is the local form."""

    value: Expression | None
    metric_name: str
    matchers: tuple[tuple[str, str], ...] = ()
    aggregate: Aggregate = Aggregate.LAST
    window: timedelta | None = None
    comparison: Comparison | None = None
    threshold: float | None = None


def compute(document: Document) -> Computed:
    """What a document says is computed; `RuleError` lists what of it cannot be."""
    faults = list(_combination_faults(document))
    if faults:
        raise RuleError(faults)
    comparison, threshold = None, None
    if document.expr is not None:
        value, comparison, threshold = _of_promql(document, document.expr)
    elif document.expression is not None:
        value = document.expression
    elif document.ratio is not None:
        value = _of_ratio(document)
    elif _is_plain(document):
        return Computed(
            None,
            document.metric or "",
            tuple(sorted(document.where.items())),
            document.aggregate if isinstance(document.aggregate, Aggregate) else Aggregate.LAST,
            document.window,
        )
    else:
        value = _of_amount(document, (), _grouping(document))
    value = _with_minimum(value, document)
    if document.change is not None:
        value = _changed(value, document)
    return _placed(value, document, comparison, threshold)


def _is_plain(document: Document) -> bool:
    """Whether the document is of each series by itself, as it is now."""
    grouped = document.by is not None or document.without is not None
    other = document.calendar or document.change or isinstance(document.aggregate, Quantile)
    return not grouped and not other


def _placed(value: Expression, document: Document, comparison: Comparison | None, threshold: float | None) -> Computed:
    """The local form where the value has one, for it is judged where its events arrive."""
    local = promql.local_read(value) if document.expr is not None and document.metric is None else None
    if local is not None:
        return Computed(
            None, local.metric_name, local.matchers, local.aggregate, local.window.length, comparison, threshold
        )
    first = next((leaf.selector.metric_name for leaf in reads(value)), "")
    return Computed(value, document.metric or first, comparison=comparison, threshold=threshold)


def _combination_faults(document: Document) -> Iterator[Fault]:
    """Fields that say the same, or need each other."""
    sources = [name for name in ("expr", "expression", "ratio") if getattr(document, name) is not None]
    if len(sources) > 1:
        yield Fault((sources[1],), f"says what {sources[0]} says; keep one of them")
    reading: dict[str, object] = {"aggregate": document.aggregate, "calendar": document.calendar, "by": document.by}
    reading |= {"without": document.without, "window": document.window, "where": document.where or None}
    if "expr" in sources or "expression" in sources:
        for name, given in reading.items():
            if given is not None:
                yield Fault((name,), f"is part of what {sources[0]} says; leave it out")
    elif not sources and document.metric is None:
        yield Fault(("metric",), "is missing; give metric, expr or ratio")
    if document.by is not None and document.without is not None:
        yield Fault(("without",), "is given beside by; keep one of them")
    if document.window is not None and document.calendar is not None:
        yield Fault(("calendar",), "is given beside window; keep one of them")
    if document.zone is not None and document.calendar is None and document.ratio is None:
        yield Fault(("zone",), "is for calendar; give calendar: today, or leave it out")
    if (document.window or document.calendar) and document.aggregate is None and not sources:
        name = "window" if document.window else "calendar"
        yield Fault((name,), f"needs an aggregate; choose one of {', '.join(Aggregate)}")


def _of_promql(document: Document, text: str) -> tuple[Expression, Comparison | None, float | None]:
    """The value of PromQL; where the document has a condition of its own, all of it is the value."""
    whole = _parsed(text, ("expr",))
    return (whole, None, None) if document.condition is not None else promql.split(whole)


def _parsed(text: str, path: Path) -> Expression:
    try:
        parsed = promql.parse(text)
    except PromqlError as exc:
        raise RuleError([Fault(path, exc.reason, (exc.line, exc.column))]) from exc
    if isinstance(parsed, Number):
        raise RuleError([Fault(path, "is a number; a rule judges events: name a metric", (1, 1))])
    return parsed


def _of_ratio(document: Document) -> Expression:
    """The ratio of two amounts, each of the pooled events of a group: of all, where no group is named."""
    assert document.ratio is not None
    grouping = _grouping(document) or Grouping(())
    sides = [
        _of_amount(amount, ("ratio", name), grouping, document)
        for name, amount in (("numerator", document.ratio.numerator), ("denominator", document.ratio.denominator))
    ]
    return Binary(Operator.DIVIDE, sides[0], sides[1], minimum_denominator=document.ratio.minimum_denominator)


def _of_amount(amount: Amount, path: Path, grouping: Grouping | None, around: Document | None = None) -> Expression:
    """What an amount reads; fields that it lacks are those of the document around it."""
    if amount.expr is not None:
        return _parsed(amount.expr, (*path, "expr"))
    metric = amount.metric or (around.metric if around else None)
    if metric is None:
        raise RuleError([Fault((*path, "metric"), "is missing; give the metric to read")])
    where = (around.where if around else {}) | amount.where
    aggregate = amount.aggregate or (around.aggregate if around else None)
    if aggregate is None:
        raise RuleError([Fault((*path, "aggregate"), f"is missing; choose one of {', '.join(Aggregate)}")])
    if (fault := aggregate_fault(aggregate, metric)) is not None:
        raise RuleError([Fault((*path, "aggregate"), fault)])
    matchers = tuple(Matcher(label, MatchOperator.EQUAL, value) for label, value in sorted(where.items()))
    span = _span(amount) or (_span(around) if around else None)
    if span is None and aggregate is Aggregate.LAST:
        span = Rolling(LOOK_BACK)
    if span is None:
        raise RuleError([Fault((*path, "window"), f"is missing: {_name(aggregate)} needs one, such as 5m")])
    return Read(Selector(metric, matchers), aggregate, span, grouping=grouping)


def _name(aggregate: Aggregate | Quantile) -> str:
    return aggregate.value if isinstance(aggregate, Aggregate) else f"p{aggregate.share * 100:g}"


def _span(amount: Amount) -> Rolling | Calendar | None:
    if amount.calendar is not None:
        return Calendar(amount.calendar, amount.zone or "UTC")
    return Rolling(amount.window) if amount.window is not None else None


def _grouping(document: Document) -> Grouping | None:
    listed = document.by if document.by is not None else document.without
    if listed is None:
        return None
    labels = dict.fromkeys(names.label(label, *([document.metric] if document.metric else [])) for label in listed)
    return Grouping(tuple(labels), without=document.without is not None)


def _with_minimum(value: Expression, document: Document) -> Expression:
    """The division at the top with its minimum denominator."""
    if document.minimum_denominator is None:
        return value
    if not isinstance(value, Binary) or value.operator is not Operator.DIVIDE:
        raise RuleError([Fault(("minimum_denominator",), "is for a ratio; the value of this rule is none")])
    return replace(value, minimum_denominator=document.minimum_denominator)


def _changed(value: Expression, document: Document) -> Expression:
    """By how much a value differs from what it was a window, a calendar period or a week before."""
    assert document.change is not None
    before = shifted(value, _WEEK if document.change.against == "week_before" else _one_back(value))
    difference = Binary(Operator.SUBTRACT, value, before)
    if document.change.as_ == "difference":
        return difference
    return Binary(Operator.MULTIPLY, Binary(Operator.DIVIDE, difference, before), Number(100.0))


def _one_back(value: Expression) -> timedelta:
    """The length of the longest window that is read."""
    lengths = []
    for leaf in reads(value):
        match leaf.span:
            case Rolling(length):
                lengths.append(length)
            case Calendar(period) if period in _PERIODS:
                lengths.append(_PERIODS[period])
            case Calendar(period):
                reason = f"is previous, and {period}s differ in length; compare with week_before, or use a window"
                raise RuleError([Fault(("change", "against"), reason)])
    return max(lengths, default=timedelta())


def shifted(expression: Expression, by: timedelta) -> Expression:
    """The same expression as it was that long ago."""
    match expression:
        case Read():
            return replace(expression, offset=expression.offset + by)
        case Reduce(of=inner) | Apply(of=inner) | Absent(of=inner):
            return replace(expression, of=shifted(inner, by))
        case Binary(left=left, right=right):
            return replace(expression, left=shifted(left, by), right=shifted(right, by))
        case Number():
            return expression
