"""What the judge tells the world: one alert entered one state, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from atalaia.alerting.rules import Rule
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition of one alert.

    The three ids are functions of the rule's id, the series' labels and the episode alone: a replay of the same events
    gives the same ids, and a changed name, threshold or version of the rule changes none.
    """

    rule: Rule
    series: SeriesKey
    status: AlertStatus
    at_ms: int
    since_ms: int
    fingerprint: str
    episode: int
    value: float | None = None
    window: tuple[int, int] | None = None
    note: str | None = None

    @property
    def episode_id(self) -> str:
        """Identity of this firing, the same from pending to resolved."""
        return _digest((self.fingerprint, str(self.episode)))

    @property
    def alert_id(self) -> str:
        """Idempotency key: the same for every delivery of this transition."""
        return _digest((self.episode_id, self.status))


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
