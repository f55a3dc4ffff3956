"""Rules on the topic: what is published is in force, everywhere, until it is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest
from confluent_kafka import Producer

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.publishing import Change, delete, publish
from atalaia.alerting.store import RuleStore
from atalaia.alerting.writing.document import from_document
from atalaia.infra.errors import UsageFailure
from atalaia.infra.kafka import KafkaUnavailable
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import KafkaSettings, Settings, StreamSettings
from atalaia.schemas.topics import ALERT_RULES

pytestmark = pytest.mark.e2e

RULE = from_document({"name": "Busy", "metric": "cpu_usage", "condition": "> 90", "actions": ["look", 'say "olá" 🔥']})
SLOW_API = next(rule for rule in builtin_rules() if rule.rule_id == "slow-api")
NOW_MS = 1_760_000_000_000


@pytest.fixture(scope="module")
def settings(stack: LocalStack) -> Settings:
    """The settings of the running stack."""
    return stack.settings


@pytest.fixture(autouse=True)
def clean(settings: Settings) -> Iterator[None]:
    """Nothing that a test puts on the topic stays for another."""
    yield
    with RuleStore(settings) as store:
        left = list(store.stored())
    if left:
        delete(settings, left)


def until(condition: Callable[[], bool], *, seconds: float = 20.0) -> bool:
    """Whether a condition came true in time."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        if condition():
            return True
    return False


def test_installed_rules_are_in_force_without_anybody_doing_anything(settings: Settings) -> None:
    """With an empty topic the rules of F3 are judged."""
    with RuleStore(settings) as store:
        assert store.rules() == builtin_rules()
        assert not store.poll()


def test_a_published_rule_reaches_a_running_store_and_a_new_one(settings: Settings) -> None:
    """What `publish` returned for is there for whoever reads next, and for whoever was reading."""
    with RuleStore(settings) as running:
        (applied,) = publish(settings, [RULE], by="ana", at_ms=NOW_MS)
        assert applied.change is Change.CREATED
        assert until(running.poll)
        assert RULE in running.rules()
    with RuleStore(settings) as later:
        stored = later.stored()["busy"]
        assert (stored.rule, stored.updated_by, stored.updated_at_ms) == (RULE, "ana", NOW_MS)


def test_versions_count_changes(settings: Settings) -> None:
    """Applying a rule again changes nothing; applying another threshold is the next version."""
    publish(settings, [RULE], by="ana", at_ms=NOW_MS)
    assert [applied.change for applied in publish(settings, [RULE], by="bo", at_ms=NOW_MS)] == [Change.UNCHANGED]
    (applied,) = publish(settings, [replace(RULE, threshold=95.0)], by="bo", at_ms=NOW_MS)
    assert (applied.change, applied.rule.version) == (Change.UPDATED, 2)
    with RuleStore(settings) as store:
        assert store.stored()["busy"].rule == applied.rule


def test_an_installed_rule_can_be_replaced_and_comes_back(settings: Settings) -> None:
    """The topic wins over what is installed, until the topic says nothing more."""
    silent = replace(SLOW_API, is_active=False)
    publish(settings, [silent], by="ana", at_ms=NOW_MS)
    with RuleStore(settings) as store:
        assert replace(silent, version=2) in store.rules()
        assert SLOW_API not in store.rules()
        delete(settings, ["slow-api"])
        assert until(store.poll)
        assert store.rules() == builtin_rules()


def test_what_cannot_be_deleted_is_said(settings: Settings) -> None:
    """An installed rule and an unknown one are refused, each with what to do, and nothing is deleted."""
    publish(settings, [RULE], by="ana", at_ms=NOW_MS)
    with pytest.raises(UsageFailure, match="apply it with `active: false`"):
        delete(settings, ["busy", "slow-api"])
    with pytest.raises(UsageFailure, match="atalaia rules list"):
        delete(settings, ["busy", "nonsense"])
    with RuleStore(settings) as store:
        assert "busy" in store.stored()


def test_poison_on_the_topic_keeps_no_rule_from_being_read(settings: Settings) -> None:
    """Bytes that are no rule are passed by; the rule that had that id stays as it was."""
    publish(settings, [RULE], by="ana", at_ms=NOW_MS)
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for value in (b"", b"{}", b"\x00\x00\x00\x00\x01junk", b"\x00\xff\xff\xff\xff"):
        producer.produce(ALERT_RULES.name, key=b"busy", value=value)
    assert producer.flush(20) == 0
    publish(settings, [replace(RULE, rule_id="other")], by="ana", at_ms=NOW_MS)
    with RuleStore(settings) as store:
        assert {"busy", "other"} == set(store.stored())
        assert store.stored()["busy"].rule == RULE


def test_rule_files_stand_between(settings: Settings, tmp_path: Path) -> None:
    """A configured file adds rules and replaces installed ones; a bad one in it is passed by."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules:\n"
        "  - {name: Busy, metric: cpu_usage, condition: '> 80'}\n"
        "  - {id: slow-api, name: Slower API, metric: api_response_time, condition: '> 900'}\n"
        "  - {name: Bad, metric: cpu_usage}\n",
        "utf-8",
    )
    with_file = settings.model_copy(update={"streams": StreamSettings(rule_files=[file])})
    publish(settings, [RULE], by="ana", at_ms=NOW_MS)
    with RuleStore(with_file) as store:
        in_force = {rule.rule_id: rule for rule in store.rules()}
    assert len(in_force) == len(builtin_rules()) + 1
    assert (in_force["slow-api"].threshold, in_force["busy"].threshold) == (900.0, 90.0)


def test_no_broker_is_one_clear_error() -> None:
    """Without Kafka the store says so, and what to do."""
    away = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        RuleStore(away, timeout=timedelta(seconds=1))
