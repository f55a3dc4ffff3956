"""The rules in force: those that come installed, those in files, and those on the rules topic, by id."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Final, Self

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.rules import Rule
from atalaia.alerting.writing.document import from_document
from atalaia.alerting.writing.loader import load_files
from atalaia.infra import kafka
from atalaia.infra.settings import Settings
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry, RegistryUnavailable
from atalaia.schemas.topics import ALERT_RULES

log = structlog.get_logger(__name__)

OPENING: Final = timedelta(seconds=30)
"""The topic is compacted: a few thousand records at most, read in well under a second."""
_BATCH: Final = 1_000
_WAIT_SECONDS: Final = 0.2
_REASON: Final = 300
"""Characters of a reason in the log: fastavro's quote whole schemas."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A rule as the topic has it, and who put it there when."""

    rule: Rule
    updated_at_ms: int
    updated_by: str


class RuleStore:
    """The rules in force. Constructing one reads the whole topic, so that `rules` never lacks one.

    A rule on the topic wins over one in a file, and that over an installed one, with the same id. What cannot be read
    is logged and left out: the earlier version of that rule stays, and no other rule is held up. `poll` may run in
    another thread than `rules`; two `poll`s may not run at once.
    """

    def __init__(self, settings: Settings, *, timeout: timedelta = OPENING) -> None:
        self._registry = Registry(settings.registry.url)
        self._standing = {rule.rule_id: rule for rule in (*builtin_rules(), *_from_files(settings))}
        self._stored: dict[str, Stored] = {}
        self._waiting: deque[Message] = deque()
        self._rules = tuple(self._standing.values())
        kafka.require(settings.kafka, timeout_seconds=timeout.total_seconds())
        partitions = kafka.partitions_of(settings.kafka, [ALERT_RULES.name])
        if not partitions:
            raise kafka.KafkaUnavailable(f"there is no topic {ALERT_RULES.name}; run `atalaia schemas register`")
        # librdkafka would write to stderr by itself; what matters comes as messages.
        options = {"enable.partition.eof": True, "fetch.wait.max.ms": 100, "log_level": 0}
        self._consumer: Consumer = kafka.reader(settings.kafka, "atalaia-rules", **options)
        self._consumer.assign([TopicPartition(tp.topic, tp.partition, OFFSET_BEGINNING) for tp in partitions])
        self._read_whole({tp.partition for tp in partitions}, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rules(self) -> tuple[Rule, ...]:
        """The rules in force, inactive ones included; the same object as long as nothing changes."""
        return self._rules

    def stored(self) -> dict[str, Stored]:
        """What the topic says, by rule id."""
        return dict(self._stored)

    def poll(self) -> bool:
        """Takes in what is new on the topic, without waiting; whether the rules are others now.

        While the registry does not answer, new rules wait; the next call goes on.
        """
        while messages := self._consumer.consume(_BATCH, timeout=0):
            self._sort(messages)
        try:
            self._take_in()
        except RegistryUnavailable as exc:
            log.warning("rules_wait_for_registry", error=str(exc))
        return self._adopt()

    def close(self) -> None:
        """Lets go of Kafka and the registry."""
        self._consumer.close()
        self._registry.close()

    def _read_whole(self, partitions: set[int], timeout: timedelta) -> None:
        """Reads every partition to where it ends now."""
        deadline = monotonic() + timeout.total_seconds()
        while partitions:
            partitions -= self._sort(self._consumer.consume(_BATCH, timeout=_WAIT_SECONDS))
            if partitions and monotonic() > deadline:
                raise kafka.KafkaUnavailable(f"{ALERT_RULES.name} could not be read within {timeout}; is Kafka well?")
        self._take_in()
        self._adopt()

    def _sort(self, messages: list[Message]) -> set[int]:
        """Puts records in the queue; returns the partitions of which nothing more is to come for now."""
        ended = set()
        for message in messages:
            error = message.error()
            if error is None:
                self._waiting.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name for it
                ended.add(message.partition())
            else:
                log.warning("rules_topic_error", error=error.str())
        return ended

    def _take_in(self) -> None:
        while self._waiting:
            self._apply(self._waiting[0])
            self._waiting.popleft()

    def _apply(self, message: Message) -> None:
        rule_id = (message.key() or b"").decode("utf-8", "replace")
        value = message.value()
        if value is None:
            self._stored.pop(rule_id, None)
            return
        try:
            self._stored[rule_id] = self._decoded(value, rule_id)
        except RegistryUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - the dead-letter guard: no rule may keep the others from being judged
            reason = f"{type(exc).__name__}: {exc}"[:_REASON]
            log.warning("rule_refused", rule_id=rule_id, offset=message.offset(), error=reason)

    def _decoded(self, value: bytes, rule_id: str) -> Stored:
        schema_id = codec.schema_id_of(value)
        if schema_id is None:
            raise ValueError("no Confluent frame; publish rules with `atalaia rules apply`")
        writer = self._registry.parsed_writer(schema_id)
        record = codec.decode_as(writer, "AlertRule", value[codec.HEADER_BYTES :])
        rule = from_document(json.loads(record["definition"]))
        if rule.rule_id != rule_id or record["rule_id"] != rule_id:
            raise ValueError(f"its key is {rule_id!r}, but it says that it is {rule.rule_id!r}")
        updated_at_ms = round(record["updated_at"].timestamp() * 1000)
        return Stored(replace(rule, version=record["version"]), updated_at_ms, record["updated_by"])

    def _adopt(self) -> bool:
        merged = self._standing | {rule_id: stored.rule for rule_id, stored in self._stored.items()}
        rules = tuple(merged.values())
        if rules == self._rules:
            return False
        self._rules = rules
        return True


def _from_files(settings: Settings) -> Iterable[Rule]:
    """The good rules of the configured files; what is wrong with the others is logged, with its place."""
    loaded = load_files(settings.streams.rule_files)
    for problem in loaded.problems:
        log.warning("rule_refused", file=problem.file, line=problem.line, column=problem.column, error=problem.message)
    return loaded.rules
