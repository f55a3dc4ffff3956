"""What makes two events the same series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_SEPARATOR: Final = "\x1f"
"""ASCII's unit separator: not in anybody's names, and harmless where it is."""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """The identity of a series; `dimensions` are the metadata that the catalogue names, sorted by key."""

    tenant: str
    metric_name: str
    service_name: str
    region: str | None
    affiliate_id: str | None
    unit: str
    frequency: str
    dimensions: tuple[tuple[str, str], ...] = ()

    def record_key(self) -> bytes:
        r"""The Kafka key: spreads load over partitions; correctness never depends on it.

        >>> SeriesKey("default", "cpu", "api", None, None, "%", "real_time").record_key()
        b'default\x1fcpu\x1fapi\x1f\x1f\x1f%\x1freal_time'
        """
        fields = (
            self.tenant,
            self.metric_name,
            self.service_name,
            self.region or "",
            self.affiliate_id or "",
            self.unit,
            self.frequency,
        )
        pairs = (f"{key}={value}" for key, value in self.dimensions)
        return _SEPARATOR.join((*fields, *pairs)).encode("utf-8", "surrogateescape")

    def labels(self) -> dict[str, str]:
        """The labels that rules and dashboards see; absent fields are left out.

        >>> SeriesKey("default", "cpu", "api", "BR", None, "%", "real_time").labels()["region"]
        'BR'
        """
        named = {
            "tenant": self.tenant,
            "metric_name": self.metric_name,
            "service_name": self.service_name,
            "region": self.region,
            "affiliate_id": self.affiliate_id,
            "unit": self.unit,
            "frequency": self.frequency,
        }
        return {key: value for key, value in named.items() if value} | dict(self.dimensions)


def dimensions_of(metadata: Mapping[str, str], names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The part of an event's metadata that belongs to its series, sorted.

    >>> dimensions_of({"endpoint": "/x", "trace": "1"}, ["endpoint"])
    (('endpoint', '/x'),)
    """
    return tuple(sorted((name, metadata[name]) for name in names if name in metadata))
