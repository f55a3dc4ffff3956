"""The judge in the situations that people will meet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import CHANGED, DEACTIVATED, NOT_SELECTED, REMOVED, Judge
from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import Transition
from atalaia.alerting.writing.document import from_document
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1000
DAY_MS = 24 * HOUR_MS


def series(metric: str = "cpu_usage", service: str = "web", **more: Any) -> SeriesKey:
    """A series of a metric."""
    fields = {"region": None, "affiliate_id": None, "unit": "%", "frequency": "real_time"} | more
    return SeriesKey("default", metric, service, **fields)


def rule(**written: Any) -> Rule:
    """A rule on CPU."""
    return from_document({"name": "Busy", "metric": "cpu_usage", "condition": "> 90"} | written)


class Story:
    """A judge, its clock, and what it said."""

    def __init__(self, *rules: Rule, at_ms: int = NOON_MS) -> None:
        self.judge = Judge(rules)
        self.at_ms = at_ms
        assert self.judge.tick(at_ms) == []

    def event(self, value: float, *, of: SeriesKey | None = None, after_ms: int = 1_000, age_ms: int = 0) -> list[str]:
        """Something happens a while after what was before, and is judged at once."""
        self.at_ms += after_ms
        key = of or series()
        (minute,) = minutes_of([(self.at_ms - age_ms, value)])
        self.judge.observe(key.record_key(), key, minute, self.at_ms)
        return said(self.judge.judge(self.at_ms))

    def wait(self, ms: int) -> list[str]:
        """Time passes, a second at a time."""
        found = []
        for _ in range(ms // 1_000):
            self.at_ms += 1_000
            found += said(self.judge.tick(self.at_ms))
        return found


def said(transitions: list[Transition]) -> list[str]:
    """The statuses, with the note where there is one."""
    return [f"{entered.status}: {entered.note}" if entered.note else entered.status for entered in transitions]


def test_the_bare_form_judges_each_latest_value() -> None:
    """A value over the threshold fires, the next one below it resolves."""
    story = Story(rule())
    assert [story.event(value) for value in (50, 95, 96, 90, 91)] == [[], ["firing"], [], ["resolved"], ["firing"]]


def test_the_bare_form_goes_by_event_time() -> None:
    """A value that comes late does not replace a later one."""
    story = Story(rule())
    story.event(50)
    assert story.event(95, age_ms=5_000) == []
    assert story.event(95) == ["firing"]
    assert story.event(50, age_ms=5_000) == []


@pytest.mark.parametrize("window", [{}, {"aggregate": "last", "window": "5m"}])
def test_of_a_tie_the_last_to_come_stands(window: dict[str, str]) -> None:
    """Of two values of the same instant the one with the later offset is the latest."""
    story = Story(rule(**window))
    assert story.event(95) == ["firing"]
    assert story.event(50, after_ms=0) == ["resolved"]
    assert story.event(95, after_ms=0) == ["firing"]


def test_nothing_is_judged_before_its_first_event() -> None:
    """A condition that an empty window meets does not fire for the time before the series was there."""
    story = Story(rule(aggregate="sum", window="5m", condition="> -1", metric="commission_paid"))
    paid = series("commission_paid")
    story.at_ms += 10 * MINUTE_MS  # a worker that lags: the judge hears of ten minutes at once
    (minute,) = minutes_of([(story.at_ms - MINUTE_MS, 5.0)])
    story.judge.observe(paid.record_key(), paid, minute, story.at_ms)
    (fired,) = story.judge.judge(story.at_ms)
    assert (fired.value, fired.at_ms) == (5.0, minute.start_ms + MINUTE_MS - 1)


def test_for_needs_an_unbroken_hold() -> None:
    """Pending at once, firing after `for`, back to the start by one value that does not hold."""
    story = Story(rule(**{"for": "1m"}))
    assert story.event(95) == ["pending"]
    assert story.wait(50_000) == []
    assert story.event(10) == ["inactive"]
    assert story.event(95) == ["pending"]
    assert story.wait(59_000) == []
    assert story.wait(1_000) == ["firing"]
    assert story.event(10) == ["resolved"]


def test_a_break_between_two_judgements_is_seen() -> None:
    """If any value in between did not hold, `for` starts over, though only the latest is judged."""
    story = Story(rule(**{"for": "1m"}))
    story.event(95)
    story.wait(50_000)
    at_ms, key = story.at_ms + 500, series()
    (minute,) = minutes_of([(at_ms - 2, 10.0), (at_ms - 1, 95.0)])
    story.judge.observe(key.record_key(), key, minute, at_ms)
    assert said(story.judge.judge(at_ms)) == ["inactive", "pending"]
    assert story.wait(59_000) == []


def test_silence_resolves_nothing() -> None:
    """A series that vanishes while it fires goes on firing, by its latest value and by its windows; that is told."""
    story = Story(rule(), rule(id="avg", aggregate="avg", window="5m"))
    assert story.event(95) == ["firing", "firing"]
    assert story.wait(2 * HOUR_MS) == ["no_data", "no_data"]
    assert sorted(story.event(10)) == ["resolved", "resolved"]


def test_a_sum_resolves_when_it_slides_empty() -> None:
    """An hour after what was paid the sum of the last hour is small again, and nobody has to emit for that."""
    (high,) = [rule for rule in builtin_rules() if rule.rule_id == "high-commissions"]
    story = Story(high)
    paid = series("commission_paid", unit="BRL")
    assert story.event(300, of=paid) == []
    assert story.event(200, of=paid) == []
    assert story.event(0.5, of=paid) == ["firing"]
    assert story.wait(59 * MINUTE_MS) == []
    assert story.wait(MINUTE_MS) == ["resolved"]


def test_commissions_are_counted_by_the_hour_not_by_the_event() -> None:
    """F3: over 500 BRL per hour. 200 an hour is fine for ever; one of 600 is not; other money is another matter."""
    (high,) = [rule for rule in builtin_rules() if rule.rule_id == "high-commissions"]
    story = Story(high)
    paid = series("commission_paid", unit="BRL")
    assert [story.event(200, of=paid, after_ms=HOUR_MS) for _ in range(5)] == [[]] * 5
    assert story.event(600, of=series("commission_paid", unit="USD")) == []
    assert story.event(600, of=paid) == ["firing"]


@pytest.mark.parametrize(
    ("rule_id", "metric", "unit", "fine", "bad"),
    [
        ("low-revenue", "revenue_hourly", "BRL", 1500, 1499.99),
        ("slow-api", "api_response_time", "ms", 250, 250.1),
        ("low-conversion", "conversion_rate", "%", 3, 2.9),
        ("high-commissions", "commission_paid", "BRL", 500, 0.01),
        ("few-active-users", "active_users", "{user}", 75, 74),
    ],
)
def test_the_installed_rules_fire_as_f3_says(rule_id: str, metric: str, unit: str, fine: float, bad: float) -> None:
    """At the threshold nothing, past it the alert."""
    story = Story(*builtin_rules())
    watched = series(metric, unit=unit)
    assert story.event(fine, of=watched) == []
    assert story.event(bad, of=watched) == ["firing"]
    assert next(rule for rule in builtin_rules() if rule.rule_id == rule_id).metric_name == metric


def test_too_low_a_count_fires_when_a_series_falls_silent() -> None:
    """A floor under a count is a dead man's switch: quiet at first, then at every whole minute without events."""
    story = Story(rule(aggregate="count", window="2m", condition="< 1"))
    assert story.event(5) == []
    assert story.wait(MINUTE_MS) == []
    assert story.wait(2 * MINUTE_MS) == []
    assert story.wait(5_000) == ["firing"]
    assert story.event(5) == []
    assert story.wait(MINUTE_MS) == ["resolved"]


def test_a_straggler_is_waited_for() -> None:
    """What arrives within the allowed lateness keeps a minute from having been too poor."""
    story = Story(rule(aggregate="count", window="1m", condition="< 2"))
    story.event(5)
    story.wait(MINUTE_MS)
    story.event(5)
    story.wait(58_000)
    assert story.event(5, age_ms=1_500) == []
    assert story.wait(10_000) == []
    assert story.wait(MINUTE_MS) == ["firing"]


def test_series_are_judged_apart_and_selected_by_labels() -> None:
    """Each series has its own alert; a matcher on an absent label means that it must be absent."""
    story = Story(rule(where={"service_name": "web", "region": ""}))
    assert story.event(95) == ["firing"]
    assert story.event(95, of=series(service="api")) == []
    assert story.event(95, of=series(region="BR")) == []
    assert story.event(95, of=series(dimensions=(("host", "a"),))) == ["firing"]


def test_a_tenants_rule_sees_that_tenant_alone() -> None:
    """A rule without a tenant is everybody's, one with a tenant is that tenant's."""
    theirs = replace(series(), tenant="other")
    story = Story(rule(tenant="other"))
    assert story.event(95) == []
    assert story.event(95, of=theirs) == ["firing"]


@pytest.mark.parametrize("window", [{}, {"aggregate": "max", "window": "5m"}])
def test_a_backfill_never_pages(window: dict[str, str]) -> None:
    """Events of last year that arrive today are no news, and leave nothing behind."""
    story = Story(rule(**window))
    assert [story.event(99, age_ms=365 * DAY_MS - n * MINUTE_MS) for n in range(10)] == [[]] * 10
    assert (len(story.judge), story.judge.dirty()) == (0, set())


@pytest.mark.parametrize(
    ("frequency", "fine", "late"), [("hourly", HOUR_MS, 3 * HOUR_MS), ("daily", DAY_MS, 3 * DAY_MS)]
)
def test_the_latest_value_of_a_periodic_metric_may_be_old(frequency: str, fine: int, late: int) -> None:
    """What comes once a day is news for two."""
    story = Story(rule())
    assert story.event(99, of=series(frequency=frequency), age_ms=fine) == ["firing"]
    assert story.event(99, of=series(service="api", frequency=frequency), age_ms=late) == []


def test_the_clock_never_goes_back() -> None:
    """An earlier `at_ms` counts as the latest that was given."""
    story = Story(rule(**{"for": "1m"}))
    assert story.event(95) == ["pending"]
    assert said(story.judge.tick(story.at_ms - HOUR_MS)) == []
    assert story.wait(60_000) == ["firing"]


def test_an_event_from_the_future_counts_when_its_minute_comes() -> None:
    """A clock that runs ahead by minutes fires the window then, without another event."""
    story = Story(rule(aggregate="max", window="5m"))
    assert story.event(99, age_ms=-3 * MINUTE_MS) == []
    assert story.wait(2 * MINUTE_MS) == []
    assert story.wait(MINUTE_MS) == ["firing"]


def test_idle_series_are_let_go() -> None:
    """State is bounded by what is active: a quiet series leaves nothing, and its key is dirty once more."""
    story = Story(rule(), rule(id="sum", aggregate="max", window="10m"))
    story.event(50)
    assert len(story.judge) == 2
    key = series().record_key()
    assert story.judge.dirty() == {key}
    assert story.wait(12 * MINUTE_MS) == []
    assert (len(story.judge), story.judge.dirty(), story.judge.dump(key)) == (0, {key}, None)


class TestChangedRules:
    """Rules come, change and go while their alerts are open."""

    def fired(self, *rules: Rule) -> Story:
        """A story in which a series is at 95."""
        story = Story(*rules)
        assert story.event(95) == ["firing"] * len(rules)
        return story

    def replaced(self, story: Story, *rules: Rule) -> list[str]:
        """What replacing the rules says at once, and then with the next judgement."""
        story.at_ms += 1_000
        return said(story.judge.replace_rules(rules, story.at_ms)) + story.wait(1_000)

    def test_the_same_rules_change_nothing(self) -> None:
        """Reading the rules again is no event."""
        assert self.replaced(self.fired(rule()), rule()) == []

    def test_what_does_not_decide_keeps_the_alert(self) -> None:
        """New texts, severity, channels and version: the alert goes on, and resolves under its own id."""
        story = self.fired(rule())
        assert self.replaced(story, rule(severity="critical", name="Hot", id="busy", version=2, channels=["sms"])) == []
        assert story.event(10) == ["resolved"]

    def test_a_removed_rule_resolves(self) -> None:
        """Its alerts end with the reason."""
        assert self.replaced(self.fired(rule())) == [f"resolved: {REMOVED}"]

    def test_a_deactivated_rule_resolves(self) -> None:
        """So do those of a rule that is switched off; switched on, it begins anew."""
        story = self.fired(rule())
        assert self.replaced(story, rule(active=False)) == [f"resolved: {DEACTIVATED}"]
        assert story.event(95) == []
        assert self.replaced(story, rule()) == []
        assert story.event(95) == ["firing"]

    def test_a_rule_that_selects_other_series_resolves(self) -> None:
        """What it no longer looks at, it cannot keep firing."""
        story = self.fired(rule())
        assert self.replaced(story, rule(where={"service_name": "api"})) == [f"resolved: {NOT_SELECTED}"]

    def test_another_threshold_is_judged_by_the_next_verdict(self) -> None:
        """A firing alert goes on if it holds by the new threshold, else it resolves."""
        assert self.replaced(self.fired(rule()), rule(condition="> 80")) == []
        story = self.fired(rule(aggregate="max", window="5m"))
        assert self.replaced(story, rule(aggregate="max", window="5m", condition="> 99")) == ["resolved"]

    def test_pending_starts_anew_under_another_condition(self) -> None:
        """`for` counts what held under the rule as it is."""
        story = Story(rule(aggregate="max", window="5m", **{"for": "1m"}))
        assert story.event(95) == ["pending"]
        story.wait(50_000)
        changed = rule(aggregate="max", window="5m", condition="> 94", **{"for": "1m"})
        assert self.replaced(story, changed) == [f"inactive: {CHANGED}", "pending"]
        assert story.wait(59_000) == []
        assert story.wait(1_000) == ["firing"]

    def test_a_new_rule_uses_what_is_known(self) -> None:
        """A series that is under watch has its last minutes judged by a new rule at once."""
        story = self.fired(rule(aggregate="max", window="5m"))
        assert self.replaced(story, rule(aggregate="max", window="5m"), rule(id="b", aggregate="avg", window="2m")) == [
            "firing"
        ]

    def test_a_wider_floor_waits_until_it_has_seen_enough(self) -> None:
        """What was forgotten before the rule came counts as not watched, not as zero."""
        story = Story(rule(aggregate="count", window="2m", condition="< 1"))
        for _ in range(600):
            assert story.event(5) == []
        wide = rule(aggregate="count", window="10m", condition="< 550")
        assert self.replaced(story, wide) == []
        for _ in range(420):
            assert story.event(5) == []

    def test_a_rule_that_goes_while_nobody_watches_resolves(self) -> None:
        """Whoever takes up the state of a rule that is gone says that its alert is over."""
        story = self.fired(rule())
        key = series().record_key()
        state = orjson.loads(orjson.dumps(story.judge.dump(key)))
        for rules, note in ((), REMOVED), ((rule(active=False),), DEACTIVATED):
            later = Judge(rules)
            later.load(key, series(), state)
            (resolved,) = later.tick(story.at_ms + 1_000)
            assert (said([resolved]), resolved.rule.name) == ([f"resolved: {note}"], "Busy")
            assert (later.dirty(), later.dump(key)) == ({key}, None)


class TestSnapshots:
    """State that another judge takes up."""

    KEY = series().record_key()

    def test_a_forgotten_series_says_nothing(self) -> None:
        """A partition that moves away takes its alerts along: no resolve here."""
        story = Story(rule())
        story.event(95)
        story.judge.forget(self.KEY)
        assert story.judge.dump(self.KEY) is None
        assert story.judge.dirty() == set()
        assert story.wait(MINUTE_MS) == []

    def test_for_is_not_restarted(self) -> None:
        """Half of `for` before a crash and half of it after make one."""
        story = Story(rule(**{"for": "1m"}))
        story.event(95)
        story.wait(30_000)
        later = Judge([rule(**{"for": "1m"})])
        later.load(self.KEY, series(), orjson.loads(orjson.dumps(story.judge.dump(self.KEY))))
        assert said(later.tick(story.at_ms + 29_000)) == []
        assert said(later.tick(story.at_ms + 30_000)) == ["firing"]

    def test_a_snapshot_is_short(self) -> None:
        """An hour of minutes under a rule on a sum is at most two kilobytes, whatever the values."""
        story = Story(rule(metric="revenue_hourly", aggregate="sum", window="1h", condition="> 1e9"))
        watched = series("revenue_hourly")
        for n in range(120):
            story.event(1234.5678 + n / 7, of=watched, after_ms=30_000)
        assert len(orjson.dumps(story.judge.dump(watched.record_key()))) < 2_500

    def test_a_rule_that_needs_more_than_was_kept_waits_for_it(self) -> None:
        """A snapshot under a sum has no maxima: a rule on those has no verdict until it has seen a whole window."""
        one, other = rule(aggregate="avg", window="5m"), rule(aggregate="max", window="5m", id="max", condition="< 50")
        story = Story(one)
        story.event(40)
        later = Judge([one, other])
        later.load(self.KEY, series(), orjson.loads(orjson.dumps(story.judge.dump(self.KEY))))
        story.judge = later
        assert [story.event(40, after_ms=30_000) for _ in range(9)] == [[]] * 9
        assert [story.event(40, after_ms=30_000) for _ in range(4)].count(["firing"]) == 1

    @pytest.mark.parametrize("state", [[], [99, 1], [0]])
    def test_a_snapshot_of_another_layout_is_left_alone(self, state: list[Any]) -> None:
        """State that this version cannot read is as if there were none."""
        judge = Judge([rule()])
        judge.load(self.KEY, series(), state)
        assert len(judge) == 0


def test_ids_are_stable() -> None:
    """The same rule and series give the same fingerprint in every process and version; these are written down."""
    story = Story(rule())
    story.at_ms += 1_000
    (minute,) = minutes_of([(story.at_ms, 95.0)])
    story.judge.observe(b"any key", series(), minute, story.at_ms)
    (fired,) = story.judge.judge(story.at_ms)
    assert fired.fingerprint == "28adc4231a49c283c06e288fdc7ba8a9"
    assert fired.alert_id == "67e4648db9fc386359a146b1288d613d"
