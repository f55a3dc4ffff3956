"""Two vectors become one: which elements belong together, and what is said of them then (PromQL's vector matching)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from atalaia.alerting.evaluating import arithmetic
from atalaia.alerting.expressions import COMPARISONS, Binary, Expression, Labels, Matching, Operator, reads

_DESCRIBING: Final = ("frequency", "unit")
"""Labels that follow from the metric: sides that read different metrics match without them."""


class EvaluationError(Exception):
    """An expression has no answer at this instant; the message says why, for people."""


class Sample(NamedTuple):
    """The value of an expression for one set of labels, and what it was made of.

    `events` is how many; `numerator` and `denominator` are those of the division that the value comes from;
    `completeness` (0 to 1) is the lowest of all that was read, `window` spans it, and `whole` says whether all of it
    has been under watch since before its window began.
    """

    labels: Labels
    value: float
    events: int = 0
    completeness: float = 1.0
    window: tuple[int, int] | None = None
    numerator: float | None = None
    denominator: float | None = None
    whole: bool = True


_Signature = Callable[[Labels], object]


def combine(node: Binary, left: list[Sample], right: list[Sample]) -> list[Sample]:
    """The result of an operator between two vectors; `EvaluationError` where matches are not unique."""
    matching, signature = _matching(node)
    match node.operator:
        case Operator.AND:
            keys = {signature(sample.labels) for sample in right}
            return [sample for sample in left if signature(sample.labels) in keys]
        case Operator.UNLESS:
            keys = {signature(sample.labels) for sample in right}
            return [sample for sample in left if signature(sample.labels) not in keys]
        case Operator.OR:
            keys = {signature(sample.labels) for sample in left}
            return [*left, *(sample for sample in right if signature(sample.labels) not in keys)]
        case _:
            return _matched(node, left, right, matching=matching, signature=signature)


def too_small(node: Binary, denominator: float) -> bool:
    """Whether a division has no value because of its right side."""
    return node.operator is Operator.DIVIDE and abs(denominator) < node.minimum_denominator


def union(windows: Iterable[tuple[int, int] | None]) -> tuple[int, int] | None:
    """The shortest span that holds all windows.

    >>> union([(0, 5), None, (3, 9)])
    (0, 9)
    """
    known = [window for window in windows if window is not None]
    if not known:
        return None
    return min([start for start, _ in known]), max([end for _, end in known])


def _matched(
    node: Binary, left: list[Sample], right: list[Sample], *, matching: Matching, signature: _Signature
) -> list[Sample]:
    swapped = matching.group == "right"
    many, one = (right, left) if swapped else (left, right)
    of_one: dict[object, Sample] = {}
    for sample in one:
        key = signature(sample.labels)
        if key in of_one:
            side = "left" if swapped else "right"
            raise EvaluationError(
                f"{_named(of_one[key].labels)} and {_named(sample.labels)} on the {side} side of {node.operator} match "
                "the same series; tell them apart with on(...) or ignoring(...), or add them up by those labels"
            )
        of_one[key] = sample
    found: list[Sample] = []
    seen: set[object] = set()
    for sample in many:
        key = signature(sample.labels)
        other = of_one.get(key)
        if other is None:
            continue
        result = _pair(node, other, sample) if swapped else _pair(node, sample, other)
        if result is None:
            continue
        labels = _labels(sample.labels, other.labels, matching)
        unique: object = key if matching.group is None else labels
        if unique in seen:
            why = "is matched by several series of the left side; write group_left" if matching.group is None else ""
            raise EvaluationError(f"{_named(labels)} {why or 'comes out more than once; add labels that differ'}")
        seen.add(unique)
        found.append(result._replace(labels=labels))
    return found


def _pair(node: Binary, left: Sample, right: Sample) -> Sample | None:
    """What two elements give: None where a comparison filters them out."""
    numerator, denominator = left.numerator, left.denominator
    if node.operator in COMPARISONS:
        held = arithmetic.COMPARING[node.operator](left.value, right.value)
        if not held and not node.as_bool:
            return None
        value = float(held) if node.as_bool else left.value
    else:
        if too_small(node, right.value):
            return None
        value = arithmetic.ARITHMETIC[node.operator](left.value, right.value)
        if node.operator is Operator.DIVIDE:
            numerator, denominator = left.value, right.value
    return Sample(
        labels=(),
        value=value,
        events=left.events + right.events,
        completeness=min(left.completeness, right.completeness),
        window=left.window if left.window == right.window else union((left.window, right.window)),
        numerator=numerator,
        denominator=denominator,
        whole=left.whole and right.whole,
    )


def _labels(many: Labels, one: Labels, matching: Matching) -> Labels:
    if matching.group is None:
        if matching.on:
            return tuple(pair for pair in many if pair[0] in matching.labels)
        return tuple(pair for pair in many if pair[0] not in matching.labels) if matching.labels else many
    if not matching.include:
        return many
    given = dict(one)
    labels = {name: value for name, value in many if name not in matching.include}
    labels |= {name: given[name] for name in matching.include if given.get(name)}
    return tuple(sorted(labels.items()))


@lru_cache(maxsize=10_000)
def _matching(node: Binary) -> tuple[Matching, _Signature]:
    """How the two sides match, with what describes a metric left out where they read different ones."""
    given = node.matching
    names = given.labels
    if not given.on and _metrics(node.left) != _metrics(node.right):
        names = tuple(sorted({*names, *_DESCRIBING}))
    matching = Matching(names, on=given.on, group=given.group, include=given.include)
    if given.on:
        return matching, lambda labels: tuple([dict(labels).get(name, "") for name in names])
    if not names:
        return matching, lambda labels: labels
    left_out = frozenset(names)
    return matching, lambda labels: tuple([pair for pair in labels if pair[0] not in left_out])


def _metrics(side: Expression) -> frozenset[str]:
    return frozenset(read.selector.metric_name for read in reads(side))


def _named(labels: Labels) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}"
