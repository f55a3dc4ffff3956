"""The judge over an alert's whole life: recovery, levels, silence, missing events, late data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.alerting.local.judge import CHANGED, Judge
from atalaia.alerting.local.tracker import FORGOTTEN
from atalaia.alerting.rules import Comparison, Level, Rule
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus, Severity
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1000
DAY_MS = 24 * HOUR_MS
SERIES = SeriesKey("default", "test_metric", "web", None, None, "1", "real_time")
KEY = SERIES.record_key()


def rule(**more: Any) -> Rule:
    """A rule on the highest value of the last two minutes."""
    fields: dict[str, Any] = {
        "rule_id": "r",
        "name": "R",
        "metric_name": "test_metric",
        "aggregate": Aggregate.MAX,
        "window": timedelta(minutes=2),
        "comparison": Comparison.ABOVE,
        "threshold": 90.0,
    }
    return Rule(**(fields | more))


def silent(**more: Any) -> Rule:
    """A rule on five minutes of silence, and nothing else."""
    fields = {"aggregate": Aggregate.LAST, "window": None, "comparison": None, "threshold": 0.0}
    return rule(**(fields | {"absent_for": timedelta(minutes=5)} | more))


@dataclass
class Story:
    """A judge, its clock, and all that it said."""

    judge: Judge
    at_ms: int = NOON_MS
    told: list[Transition] = field(default_factory=list)

    def tick(self, at_ms: int) -> list[str]:
        """The statuses told at a moment."""
        self.at_ms = max(self.at_ms, at_ms)
        fresh = self.judge.tick(self.at_ms)
        self.told += fresh
        return [each.status.value for each in fresh]

    def event(self, value: float, *, after_ms: int = 1_000, age_ms: int = 0, missing: int = 0) -> list[str]:
        """One event, judged at once."""
        return self.events([(-age_ms, value)], after_ms=after_ms, missing=missing)

    def events(self, some: list[tuple[int, float]], *, after_ms: int = 1_000, missing: int = 0) -> list[str]:
        """Events at some time from when they come."""
        self.at_ms += after_ms
        for minute in minutes_of([(self.at_ms + offset_ms, value) for offset_ms, value in some]):
            minute.missing = missing
            self.judge.observe(KEY, SERIES, minute, self.at_ms)
        return self.tick(self.at_ms)

    def wait(self, ms: int) -> list[str]:
        """Time passes, a second at a time."""
        return [status for _ in range(ms // 1_000) for status in self.tick(self.at_ms + 1_000)]

    def restarted(self, *rules: Rule) -> Story:
        """The story as another worker takes it up."""
        later = Judge(rules)
        state = self.judge.dump(KEY)
        if state is not None:
            later.load(KEY, SERIES, orjson.loads(orjson.dumps(state)))
        return Story(later, self.at_ms)


def story(*rules: Rule) -> Story:
    """A story that begins at noon."""
    judge = Judge(rules)
    judge.tick(NOON_MS)
    return Story(judge)


class TestRecovery:
    """Where an alert resolves."""

    def test_it_resolves_past_the_recovery_threshold(self) -> None:
        """Fires above 90, goes on at 85, resolves at 80; 85 again fires nothing."""
        told = story(rule(window=timedelta(minutes=1), aggregate=Aggregate.LAST, recovery=80.0))
        assert [told.event(value) for value in (95, 85, 80.5, 80, 85)] == [["firing"], [], [], ["resolved"], []]

    def test_keep_firing_survives_a_restart(self) -> None:
        """Half of it before and half after make one, and a relapse in between starts it over, in the same episode."""
        keeping = rule(window=None, aggregate=Aggregate.LAST, keep_firing=timedelta(minutes=1))
        told = story(keeping)
        assert [told.event(value) for value in (95, 10)] == [["firing"], ["recovering"]]
        told.wait(30_000)
        later = told.restarted(keeping)
        assert later.wait(29_000) == []
        assert later.wait(1_000) == ["resolved"]
        assert len({each.episode_id for each in told.told + later.told}) == 1

    def test_two_of_three_minutes(self) -> None:
        """One bad minute says nothing; a second one within three fires, and resolves when they are past."""
        told = story(rule(window=timedelta(minutes=1), needed=2, of_last=3))
        assert told.event(95) == []
        assert told.event(10, after_ms=MINUTE_MS) == []
        assert told.event(95, after_ms=MINUTE_MS) == ["firing"]
        later = [told.event(10, after_ms=MINUTE_MS) for _ in range(4)]
        assert [status for said in later for status in said] == ["resolved"]

    def test_a_restart_in_between_loses_no_minute(self) -> None:
        """The minutes that held are part of the snapshot."""
        counting = rule(window=timedelta(minutes=1), needed=2, of_last=3)
        told = story(counting)
        told.event(95)
        assert told.restarted(counting).event(95, after_ms=MINUTE_MS) == ["firing"]


class TestLevels:
    """Several thresholds in one rule."""

    LEVELS = (Level(Severity.HIGH, 95.0), Level(Severity.CRITICAL, 99.0, 97.0))

    def test_each_level_is_an_alert_of_its_own(self) -> None:
        """Each fires at its own threshold with its own severity, and resolves by itself."""
        told = story(rule(window=None, aggregate=Aggregate.LAST, levels=self.LEVELS))
        assert [len(told.event(value)) for value in (91, 96, 99.5, 98, 94, 10)] == [1, 1, 1, 0, 2, 1]
        said = [(each.status.value, each.severity.value, each.threshold) for each in told.told]
        assert said[:3] == [("firing", "medium", 90.0), ("firing", "high", 95.0), ("firing", "critical", 99.0)]
        assert len({each.fingerprint for each in told.told}) == 3

    def test_the_rules_own_threshold_keeps_its_fingerprint(self) -> None:
        """Adding levels to a rule changes nothing for the alert that was there."""
        with_levels, without = story(rule(levels=self.LEVELS)), story(rule())
        with_levels.event(91)
        without.event(91)
        assert with_levels.told[0].alert_id == without.told[0].alert_id

    def test_a_level_that_goes_ends_its_alert(self) -> None:
        """A threshold that is taken away resolves its alert alone, also where nobody watched."""
        told = story(rule(levels=self.LEVELS))
        told.event(96)
        later = told.restarted(rule())
        assert later.tick(later.at_ms + 1) == ["resolved"]
        assert (later.told[0].severity, later.told[0].note) == (Severity.HIGH, CHANGED)
        assert [each.severity.value for each in told.judge.replace_rules([rule()], told.at_ms)] == ["high"]


class TestSilence:
    """Absence of a series."""

    def test_a_silent_series_fires_and_resolves_when_it_speaks(self) -> None:
        """Five minutes after its last event, not sooner; and exactly that series."""
        told = story(silent())
        other = replace(SERIES, service_name="api")
        told.event(1)
        for _ in range(299):
            told.at_ms += 1_000
            (minute,) = minutes_of([(told.at_ms, 1.0)])
            told.judge.observe(b"api", other, minute, told.at_ms)
            assert told.tick(told.at_ms) == []
        (minute,) = minutes_of([(told.at_ms, 1.0)])
        assert told.tick(told.at_ms + 1_000) == ["firing"]
        assert (told.told[0].labels["service_name"], told.told[0].value) == ("web", None)
        assert told.event(1) == ["resolved"]

    def test_a_restart_changes_nothing(self) -> None:
        """The silence goes on across a worker's end, and so does its alert."""
        told = story(silent())
        told.event(1)
        told.wait(200_000)
        later = told.restarted(silent())
        assert later.wait(99_000) == []
        assert later.wait(1_000) == ["firing"]
        again = later.restarted(silent())
        assert again.wait(HOUR_MS // 10) == []
        assert again.event(1) == ["resolved"]

    def test_who_never_spoke_is_not_missed(self) -> None:
        """A series that only a backfill brought is not under watch, and doesn't fire."""
        told = story(silent(), rule(rule_id="long", window=timedelta(days=7)))
        assert told.event(1, age_ms=DAY_MS) == []
        assert told.wait(10 * MINUTE_MS) == []

    def test_a_partition_that_lags_is_not_silent(self) -> None:
        """While the clock stands at the last arrival, nobody has been silent: only time that was read counts."""
        told = story(silent())
        told.event(1)
        assert [told.tick(told.at_ms) for _ in range(1_000)] == [[]] * 1_000
        assert told.event(1, after_ms=299_000) == []

    def test_a_rule_may_judge_both(self) -> None:
        """A value and its absence are two alerts of one rule; `for` is about the value."""
        both = rule(window=None, aggregate=Aggregate.LAST, hold=timedelta(minutes=1), absent_for=timedelta(minutes=2))
        told = story(both)
        assert told.event(95) == ["pending"]
        assert told.wait(2 * MINUTE_MS) == ["firing", "firing"]
        assert len({each.fingerprint for each in told.told}) == 2
        assert told.event(10) == ["resolved", "resolved"]

    def test_late_data_shows_that_it_was_not_silent(self) -> None:
        """Events from within the silence that come after it has fired retract it, once."""
        told = story(silent())
        told.event(1)
        assert told.wait(300_000) == ["firing"]
        assert told.event(1, age_ms=100_000) == ["resolved", "retracted"]
        assert told.event(1, age_ms=50_000) == []

    @pytest.mark.parametrize("of", [silent(), rule()])
    def test_what_is_gone_for_good_is_forgotten(self, of: Rule) -> None:
        """After a week of silence an alert ends, but not resolved: nobody saw it recover. Nothing is left behind."""
        told = story(of)
        told.event(95)
        told.tick(NOON_MS + 10 * MINUTE_MS)
        told.told.clear()
        for hours in range(1, 24 * 7 - 1):
            assert told.tick(NOON_MS + hours * HOUR_MS) == []
        said = [status for hours in range(24 * 7 - 1, 24 * 7 + 3) for status in told.tick(NOON_MS + hours * HOUR_MS)]
        assert said == ["inactive"]
        assert (told.told[0].note, len(told.judge), told.judge.dump(KEY)) == (FORGOTTEN, 0, None)


class TestMissingEvents:
    """Windows of which events are known to be missing."""

    def test_an_incomplete_window_awaits_data(self) -> None:
        """Below the completeness that a rule asks for nothing fires; a firing alert says that it waits, and goes on."""
        told = story(rule(minimum_completeness=0.9))
        assert told.event(95, missing=1) == []
        assert told.wait(3 * MINUTE_MS) == []
        assert told.event(95) == ["firing"]
        assert told.event(10, missing=5) == ["awaiting_data"]
        assert told.wait(MINUTE_MS) == []
        assert [each.evidence is not None and each.evidence.completeness < 0.9 for each in told.told] == [False, True]

    def test_rules_that_ask_for_nothing_judge_what_is_there(self) -> None:
        """Without `minimum_completeness` missing events change no verdict."""
        assert story(rule()).event(95, missing=1_000) == ["firing"]

    @pytest.mark.parametrize(
        ("metric", "aggregate", "value", "fires"),
        [
            ("http_requests", Aggregate.SUM, 500.0, True),
            ("http_requests", Aggregate.COUNT, -1.0, True),
            ("order_value", Aggregate.SUM, 500.0, False),
            ("order_value", Aggregate.COUNT, 1.0, True),
        ],
    )
    def test_what_nothing_can_undo_fires_at_once(
        self,
        metric: str,
        aggregate: Aggregate,
        value: float,
        fires: bool,  # noqa: FBT001 - a verdict
    ) -> None:
        """A count, or the sum of an additive metric that was never negative, needs no completeness to be too high."""
        impatient = rule(
            metric_name=metric, aggregate=aggregate, threshold=0.5, minimum_completeness=1.0, recovery=None
        )
        judge, key = Judge([impatient]), replace(SERIES, metric_name=metric)
        (minute,) = minutes_of([(NOON_MS, value)])
        minute.missing = 100
        judge.observe(KEY, key, minute, NOON_MS)
        assert [each.status.value for each in judge.judge(NOON_MS)] == (["firing"] if fires else [])

    def test_a_refund_makes_a_sum_wait(self) -> None:
        """Once a negative value was seen, a sum over its threshold may still come down."""
        impatient = rule(metric_name="http_requests", aggregate=Aggregate.SUM, threshold=5, minimum_completeness=1.0)
        judge = Judge([impatient])
        minute = MinuteStats(NOON_MS, 2, 90.0, -10.0, 100.0, 100.0, NOON_MS, -10.0, NOON_MS + 1, {}, 7)
        judge.observe(KEY, replace(SERIES, metric_name="http_requests"), minute, NOON_MS)
        assert judge.judge(NOON_MS) == []


class TestLateData:
    """Events that change a window which was decided."""

    FEW = rule(aggregate=Aggregate.COUNT, comparison=Comparison.BELOW, threshold=3)

    def fired(self) -> Story:
        """Two minutes without events were too few."""
        told = story(self.FEW)
        told.event(1, after_ms=30_000)
        assert told.wait(4 * MINUTE_MS) == ["firing"]
        return told

    def test_a_count_that_was_enough_is_retracted(self) -> None:
        """Three events come late: the alert should not have fired, and says so with its own episode, once."""
        told = self.fired()
        fired = told.told[-1]
        assert fired.window is not None
        assert told.event(1, age_ms=told.at_ms + 1_000 - fired.window[0]) == ["amended"]
        late = [(fired.window[0] - told.at_ms, 1.0)] * 2
        assert told.events(late) == ["retracted"]
        assert told.events(late) == ["amended"]
        retracted = told.told[-2]
        assert (retracted.episode_id, retracted.value, retracted.window) == (fired.episode_id, 3.0, fired.window)
        assert retracted.alert_id != fired.alert_id

    def test_a_value_that_changed_is_amended(self) -> None:
        """Still too few, but not as few as was said."""
        told = self.fired()
        fired = told.told[-1]
        assert fired.window is not None
        assert told.event(1, age_ms=told.at_ms + 1_000 - fired.window[0]) == ["amended"]
        assert (told.told[-1].value, told.told[-1].note) == (1.0, "late data changed what had fired")

    def test_jitter_amends_nothing(self) -> None:
        """What comes within the allowed lateness, and what happens after the decision, is no late data."""
        told = story(rule(aggregate=Aggregate.SUM))
        assert told.event(95) == ["firing"]
        assert told.event(5, age_ms=4_000) == []
        assert told.event(5) == []

    def test_it_survives_a_restart(self) -> None:
        """Late data amends what another worker decided, under the same id."""
        here = self.fired()
        there = here.restarted(self.FEW)
        fired = here.told[-1]
        assert fired.window is not None
        age_ms = here.at_ms + 1_000 - fired.window[0]
        assert here.event(1, age_ms=age_ms) == there.event(1, age_ms=age_ms) == ["amended"]
        assert here.told[-1].alert_id == there.told[-1].alert_id

    def test_after_an_hour_a_decision_stands(self) -> None:
        """State is bounded: what comes later than an hour amends nothing."""
        told = self.fired()
        fired = told.told[-1]
        assert fired.window is not None
        told.tick(told.at_ms + HOUR_MS)
        assert told.event(1, age_ms=told.at_ms + 1_000 - fired.window[0]) == []

    def test_a_resolve_is_amended_too(self) -> None:
        """That it should not have resolved is said, and the alert stays as it is."""
        told = self.fired()
        told.events([(0, 1.0)] * 5, after_ms=1_000)
        assert "resolved" in told.wait(2 * MINUTE_MS)
        resolved = next(each for each in told.told if each.status is AlertStatus.RESOLVED)
        assert resolved.window is not None
        said = told.event(1, age_ms=told.at_ms + 1_000 - resolved.window[0])
        assert "amended" in said


def test_a_snapshot_of_the_layout_before_is_read() -> None:
    """An upgrade keeps what fires and what is pending; nothing fires or resolves because of it."""
    watched = rule(hold=timedelta(minutes=1))
    minute = [NOON_MS // MINUTE_MS, 1, 95.0, 5, *[95.0] * 4, 5]
    buckets = [MINUTE_MS, 2 * MINUTE_MS, NOON_MS - HOUR_MS, 0, True, [minute]]
    written = {"id": "r", "name": "R", "metric": "test_metric", "condition": ">", "threshold": 90.0, "for": "1m"}
    written |= {"aggregate": "max", "window": "2m"}
    old = [1, NOON_MS, None, [buckets], [["r", "pending", NOON_MS - 30_000, NOON_MS - MINUTE_MS, written]]]
    judge = Judge([watched])
    judge.load(KEY, SERIES, orjson.loads(orjson.dumps(old)))
    told = Story(judge)
    assert told.tick(NOON_MS + 29_999) == []
    assert told.tick(NOON_MS + 30_000) == ["firing"]
