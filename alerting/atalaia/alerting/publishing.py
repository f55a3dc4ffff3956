"""Writes rules to the rules topic, from where every worker takes them within seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import Producer

from atalaia.alerting.rules import Rule
from atalaia.alerting.store import RuleStore
from atalaia.alerting.writing.document import to_document
from atalaia.infra import kafka
from atalaia.infra.errors import UsageFailure
from atalaia.infra.settings import Settings, librdkafka
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import ALERT_RULES, PARTITIONER

DELIVERY: Final = timedelta(seconds=30)


class Change(StrEnum):
    """What became of a rule that was applied."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    """One applied rule, as it stands now, and what was done."""

    rule: Rule
    change: Change


def plan(rules: Iterable[Rule], in_force: Sequence[Rule]) -> list[Applied]:
    """What applying these rules would do: each one's next version, where it says something new."""
    known = {rule.rule_id: rule for rule in in_force}
    return [_planned(rule, known.get(rule.rule_id)) for rule in rules]


def publish(settings: Settings, rules: Sequence[Rule], *, by: str, at_ms: int) -> list[Applied]:
    """Writes the rules that say something new; returns when every broker has them.

    Each counts one version on from the one in force. A crash in between leaves some applied: apply them again.
    """
    with RuleStore(settings) as store:
        planned = plan(rules, store.rules())
    fresh = [applied.rule for applied in planned if applied.change is not Change.UNCHANGED]
    with Registry(settings.registry.url) as registry:
        schema_id = registry.id_of(ALERT_RULES)
    _send(settings, [(rule.rule_id, codec.frame(schema_id, _encoded(rule, by=by, at_ms=at_ms))) for rule in fresh])
    return planned


def delete(settings: Settings, rule_ids: Sequence[str]) -> None:
    """Takes rules off the topic; their alerts resolve. An installed rule that one of them had replaced is back."""
    with RuleStore(settings) as store:
        require_deletable(store, rule_ids)
    _send(settings, [(rule_id, None) for rule_id in rule_ids])


def require_deletable(store: RuleStore, rule_ids: Sequence[str]) -> None:
    """Returns where all of them are on the topic; else raises UsageFailure, which says what to do."""
    in_force = {rule.rule_id for rule in store.rules()}
    for rule_id in rule_ids:
        if rule_id in store.stored():
            continue
        if rule_id in in_force:
            raise UsageFailure(
                f"rule {rule_id!r} comes installed or from a file and cannot be deleted; apply it with `active: false`"
            )
        raise UsageFailure(f"there is no rule {rule_id!r}; `atalaia rules list` shows the ids")


def _planned(rule: Rule, current: Rule | None) -> Applied:
    if current is None:
        return Applied(replace(rule, version=1), Change.CREATED)
    if replace(rule, version=current.version) == current:
        return Applied(current, Change.UNCHANGED)
    return Applied(replace(rule, version=current.version + 1), Change.UPDATED)


def _encoded(rule: Rule, *, by: str, at_ms: int) -> bytes:
    record = {
        "rule_id": rule.rule_id,
        "name": rule.name,
        "version": rule.version,
        "definition": json.dumps(to_document(rule), ensure_ascii=False),
        "updated_at": at_ms,
        "updated_by": by,
    }
    return codec.encode("AlertRule", record)


def _send(settings: Settings, records: Iterable[tuple[str, bytes | None]]) -> None:
    """Writes every record, acknowledged by all in-sync replicas; else raises KafkaUnavailable."""
    failures: list[str] = []
    delivered: Callable[[Any, Any], None] = lambda error, _: failures.append(error.str()) if error else None  # noqa: E731 - one line for librdkafka
    producer = Producer(
        librdkafka(
            settings.kafka,
            **{"client.id": "atalaia-rules", "enable.idempotence": True, "partitioner": PARTITIONER, "log_level": 0},
        )
    )
    for rule_id, value in records:
        producer.produce(ALERT_RULES.name, key=rule_id.encode(), value=value, on_delivery=delivered)
        producer.poll(0)
    left = producer.flush(DELIVERY.total_seconds())
    if failures or left:
        reason = failures[0] if failures else f"{left} records are not acknowledged after {DELIVERY}"
        raise kafka.KafkaUnavailable(f"{ALERT_RULES.name}: {reason}; nothing is lost: apply again")
