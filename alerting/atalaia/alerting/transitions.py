"""What the judge tells the world: one alert entered one state, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from atalaia.alerting.expressions import Labels
from atalaia.alerting.rules import Level, Rule
from atalaia.schemas.events import DEFAULT_TENANT, AlertStatus, Severity
from atalaia.schemas.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a value was made of: events, a ratio's two parts, and the share of the data that had arrived (0 to 1)."""

    count: int
    numerator: float | None = None
    denominator: float | None = None
    completeness: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One transition of one alert.

    The three ids are functions of the rule's id, the alert's labels and the episode (and `turn`) alone: a replay of the
    same events gives the same ids, and a changed name, threshold or version of the rule changes none.
    """

    rule: Rule
    series: SeriesKey | None = None
    """The series judged; None where the alert is of a group."""
    group: Labels = ()
    """The labels of the alert where it is not of one series; with `tenant`."""
    status: AlertStatus
    at_ms: int
    since_ms: int
    fingerprint: str
    episode: int
    turn: int | str = 0
    """Tells statuses apart that one episode enters more than once."""
    value: float | None = None
    window: tuple[int, int] | None = None
    note: str | None = None
    level: Level | None = None
    """The further threshold of the rule that this is about; None is the rule's own."""
    evidence: Evidence | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the alert."""
        return dict(self.group) if self.series is None else self.series.labels()

    @property
    def tenant(self) -> str:
        """Whose alert it is."""
        return dict(self.group).get("tenant", DEFAULT_TENANT) if self.series is None else self.series.tenant

    @property
    def metric_name(self) -> str:
        """The metric judged, or the first that the rule reads."""
        return self.rule.metric_name if self.series is None else self.series.metric_name

    @property
    def service_name(self) -> str:
        """The service judged; empty where several are judged together."""
        return dict(self.group).get("service_name", "") if self.series is None else self.series.service_name

    @property
    def threshold(self) -> float:
        """What the value was compared with."""
        return self.rule.threshold if self.level is None else self.level.threshold

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return self.rule.severity if self.level is None else self.level.severity

    @property
    def episode_id(self) -> str:
        """Identity of this firing, the same from pending to resolved."""
        return _digest((self.fingerprint, str(self.episode)))

    @property
    def alert_id(self) -> str:
        """Idempotency key: the same for every delivery of this transition."""
        return _digest((self.episode_id, self.status, *([str(self.turn)] if self.turn else [])))


def fingerprint(rule_id: str, labels: dict[str, str]) -> str:
    """Identity of an alert: the rule's id and the series' labels, whatever their order.

    >>> fingerprint("r", {"a": "1", "b": "2"}) == fingerprint("r", {"b": "2", "a": "1"})
    True
    >>> fingerprint("r", {"a": "1"}) == fingerprint("r", {"a1": ""})
    False
    """
    return _digest((rule_id, *(part for pair in sorted(labels.items()) for part in pair)))


def _digest(parts: Iterable[str]) -> str:
    """128 bits, in hex, of texts that are told apart wherever one ends and the next begins."""
    state = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        state.update(len(encoded).to_bytes(4, "big"))
        state.update(encoded)
    return state.hexdigest()
