"""Who is silent: series that were heard before and are no more, and those that a rule expects and nobody heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from atalaia.alerting import durations
from atalaia.alerting.expressions import Labels, Read
from atalaia.alerting.rules import Rule
from atalaia.alerting.shared.standing import Standing
from atalaia.alerting.states import Verdict
from atalaia.schemas.events import DEFAULT_TENANT


class Heard(Protocol):
    """Where it is known when was heard of whom."""

    def spoke(self, read: Read) -> Mapping[Labels, int]:
        """Of every series or group that a leaf reads, when its latest event was."""


class Silence(NamedTuple):
    """What is said of a group: whether it is silent, and since when."""

    labels: Labels
    verdict: Verdict
    since_ms: int


def expected(rule: Rule) -> dict[str, list[Labels]]:
    """Whom a rule expects, by tenant."""
    found: dict[str, list[Labels]] = {}
    for labels in rule.expected:
        found.setdefault(dict(labels).get("tenant", rule.tenant or DEFAULT_TENANT), []).append(labels)
    return found


def find(
    rule: Rule,
    leaves: Iterable[Read],
    heard: Heard,
    *,
    tenant: str,
    known: Mapping[Labels, Standing],
    at_ms: int,
    since_ms: int,
    heard_too: bool,
) -> Iterator[Silence]:
    """What there is to say of every series of a tenant at `at_ms`; `since_ms` is when the rule came into force here.

    Of those that were heard there is only with `heard_too`: elsewhere their own judge says it. A series that fell
    silent and was forgotten is silent still.
    """
    absent_ms = durations.milliseconds(rule.absent_for) if rule.absent_for is not None else 0
    spoke: dict[Labels, int] = {}
    for leaf in leaves:
        for labels, spoke_ms in heard.spoke(leaf).items():
            spoke[labels] = max(spoke_ms, spoke.get(labels, 0))
    pending = dict(known)
    for labels in expected(rule).get(tenant, ()):
        if not any(set(labels) <= set(other) for other in spoke):
            alert = pending.pop(labels, None)
            silent = at_ms - since_ms >= absent_ms or (alert is not None and alert.state.open)
            yield Silence(labels, Verdict.HOLDS if silent else Verdict.RECOVERED, since_ms)
    if heard_too:
        for labels, spoke_ms in spoke.items():
            pending.pop(labels, None)
            silent = at_ms - spoke_ms >= absent_ms
            yield Silence(labels, Verdict.HOLDS if silent else Verdict.RECOVERED, spoke_ms)
    for labels, alert in pending.items():
        heard_since = any(set(labels) <= set(other) for other in spoke)
        yield Silence(labels, Verdict.RECOVERED if heard_since else Verdict.HOLDS, alert.state.since_ms)
