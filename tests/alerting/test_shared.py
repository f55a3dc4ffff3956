"""Rules over many series in the situations that people will meet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Calendar, Grouping, Period, Read, Selector
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import CHANGED, DEACTIVATED, REMOVED
from atalaia.alerting.promql import parse, split
from atalaia.alerting.rules import Level, Rule
from atalaia.alerting.shared.judge import SharedJudge
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import Severity
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1000
ERRORS = "sum by (job) (increase(failed[5m])) / sum by (job) (increase(tried[5m])) > 0.5"


MISSED = Rule(
    rule_id="r",
    name="R",
    metric_name="level",
    comparison=None,
    threshold=0.0,
    absent_for=timedelta(minutes=2),
    expected=((("service_name", "api"),), (("service_name", "web"),)),
)


def rule(text: str, **more: Any) -> Rule:
    """A rule on an expression, its comparison with a number split off as a loader does."""
    expression, comparison, threshold = split(parse(text))
    metric = next(word for word in ("failed", "tried", "level") if word in text)
    fields: dict[str, Any] = {"comparison": comparison, "threshold": threshold or 0.0, "expression": expression}
    return Rule(rule_id="r", name="R", metric_name=metric, **(fields | more))


class Story:
    """A judge, its clock, and what it said."""

    def __init__(self, *rules: Rule) -> None:
        self.judge = SharedJudge(rules)
        self.at_ms = NOON_MS
        self.first = self.said()

    def event(self, metric: str, value: float, *, of: str = "api", **labels: Any) -> None:
        """Something happens now; it is the only event of its minute."""
        fields = {"tenant": "default", "region": None, "affiliate_id": None, "unit": "1", "frequency": "real_time"}
        series = SeriesKey(metric_name=metric, service_name=of, **(fields | labels))
        (minute,) = minutes_of([(self.at_ms, value)])
        self.judge.observe(series.record_key(), series, minute)

    def minute(self, **values: float) -> list[str]:
        """A minute passes in which one service says this much of each metric."""
        self.at_ms += MINUTE_MS
        for metric, value in values.items():
            self.event(metric, value)
        return self.said()

    def said(self) -> list[str]:
        """What is said now."""
        return [shown(each) for each in self.judge.advance(self.at_ms)]


def shown(transition: Transition) -> str:
    """The status, with the note where there is one."""
    return f"{transition.status}: {transition.note}" if transition.note else transition.status


def test_a_ratio_fires_and_resolves_with_its_evidence() -> None:
    """What it was made of goes with it, and the alert has the labels of its group."""
    story = Story(rule(ERRORS))
    story.at_ms += MINUTE_MS
    story.event("failed", 6)
    story.event("tried", 10)
    (fired,) = story.judge.advance(story.at_ms)
    assert fired.labels == {"service_name": "api", "tenant": "default"}
    assert (fired.service_name, fired.metric_name, fired.value) == ("api", "failed", 0.6)
    assert fired.evidence is not None
    assert (fired.evidence.numerator, fired.evidence.denominator, fired.evidence.count) == (6, 10, 2)
    assert fired.window == (NOON_MS - 3 * MINUTE_MS, NOON_MS + 2 * MINUTE_MS)
    assert story.minute(failed=0, tried=10) == ["resolved"]


class TestAbsence:
    """Nothing is resolved by vanishing."""

    def test_a_group_without_data_fires_on(self) -> None:
        """It has no data, and goes on as it was when data is back."""
        story = Story(rule("max by (job) (level) > 5", hold=timedelta(minutes=1)))
        assert [story.minute(level=9) for _ in range(2)] == [["pending"], ["firing"]]
        assert [said for _ in range(30) if (said := story.minute())] == [["no_data"]]
        assert story.minute(level=9) == ["firing"]
        assert story.minute(level=1) == ["resolved"]

    def test_a_pending_group_without_data_is_no_more(self) -> None:
        """For the condition must hold without a break."""
        story = Story(rule("max by (job) (level) > 5", hold=timedelta(minutes=30)))
        assert story.minute(level=9) == ["pending"]
        assert [said for _ in range(10) if (said := story.minute())] == [["inactive"]]

    def test_a_filter_in_the_expression_is_no_absence(self) -> None:
        """Where there is data, and the expression says no, the alert resolves; without data it does not."""
        story = Story(rule("level > 5 and level < 10"))
        assert story.minute(level=9) == ["firing"]
        assert story.minute(level=11) == ["resolved"]
        assert story.minute(level=9) == ["firing"]
        assert [said for _ in range(10) if (said := story.minute())] == [["no_data"]]

    def test_silence_of_a_counter_is_zero(self) -> None:
        """Errors that stop are data: the ratio falls, and the alert resolves."""
        story = Story(rule(ERRORS))
        story.minute(failed=9, tried=10)
        said = [each for _ in range(6) for each in story.minute(tried=10)]
        assert said == ["resolved"]

    def test_absent_fires_and_resolves(self) -> None:
        """It always has something to decide by."""
        story = Story(rule('absent(level{region="BR"})'))
        assert story.first == ["firing"]
        assert story.minute(level=1) == []
        story.event("level", 1, region="BR")
        assert story.said() == ["resolved"]


class TestSilence:
    """Whom nobody hears any more, and whom nobody ever heard."""

    def test_a_series_that_falls_silent_has_an_alert(self) -> None:
        """For exactly that series, once its latest event is so old; it resolves when it speaks again."""
        story = Story()
        story.judge = SharedJudge([replace(MISSED, expected=())], every=True)
        story.event("level", 1, of="api")
        found = []
        for _ in range(5):
            story.event("level", 1, of="web")
            found += story.judge.advance(story.at_ms)
            story.at_ms += MINUTE_MS
        (silent,) = found
        assert (silent.status, silent.labels["service_name"]) == ("firing", "api")
        assert silent.at_ms == NOON_MS + 2 * MINUTE_MS
        story.event("level", 1, of="api")
        story.event("level", 1, of="web")
        assert story.said() == ["resolved"]

    def test_what_was_never_heard_is_missed_if_it_is_expected(self) -> None:
        """Also by a rule on single series, whose own judge cannot know of it."""
        story = Story(MISSED)
        found = []
        for _ in range(4):
            story.at_ms += MINUTE_MS
            story.event("level", 1, of="web")
            found += story.judge.advance(story.at_ms)
        (silent,) = found
        assert (silent.status, silent.labels) == ("firing", {"service_name": "api", "tenant": "default"})
        dumps = [orjson.loads(orjson.dumps(story.judge.dump(key))) for key in story.judge.dirty()]
        heir = SharedJudge([MISSED])
        for dump in dumps:
            heir.load(dump, at_ms=story.at_ms)
        assert heir.advance(story.at_ms + 1) == []  # it is still missed, however new its judge is
        story.event("level", 1, of="api")
        assert story.said() == ["resolved"]


class TestWaiting:
    """What is too low because it is not all there yet decides nothing."""

    def test_a_sum_from_below_waits_for_whole_minutes(self) -> None:
        """It is judged once a minute is over for the lateness, and once all of its window has been watched."""
        story = Story(rule("sum by (job) (increase(tried[3m])) < 10"))
        assert [story.minute(tried=1) for _ in range(4)] == [[], [], [], []]
        story.at_ms += MINUTE_MS + 4_999
        assert story.said() == []
        story.at_ms += 1
        assert story.said() == ["firing"]

    def test_nothing_is_decided_while_data_is_on_its_way(self) -> None:
        """Neither fires nor resolves, nor counts towards `for`, what awaits data; the firing is told."""
        story = Story(rule("sum by (job) (level) > 5", hold=timedelta(minutes=2)))
        story.minute(level=9)
        assert story.minute(level=9) == []
        story.at_ms += MINUTE_MS
        assert story.judge.advance(story.at_ms, awaiting="partition 3 lags") == []
        story.event("level", 9)
        assert story.said() == []  # a minute of the two was spent waiting
        assert story.minute(level=9) == ["firing"]
        story.at_ms += MINUTE_MS
        (waiting,) = story.judge.advance(story.at_ms, awaiting="partition 3 lags")
        assert shown(waiting) == "awaiting_data: partition 3 lags"
        story.event("level", 9)
        assert story.said() == ["firing"]

    def test_incomplete_windows_await_data(self) -> None:
        """Where a rule asks for completeness."""
        story = Story(rule("sum by (job) (level) > 5", minimum_completeness=0.9))
        assert story.minute(level=9) == ["firing"]
        story.at_ms += MINUTE_MS
        series = SeriesKey("default", "level", "api", None, None, "1", "real_time")
        (minute,) = minutes_of([(story.at_ms, 1.0)])
        story.judge.observe(series.record_key(), series, replace(minute, missing=3))
        assert story.said() == ["awaiting_data"]

    def test_what_no_missing_event_can_undo_fires_at_once(self) -> None:
        """A count that is over its limit, however much of it is missing."""
        counted = "sum by (job) (count_over_time(level[5m])) > 1"
        story = Story(rule(counted, minimum_completeness=0.9))
        series = SeriesKey("default", "level", "api", None, None, "1", "real_time")
        for events, said in (([1.0], []), ([1.0, 2.0], ["firing"])):
            (minute,) = minutes_of([(story.at_ms + n, value) for n, value in enumerate(events)])
            story.judge.observe(series.record_key(), series, replace(minute, missing=9))
            assert story.said() == said

    def test_too_few_events_decide_nothing(self) -> None:
        """A ratio of next to nothing is none."""
        story = Story(rule(ERRORS, minimum_count=4))
        assert story.minute(failed=9, tried=10) == []
        assert story.minute(failed=9, tried=10) == ["firing"]


def test_levels_are_alerts_of_their_own() -> None:
    """Each threshold has its severity and its fingerprint."""
    story = Story(rule("sum by (job) (level) > 5", levels=(Level(Severity.CRITICAL, 50),)))
    story.at_ms += MINUTE_MS
    story.event("level", 60)
    found = story.judge.advance(story.at_ms)
    assert sorted((each.severity, each.threshold) for each in found) == [(Severity.CRITICAL, 50), (Severity.MEDIUM, 5)]
    assert len({each.fingerprint for each in found}) == 2
    story.event("level", 20)
    assert [(each.status, each.severity) for each in story.judge.advance(story.at_ms)] == [
        ("resolved", Severity.CRITICAL)
    ]


def test_what_cannot_be_computed_is_an_error_and_says_why() -> None:
    """A firing alert goes on, with the reason; when it can be computed again, so does the verdict."""
    story = Story(rule("level > on (job) failed"))
    story.event("failed", 1)
    story.event("level", 9)
    assert story.said() == ["firing"]
    story.event("failed", 1, region="BR")
    (failed,) = story.said()
    assert failed.startswith("error: ")
    assert 'region="BR"' in failed
    assert list(story.judge.errors) == ["r"]
    assert [said for _ in range(10) if (said := story.minute(level=9, failed=1))] == [["firing"]]
    assert story.judge.errors == {}


def test_tenants_are_judged_apart() -> None:
    """One tenant's series never count towards another's alert, though the rule is everybody's."""
    story = Story(rule("sum(level) > 5"))
    for tenant in ("acme", "default"):
        story.event("level", 4, tenant=tenant)
    assert story.said() == []
    story.event("level", 6, tenant="acme")
    (fired,) = story.judge.advance(story.at_ms)
    assert (fired.tenant, fired.labels) == ("acme", {"tenant": "acme"})


class TestChanges:
    """Rules change while alerts are open."""

    @pytest.mark.parametrize(
        ("after", "note"),
        [([], REMOVED), ([rule("sum by (job) (level) > 5", is_active=False)], DEACTIVATED)],
    )
    def test_what_is_gone_ends(self, after: list[Rule], note: str) -> None:
        """With a note that says why."""
        story = Story(rule("sum by (job) (level) > 5"))
        assert story.minute(level=9) == ["firing"]
        assert [shown(each) for each in story.judge.replace_rules(after, story.at_ms)] == [f"resolved: {note}"]
        assert len(story.judge) == 0

    def test_what_did_not_change_keeps_its_state(self) -> None:
        """Another text changes nothing; another condition judges a firing alert anew and starts `for` anew."""
        busy = rule("sum by (job) (level) > 5", hold=timedelta(minutes=2))
        story = Story(busy)
        story.minute(level=9)
        assert story.judge.replace_rules([replace(busy, name="Busy", version=2)], story.at_ms) == []
        story.minute(level=9)
        assert story.minute(level=9) == ["firing"]
        assert story.judge.replace_rules([replace(busy, threshold=20.0, version=3)], story.at_ms) == []
        assert story.minute(level=9) == ["resolved"]
        assert story.minute(level=30) == ["pending"]
        changed = story.judge.replace_rules([replace(busy, threshold=10.0, version=4)], story.at_ms)
        assert [shown(each) for each in changed] == [f"inactive: {CHANGED}"]

    def test_changes_while_nobody_judged_are_made_up_for(self) -> None:
        """What is loaded under rules that have changed since ends, as if it had been there."""
        busy = rule("sum by (job) (level) > 5")
        story = Story(busy)
        story.minute(level=9)
        dumps = [orjson.loads(orjson.dumps(story.judge.dump(key))) for key in story.judge.dirty()]
        heir = SharedJudge([])
        for dump in dumps:
            heir.load(dump, at_ms=story.at_ms)
        assert [shown(each) for each in heir.advance(story.at_ms + 1)] == [f"resolved: {REMOVED}"]


def test_a_sum_of_today_begins_anew_at_midnight() -> None:
    """At the midnight of the rule's own zone."""
    today = Read(Selector("tried"), Aggregate.SUM, Calendar(Period.DAY, "America/Sao_Paulo"), grouping=Grouping(()))
    story = Story(replace(rule("sum(increase(tried[1h])) > 5"), expression=today))
    assert story.minute(tried=9) == ["firing"]
    midnight_ms = NOON_MS + 15 * HOUR_MS  # three hours after UTC's
    story.at_ms = midnight_ms - 1
    assert story.said() == []
    story.at_ms = midnight_ms
    assert story.said() == ["resolved"]
