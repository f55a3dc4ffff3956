"""The demo's numbers: the data set, the days it becomes, what counts as right, and the whole of it once."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offsets import free_offset

from atalaia.alerting.subscribe import Alert
from atalaia.cli.demo import cdnow, host, purchases
from atalaia.cli.demo.cdnow import Purchase
from atalaia.cli.demo.incident import Story, Transition
from atalaia.cli.demo.verdict import PUBLISHED, Tally, compare
from atalaia.producers import RecordingProducer
from atalaia.schemas.events import AlertStatus, Severity

NOW = datetime(2026, 3, 1, 15, 30, tzinfo=UTC)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by hypothesis' contract


def test_the_data_set_is_what_was_published() -> None:
    """69,659 purchases of 23,570 customers on 546 days, USD 2,500,315.63."""
    found = cdnow.purchases()
    assert Tally.of(purchase.cents for purchase in found) == PUBLISHED
    assert PUBLISHED.dollars == "2,500,315.63"
    assert len({purchase.customer for purchase in found}) == 23_570
    assert (found[0].day, found[-1].day) == (date(1997, 1, 1), cdnow.LAST_DAY)
    assert sum(purchase.dollars for purchase in found) == pytest.approx(2_500_315.63, abs=0.001)


def test_the_packed_data_is_the_same_on_every_machine() -> None:
    """The archive holds no modification time."""
    assert files("atalaia.cli.demo").joinpath("cdnow_master.txt.gz").read_bytes()[4:8] == bytes(4)


@given(now=moments, days_ago=st.integers(0, 545))
def test_shifted_purchases_keep_their_distance_and_never_lie_ahead(now: datetime, days_ago: int) -> None:
    """The last day becomes today, every other day stays as many days before it, and nothing happens in the future."""
    purchase = Purchase("1", cdnow.LAST_DAY - timedelta(days=days_ago), 1, 100)
    (sale,) = cdnow.shifted([purchase], now=now)
    assert (now.date() - sale.at.date()).days == days_ago
    assert sale.at <= now


def test_purchases_before_todays_noon_happen_now() -> None:
    """In the morning noon is still to come."""
    morning = NOW.replace(hour=3)
    (sale,) = cdnow.shifted([Purchase("1", cdnow.LAST_DAY, 1, 100)], now=morning)
    assert sale.at == morning


def test_runs_have_services_of_their_own() -> None:
    """A second run adds nothing to the first one's windows."""
    assert purchases.service_of(NOW) != purchases.service_of(NOW + timedelta(seconds=1))


def test_a_replay_counts_what_was_acknowledged() -> None:
    """The tally of a replay is the brokers' word, event by event, amounts included."""
    bought = [Purchase("7", cdnow.LAST_DAY, 2, 1_177), Purchase("8", cdnow.LAST_DAY, 1, 1_200)]
    heard: list[int] = []
    with RecordingProducer(service_name="cdnow-shop") as producer:
        assert purchases.replay(producer, cdnow.shifted(bought, now=NOW), heard.append) == Tally(2, 2_377)
        assert heard[-1] == 2
        first, second = producer.events
    assert (first["value"], first["unit"], first["frequency"], first["metadata"]["customer"]) == (
        11.77,
        "USD",
        "daily",
        "7",
    )
    assert second["timestamp"] == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_one_cent_is_a_difference() -> None:
    """A place passes only when purchases and money are the same, and says what is missing or too much."""
    expected = Tally(2, 300)
    right, short, double, silent = compare(
        expected, {"raw": Tally(2, 300), "day": Tally(2, 299), "month": Tally(4, 600), "none": None}
    )
    assert right.passed
    assert right.difference == ""
    assert (short.passed, short.difference) == (False, "USD 0.01 missing")
    assert (double.passed, double.difference) == (False, "2 purchases too many, USD 3.00 too many")
    assert (silent.passed, silent.difference) == (False, "no answer")


def test_counters_become_increments() -> None:
    """What a counter grew by is emitted; one that started anew, or is new, says nothing false."""
    before = {("disk_io", "read"): 10, ("network_io", "sent"): 50}
    later = {("disk_io", "read"): 25, ("network_io", "sent"): 5, ("network_io", "received"): 9}
    found = {(one.metric, one.dimensions["direction"]): one.value for one in host.increments(before, later)}
    assert found == {("disk_io", "read"): 15, ("network_io", "received"): 0}


def test_the_machine_is_measured_in_the_catalogues_words() -> None:
    """Live readings are metrics of the catalogue, with the dimensions it names."""
    found = list(host.levels(percpu=[12.5, 50.0]))
    assert [one.dimensions for one in found if one.metric == "cpu_usage"] == [{"core": "0"}, {"core": "1"}]
    assert {"cpu_usage", "memory_usage", "load_average", "disk_usage"} == {one.metric for one in found}


def transition(status: AlertStatus, at: datetime) -> Transition:
    """A transition of some alert."""
    texts = dict.fromkeys(
        ("alert_id", "fingerprint", "episode_id", "rule_id", "rule_name", "tenant", "metric_name", "service_name"), "x"
    )
    return Transition(
        Alert(
            **texts,
            rule_version=1,
            status=status,
            severity=Severity.HIGH,
            timestamp=at,
            starts_at=at,
            labels={},
            annotations={},
            actions=(),
            channels=(),
            recipients=(),
            value=400.0,
            threshold=250.0,
            condition="x > 250",
            unit="ms",
            window_start=None,
            window_end=None,
            completeness=None,
            watermark=None,
            traceparent=None,
        ),
        published_at=at,
    )


def test_a_story_ends_well_when_the_alert_fired_and_then_resolved() -> None:
    """Resolved alone is an older story; firing alone isn't over."""
    firing, resolved = transition(AlertStatus.FIRING, NOW), transition(AlertStatus.RESOLVED, NOW)
    assert not Story([resolved]).resolved
    assert Story([firing]).firing
    assert not Story([firing]).resolved
    assert Story([resolved, firing, resolved]).resolved


def test_delays_count_from_the_cause() -> None:
    """From the first slow answer to firing; what came before it was not our doing."""
    story = Story([], slow_since=NOW, good_since=NOW + timedelta(seconds=5))
    later = transition(AlertStatus.FIRING, NOW + timedelta(seconds=1))
    assert story.delay(later) == timedelta(seconds=1)
    assert story.delay(replace(later, published_at=NOW - timedelta(seconds=1))) is None
    assert story.delay(transition(AlertStatus.PENDING, NOW)) is None


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_demo_gives_its_verdict_and_leaves_nothing_running(tmp_path: Path) -> None:
    """From nothing: every sum to the cent, an alert fired and resolved, exit code 0, and no stack afterwards."""
    environment = os.environ | {"ATALAIA_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "atalaia.cli"]
    offset = str(free_offset())
    done = subprocess.run(
        [*command, "demo", "--exit", "--port-offset", offset],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2,500,315.63") == 5
    assert "firing" in done.stdout
    assert "resolved" in done.stdout
    status = subprocess.run([*command, "status"], capture_output=True, text=True, check=False, env=environment)
    assert status.returncode == 1, status.stdout
