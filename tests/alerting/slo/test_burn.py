"""Burn rate alerts: the workbook's table, and when they fire and cease over real arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from atalaia.alerting import promql
from atalaia.alerting.evaluating.evaluate import Sample, evaluate
from atalaia.alerting.evaluating.panel import Panel
from atalaia.alerting.expressions import Rolling, reads
from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.alerting.rules import Rule
from atalaia.alerting.shared import outlook
from atalaia.alerting.shared.judge import SharedJudge
from atalaia.alerting.slo.burn import TABLE, burns_of, rule_id, rules_of
from atalaia.alerting.slo.document import from_document
from atalaia.alerting.slo.objectives import Slo, Urgency
from atalaia.alerting.writing import structure
from atalaia.schemas.catalogue import metric
from atalaia.schemas.events import AlertStatus, Severity
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

START_MS = 1_760_054_400_000
"""A midnight, UTC."""
HEALTHY = (100.0, 0.0)

FORMS = {
    "bad": {"bad": 'http_requests{status_class="5xx"}', "total": "http_requests"},
    "good": {"good": 'http_requests{status_class!="5xx"}', "total": "http_requests"},
    "at most": {"values": "http_request_duration", "at_most": 500},
    "at least": {"values": "service_up", "at_least": 1},
    "bad from": {"bad": {"of": "http_request_duration", "at_least": 500}, "total": "http_request_duration"},
    "two metrics": {"bad": "cache_misses", "total": {"of": "http_request_duration", "count": "events"}},
}


def slo(sli: object = None, **fields: object) -> Slo:
    """99.5 % of a service's requests succeed."""
    written = {"name": "api", "service": "api", "objective": 99.5, "sli": sli or FORMS["bad"]}
    return from_document(written | fields)


def rule(objective: Slo, urgency: Urgency) -> Rule:
    """The objective's page, or its ticket."""
    return next(found for found in rules_of(objective) if found.rule_id == rule_id(objective.name, urgency))


def key(name: str, **dimensions: str) -> SeriesKey:
    """A series of the service `api`."""
    entry = metric(name)
    return SeriesKey("default", name, "api", None, None, entry.unit, "real_time", tuple(sorted(dimensions.items())))


class Traffic:
    """Requests of a service, minute by minute, and what the rules say of them."""

    def __init__(self, *rules: Rule) -> None:
        self.panel = Panel()
        self.panel.want((read, 0) for each in rules if each.expression for read in reads(each.expression))
        self.minute = 0

    def pass_by(self, total: float, bad: float) -> None:
        """One more minute, with so many requests, so many of them bad."""
        at_ms = START_MS + self.minute * MINUTE_MS
        for status, amount in (("2xx", total - bad), ("5xx", bad)):
            if amount:
                self.observe(key("http_requests", status_class=status), minutes_of([(at_ms, amount)]))
        self.minute += 1

    def observe(self, series: SeriesKey, minutes: Iterable[MinuteStats]) -> None:
        """Minutes of a series."""
        for minute in minutes:
            self.panel.observe(series.record_key(), series, minute)

    def holds(self, judged: Rule) -> list[Sample]:
        """Where a rule holds at the end of the last minute."""
        assert judged.expression is not None
        at_ms = START_MS + self.minute * MINUTE_MS - 1
        return evaluate(judged.expression, self.panel.of("default"), at_ms)

    def minutes_until(self, reached: Callable[[], bool], total: float, bad: float, *, at_most: int) -> int:
        """How many such minutes pass until something is reached."""
        for passed in range(1, at_most + 1):
            self.pass_by(total, bad)
            if reached():
                return passed
        raise AssertionError(f"not within {at_most} minutes")


def test_the_table_is_the_workbooks() -> None:
    """Rates, windows and the share of a 30 d budget that is gone: chapter 5, section 6."""
    hours = timedelta(hours=1)
    assert [(burn.urgency.value, burn.rate, burn.long / hours, burn.short / hours * 60) for burn in TABLE] == [
        ("page", 14.4, 1, 5),
        ("page", 6.0, 6, 30),
        ("ticket", 3.0, 24, 120),
        ("ticket", 1.0, 72, 360),
    ]
    spent = [burn.rate * (burn.long / timedelta(days=30)) for burn in TABLE]
    assert spent == pytest.approx([0.02, 0.05, 0.1, 0.1])
    assert all(burn.long == 12 * burn.short for burn in TABLE)


@pytest.mark.parametrize("days", [7, 14, 28, 30, 90])
def test_windows_scale_with_the_objectives(days: int) -> None:
    """Another window spends the same share of its budget, within a rule's step, and every window is a legal one."""
    objective = slo(window=f"{days}d")
    for burn, of_30_days in zip(burns_of(objective), TABLE, strict=True):
        exact = of_30_days.long * (days / 30)
        assert abs(burn.long - exact) <= timedelta(minutes=30)
        assert burn.short < burn.long
    assert len(rules_of(objective)) == 2


def test_a_week_is_watched_over_shorter_windows() -> None:
    """7 d: an hour becomes 14 minutes."""
    fastest = burns_of(slo(window="7d"))[0]
    assert (fastest.long, fastest.short) == (timedelta(minutes=14), timedelta(minutes=1))


def test_rates_that_cannot_be_are_left_out() -> None:
    """With 10 % to fail nothing burns 14.4 times as fast; with half of all, only the slowest can."""
    assert [burn.rate for burn in burns_of(slo(objective=90))] == [6, 3, 1]
    assert [made.rule_id for made in rules_of(slo(objective=70))] == ["slo-api-ticket"]


def test_rules_say_who_is_called() -> None:
    """Severity, owner, channels and runbook; a page is critical and a ticket medium unless told otherwise."""
    objective = slo(
        owner="team",
        runbook_url="https://example.com",
        labels={"tier": "1"},
        page={"channels": ["pagerduty"], "recipients": ["ops"], "actions": ["look"]},
        ticket={"severity": "low", "active": False},
    )
    page, ticket = rules_of(objective)
    assert (page.severity, page.channels, page.recipients, page.actions) == (
        Severity.CRITICAL,
        ("pagerduty",),
        ("ops",),
        ("look",),
    )
    assert (ticket.severity, ticket.is_active) == (Severity.LOW, False)
    assert rule(slo(), Urgency.TICKET).severity is Severity.MEDIUM
    for made in (page, ticket):
        said = dict(made.annotations)
        assert (made.owner, said["slo"], said["slo_service"]) == ("team", "api", "api")
        assert (said["runbook_url"], said["tier"]) == ("https://example.com", "1")


@pytest.mark.parametrize("form", FORMS)
def test_rules_can_be_written_down(form: str) -> None:
    """The trees of every form of an indicator read back the same, and a page is shown as PromQL that can be read."""
    for made in rules_of(slo(FORMS[form], by=["service_name", "region"])):
        assert made.expression is not None
        assert structure.read(structure.written(made.expression)) == made.expression
    page = rule(slo(FORMS[form]), Urgency.PAGE).expression
    assert page is not None
    promql.parse(promql.text(page))


@pytest.mark.parametrize("form", FORMS)
def test_no_rule_waits_for_a_step_to_be_over(form: str) -> None:
    """A page that waits for six hours' step would come five minutes late."""
    for made in rules_of(slo(FORMS[form])):
        assert made.expression is not None
        assert not outlook.must_settle(made.expression)


def test_windows_are_the_burns() -> None:
    """A rule reads the windows of its burns, and nothing else; a ticket those of the page that silences it, too."""

    def windows(made: Rule) -> set[timedelta]:
        assert made.expression is not None
        return {read.span.length for read in reads(made.expression) if isinstance(read.span, Rolling)}

    pages = {window for burn in TABLE[:2] for window in (burn.long, burn.short)}
    assert windows(rule(slo(), Urgency.PAGE)) == pages
    assert windows(rule(slo(), Urgency.TICKET)) == pages | {
        window for burn in TABLE[2:] for window in (burn.long, burn.short)
    }
    alone = slo(page={"active": False})
    assert windows(rule(alone, Urgency.TICKET)).isdisjoint(pages - {timedelta(hours=6)})


class TestPage:
    """Over an API of 100 requests a minute."""

    @pytest.fixture
    def page(self) -> Rule:
        """The page of 99.5 %."""
        return rule(slo(), Urgency.PAGE)

    @pytest.fixture
    def traffic(self, page: Rule) -> Traffic:
        """Seven hours without an error."""
        traffic = Traffic(page)
        for _ in range(7 * 60):
            traffic.pass_by(*HEALTHY)
        assert traffic.holds(page) == []
        return traffic

    def test_an_outage_pages_within_minutes(self, traffic: Traffic, page: Rule) -> None:
        """Everything fails: an hour's share is above 14.4 x 0.5 % after 0.072 x 60 min, the fifth minute."""
        assert traffic.minutes_until(lambda: bool(traffic.holds(page)), 100, 100, at_most=10) == 5

    def test_a_fast_burn_pages_when_the_hour_is_above(self, traffic: Traffic, page: Rule) -> None:
        """A 20-fold burn is 10 % bad: 44 minutes of it are over 7.2 % of the hour."""
        assert traffic.minutes_until(lambda: bool(traffic.holds(page)), 100, 10, at_most=60) == 44

    def test_a_burn_of_six_pages_by_the_slower_condition(self, traffic: Traffic, page: Rule) -> None:
        """A 7-fold burn never passes 14.4; in 6 h it is above 6 after 3 % / 3.5 % of them, and five minutes' step."""
        minutes = traffic.minutes_until(lambda: bool(traffic.holds(page)), 200, 7, at_most=400)
        assert minutes <= 360
        (sample,) = traffic.holds(page)
        assert sample.value == pytest.approx(0.03, abs=0.002)

    def test_it_ceases_soon_after_the_errors(self, traffic: Traffic, page: Rule) -> None:
        """The short window, 5 min, lets go of what the long one remembers for an hour."""
        traffic.minutes_until(lambda: bool(traffic.holds(page)), 100, 20, at_most=60)
        assert traffic.minutes_until(lambda: not traffic.holds(page), *HEALTHY, at_most=10) <= 5

    def test_a_burn_just_below_does_not_page(self, traffic: Traffic, page: Rule) -> None:
        """Five times the sustainable rate, for hours: a ticket's matter."""
        for _ in range(7 * 60):
            traffic.pass_by(1000, 25)
            assert traffic.holds(page) == []

    def test_the_labels_are_those_of_the_group(self, traffic: Traffic, page: Rule) -> None:
        """Not the status, by which bad is told from good."""
        traffic.minutes_until(lambda: bool(traffic.holds(page)), 100, 100, at_most=10)
        (sample,) = traffic.holds(page)
        assert dict(sample.labels)["service_name"] == "api"
        assert "status_class" not in dict(sample.labels)


class TestLowTraffic:
    """Few events say little."""

    def test_three_failures_of_four_call_nobody(self) -> None:
        """Over 75 % bad, and yet too few to tell."""
        page, ticket = rules_of(slo())
        traffic = Traffic(page, ticket)
        traffic.pass_by(4, 3)
        for _ in range(30):
            traffic.pass_by(0, 0)
            assert traffic.holds(page) == traffic.holds(ticket) == []

    def test_a_single_failure_of_a_hundred_calls_nobody(self) -> None:
        """At 99.9 % it would be a burn of ten over six hours."""
        page, ticket = rules_of(slo(objective=99.9))
        traffic = Traffic(page, ticket)
        for _ in range(100):
            traffic.pass_by(1, 0)
        traffic.pass_by(1, 1)
        for _ in range(30):
            assert traffic.holds(page) == traffic.holds(ticket) == []
            traffic.pass_by(1, 0)

    def test_both_minimums_can_be_lowered(self) -> None:
        """Who wants every failure gets it."""
        page = rule(slo(minimum_events=0, minimum_bad=0), Urgency.PAGE)
        traffic = Traffic(page)
        traffic.pass_by(4, 3)
        assert traffic.holds(page)

    def test_twenty_failures_of_twenty_page(self) -> None:
        """A small service that is down is down."""
        page = rule(slo(), Urgency.PAGE)
        traffic = Traffic(page)
        assert traffic.minutes_until(lambda: bool(traffic.holds(page)), 1, 1, at_most=30) == 20


class TestTicket:
    """The slow burns, and the fast ones that silence them."""

    def test_a_slow_burn_makes_a_ticket_and_no_page(self) -> None:
        """Twice the sustainable rate of a week: the long window, 16.75 h, is above one after half of it."""
        page, ticket = rules_of(slo(window="7d"))
        traffic = Traffic(page, ticket)
        for _ in range(17 * 60):
            traffic.pass_by(*HEALTHY)
        passed = traffic.minutes_until(lambda: bool(traffic.holds(ticket)), 100, 1, at_most=17 * 60)
        assert passed / 60 == pytest.approx(8.4, abs=0.3)
        assert traffic.holds(page) == []

    def test_the_page_silences_it(self) -> None:
        """While the page holds there is no ticket; when the page ceases, what is left is a ticket's matter."""
        objective = slo()
        page, ticket = rules_of(objective)
        alone = rule(replace(objective, page=replace(objective.page, is_active=False)), Urgency.TICKET)
        traffic = Traffic(page, ticket, alone)
        for _ in range(24 * 60):
            traffic.pass_by(*HEALTHY)
        traffic.minutes_until(lambda: bool(traffic.holds(page)), 100, 100, at_most=10)
        for _ in range(60):
            traffic.pass_by(100, 100)
            assert bool(traffic.holds(page)) is not bool(traffic.holds(ticket))
        assert traffic.holds(page)
        assert traffic.holds(alone)
        traffic.minutes_until(lambda: not traffic.holds(page), *HEALTHY, at_most=60)
        assert traffic.holds(ticket)


def test_good_events_that_never_were_are_none() -> None:
    """A service all of whose requests failed from the start has no series of good ones, and yet it pages."""
    page = rule(slo(FORMS["good"]), Urgency.PAGE)
    traffic = Traffic(page)
    assert traffic.minutes_until(lambda: bool(traffic.holds(page)), 10, 10, at_most=10) == 2


def test_bad_events_that_never_were_are_none() -> None:
    """A service without an error has no series of errors, and a share of bad ones that is zero."""
    page = rule(slo(), Urgency.PAGE)
    traffic = Traffic(page)
    for _ in range(10):
        traffic.pass_by(*HEALTHY)
    assert traffic.holds(page) == []


@pytest.mark.parametrize(("latency", "pages"), [(500.0, False), (511.0, True)])
def test_latency_is_a_share_of_requests(latency: float, *, pages: bool) -> None:
    """Requests as slow as the bound are fast enough; 2.1 % slower ones are not."""
    page = rule(slo(FORMS["at most"]), Urgency.PAGE)
    traffic = Traffic(page)
    events = [(START_MS + number * 1000, latency) for number in range(120)]
    traffic.observe(key("http_request_duration", endpoint="/a"), minutes_of(events))
    traffic.minute = 2
    assert bool(traffic.holds(page)) is pages


@pytest.mark.parametrize(("value", "pages"), [(1.0, False), (0.0, True)])
def test_uptime_is_a_share_of_looks(value: float, *, pages: bool) -> None:
    """Looks that found the service up are good, those that found it down bad."""
    page = rule(slo(FORMS["at least"]), Urgency.PAGE)
    traffic = Traffic(page)
    traffic.observe(key("service_up"), minutes_of([(START_MS + second * 1000, value) for second in range(60)]))
    traffic.minute = 1
    assert bool(traffic.holds(page)) is pages


class TestAlerts:
    """The same rules as alerts, by the judge of shared rules."""

    def judge(self, objective: Slo, minutes: Iterable[tuple[float, float]]) -> list[tuple[int, str, AlertStatus]]:
        """What becomes of the objective's alerts: the minute, the rule and the status entered."""
        judge = SharedJudge(rules_of(objective))
        entered = []
        for number, (total, bad) in enumerate(minutes):
            at_ms = START_MS + number * MINUTE_MS
            for status, amount in (("2xx", total - bad), ("5xx", bad)):
                series = key("http_requests", status_class=status)
                for minute in minutes_of([(at_ms, amount)] if amount else []):
                    judge.observe(series.record_key(), series, minute)
            for transition in judge.advance(at_ms + MINUTE_MS - 1):
                entered.append((number, transition.rule.rule_id, transition.status))  # noqa: PERF401 - reads better
        return entered

    def test_a_burst_pages_and_resolves(self) -> None:
        """Firing in the fifth minute of an outage, resolved when the last five minutes are good again."""
        outage = [*[HEALTHY] * 400, *[(100.0, 100.0)] * 5, *[HEALTHY] * 60]
        pages = [(number, status) for number, rule_id, status in self.judge(slo(), outage) if "page" in rule_id]
        assert pages == [(404, AlertStatus.FIRING), (409, AlertStatus.RESOLVED)]

    def test_a_service_that_died_while_it_failed_has_not_recovered(self) -> None:
        """Without events there is no verdict; the page resolves with the first good ones."""
        died = [*[HEALTHY] * 30, *[(100.0, 100.0)] * 10, *[(0.0, 0.0)] * 45]
        entered = self.judge(slo(), [*died, *[HEALTHY] * 90])
        pages = [(number, status) for number, rule_id, status in entered if "page" in rule_id]
        assert [status for number, status in pages if number < len(died)] == [AlertStatus.FIRING, AlertStatus.NO_DATA]
        assert pages[-1][1] is AlertStatus.RESOLVED

    def test_low_traffic_calls_nobody(self) -> None:
        """One request a minute, every hundredth of them bad: a burn of two, but of too few events."""
        quiet = [(1.0, 1.0 if number % 100 == 50 else 0.0) for number in range(120)]
        assert self.judge(slo(), quiet) == []


def test_own_annotations_replace_texts_but_not_whose_alert_it_is() -> None:
    """A summary may be anybody's; by the objective's name its rules are found again."""
    objective = slo(page={"annotations": {"summary": "Down", "slo": "other"}}, labels={"slo_window": "1d"})
    said = dict(rule(objective, Urgency.PAGE).annotations)
    assert (said["summary"], said["slo"], said["slo_window"]) == ("Down", "api", "30d")
