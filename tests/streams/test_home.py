"""One home at work: partials of several source partitions in, transitions and memos out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_rules import read, shared
from stream_data import NOW_MS, group

from atalaia.alerting.expressions import Binary, Operator, Read
from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS
from atalaia.streams import partials
from atalaia.streams.families import families, place
from atalaia.streams.home import LOOKING_BACK_MS, STRIDE_MS, Home
from atalaia.streams.partials import MemoKey, PartialsRecord, SourceClock
from atalaia.streams.state import PartitionState

METRIC = "api_response_time"
SOURCES = 2
MINUTE = NOW_MS - NOW_MS % MINUTE_MS
"""The minute that all tests begin in."""
NOW = MINUTE + 30_000

Log = list[tuple[int, bytes, bytes | None]]
"""What the places hold: place, key, value."""


def over(threshold: float, *, hold: timedelta = timedelta(), window: timedelta = timedelta(minutes=5)) -> Rule:
    """A rule on how many events all services have had together."""
    return replace(shared("r", METRIC, expression=read(METRIC, window)), threshold=threshold, hold=hold)


class Source:
    """One source partition, as the worker drives it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = PartitionState(number)
        self.offset = 0
        self.epoch = 1

    def event(self, at_ms: int, value: float = 1.0, *, service: str = "checkout") -> Log:
        """The partial that one more event gives."""
        self.offset += 1
        self.state.apply([group(self.offset, at_ms, value, service=service)], last_offset=self.offset, touched=0.0)
        series = next(each for each in self.state.series.values() if each.identity.service_name == service)
        window = series.windows[0][at_ms - at_ms % MINUTE_MS]
        key = partials.partial_key(series.key, window, partition=self.number)
        return [(place(METRIC, 4), key, partials.partial_value(window, epoch=self.epoch))]

    def clock(self, at_ms: int, *, generation: int = 1) -> Log:
        """Its clock at this instant."""
        value = partials.clock_value(SourceClock(at_ms, at_ms, True, generation, at_ms))
        return [(place(METRIC, 4), partials.clock_key(self.number), value)]


class Lab:
    """Two sources, the log of their partials, and homes that come and go."""

    def __init__(self, *rules: Rule) -> None:
        self.sources = [Source(number) for number in range(SOURCES)]
        self.log: Log = []
        self.told: list[Transition] = []
        self.families = families(rules, partitions=4)
        self.home = self.open(NOW)

    def open(self, now_ms: int) -> Home:
        """A home that has read the whole log."""
        self.home = Home(place(METRIC, 4), self.families, sources=SOURCES)
        for record in self.log:
            self.home.take(*record)
        self.told += self.home.begin(now_ms)
        self.log += self.home.memos()
        return self.home

    def put(self, *records: Log) -> None:
        """Writes to the log, which the home tails."""
        for each in records:
            self.log += each
            for record in each:
                self.home.take(*record)

    def tick(self, now_ms: int, *, sources: Iterable[int] = range(SOURCES)) -> list[AlertStatus]:
        """Time passes at these sources; what the home tells."""
        self.put(*(self.sources[number].clock(now_ms) for number in sources))
        return self.judge(now_ms)

    def judge(self, now_ms: int) -> list[AlertStatus]:
        """What the home tells now; what it writes goes to the log."""
        told = self.home.advance(now_ms)
        self.told += told
        written: list[PartialsRecord] = [*self.home.memos(), *self.home.marks()]
        self.log += written
        return [transition.status for transition in told]


def test_series_of_several_partitions_are_judged_together() -> None:
    """Events on two partitions, of two services, that only together are too many, fire once and resolve."""
    lab = Lab(over(3))
    one, other = lab.sources
    lab.put(one.event(NOW), one.event(NOW), other.event(NOW, service="search"))
    assert lab.tick(NOW) == []
    lab.put(other.event(NOW, service="search"))
    assert lab.tick(NOW + 1_000) == [AlertStatus.FIRING]
    assert lab.told[0].value == 4
    assert lab.tick(NOW + 2_000) == []
    statuses = [status for minute in range(1, 7) for status in lab.tick(NOW + minute * MINUTE_MS)]
    assert statuses == [AlertStatus.RESOLVED]


def test_a_source_that_stands_still_holds_every_verdict() -> None:
    """While one source is not heard of, time doesn't pass: no `for` is over, nothing resolves."""
    lab = Lab(over(1, hold=timedelta(minutes=1)))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.PENDING]
    for minute in range(1, 10):
        assert lab.tick(NOW + minute * MINUTE_MS, sources=[0]) == []


def test_a_firing_alert_awaits_data_of_a_source_that_lags() -> None:
    """Once a source is ten seconds behind, a firing alert says that it awaits data; caught up, it fires on."""
    lab = Lab(over(1, window=timedelta(hours=1)))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.FIRING]
    assert lab.tick(NOW + 9_000, sources=[0]) == []
    assert lab.tick(NOW + 11_000, sources=[0]) == [AlertStatus.AWAITING_DATA]
    assert lab.tick(NOW + 12_000, sources=[0]) == []
    assert lab.tick(NOW + 13_000) == [AlertStatus.FIRING]
    assert "partition 1" in str(lab.told[1].note)


def test_what_a_lagging_source_brings_is_judged_for_its_time() -> None:
    """Too many events of five minutes ago fire and resolve, when at last they come, as if they had been punctual."""
    lab = Lab(over(1, window=timedelta(minutes=1)))
    assert lab.tick(NOW) == []
    later = NOW + 4 * MINUTE_MS
    assert lab.tick(later, sources=[0]) == []
    lab.put(lab.sources[1].event(NOW + 1_000), lab.sources[1].event(NOW + 2_000))
    assert lab.tick(later) == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert [told.at_ms < NOW + 2 * MINUTE_MS for told in lab.told] == [True, True]


def test_a_long_lag_is_made_up_in_strides() -> None:
    """Nobody waits long for a home that has hours to judge: it takes some minutes at a time."""
    lab = Lab(over(1))
    lab.tick(NOW)
    lab.put(*(source.clock(NOW + 3 * STRIDE_MS) for source in lab.sources))
    for stride in (1, 2, 3):
        lab.judge(NOW + 3 * STRIDE_MS)
        assert lab.home.judged_ms == NOW + stride * STRIDE_MS


def test_a_partial_that_comes_again_counts_once() -> None:
    """A replay sends what was sent, and earlier states of it: nothing is counted twice, nothing is taken back."""
    lab = Lab(over(3))
    source = lab.sources[0]
    sent = [source.event(NOW) for _ in range(3)]
    lab.put(*sent, *sent)
    assert lab.tick(NOW) == []
    lab.put(source.event(NOW), *sent)
    assert lab.tick(NOW + 1) == [AlertStatus.FIRING]
    assert lab.told[0].value == 4


def test_a_partial_of_an_earlier_owner_changes_nothing() -> None:
    """A worker that was taken for dead may have read further, and writes on: what its successor says is in force."""
    lab = Lab(over(3))
    dead, successor = lab.sources[0], Source(0)
    sent = [dead.event(NOW) for _ in range(4)]
    successor.epoch = 2
    lab.put(sent[0], successor.event(NOW), *sent)
    assert lab.tick(NOW) == []


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 200)), max_size=30), st.data())
def test_the_order_of_sources_changes_nothing(events: list[tuple[int, int]], data: st.DataObject) -> None:
    """However partials of several sources are mixed, repeated or batched, the same transitions come out."""
    one, other = Lab(over(5)), Lab(over(5))
    for number, second in events:
        one.put(one.sources[number].event(NOW + second * 1_000))
    sent = [(number, other.sources[number].event(NOW + second * 1_000)) for number, second in events]
    queues = [[log for number, log in sent if number == source] for source in range(SOURCES)]
    while any(queues):
        source = data.draw(st.sampled_from([number for number, queue in enumerate(queues) if queue]))
        log = queues[source].pop(0)
        other.put(log, log)
    for lab in (one, other):
        for minute in range(8):
            lab.tick(NOW + minute * MINUTE_MS)
    assert [told.alert_id for told in one.told] == [told.alert_id for told in other.told]
    assert [told.at_ms for told in one.told] == [told.at_ms for told in other.told]


def test_a_successor_goes_on_with_for() -> None:
    """A home that takes over while an alert is pending fires it when its `for` is over, not later, and once."""
    lab = Lab(over(1, hold=timedelta(minutes=2), window=timedelta(hours=1)))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.PENDING]
    assert lab.tick(NOW + MINUTE_MS) == []
    lab.open(NOW + MINUTE_MS + 15_000)
    assert lab.tick(NOW + MINUTE_MS + 15_000) == []
    assert lab.tick(NOW + 2 * MINUTE_MS) == [AlertStatus.FIRING]
    assert len({told.episode_id for told in lab.told}) == 1
    lab.open(NOW + 2 * MINUTE_MS)
    assert lab.tick(NOW + 2 * MINUTE_MS + 1_000) == []


def test_a_successor_judges_again_what_was_not_written() -> None:
    """What a home told and couldn't write down before it died, its successor tells again, with the same ids."""
    lab = Lab(over(1))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    lab.put(*(source.clock(NOW) for source in lab.sources))
    told = lab.home.advance(NOW)
    lab.open(NOW + 3_000)
    again = lab.home.advance(NOW + 3_000)
    assert [each.alert_id for each in told] == [each.alert_id for each in again] != []


def test_what_was_owed_is_inherited() -> None:
    """A transition that may not have arrived is handed on, until it is known to have."""
    lab = Lab(over(1))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    lab.put(*(source.clock(NOW) for source in lab.sources))
    told = lab.home.advance(NOW)
    owing = list(lab.home.owing(told, [b"the record"]))
    lab.log += owing
    inherited = list(lab.open(NOW).inherited())
    assert [(fingerprint, value) for fingerprint, (_, _, value) in inherited] == [(told[0].fingerprint, b"the record")]
    lab.log += [(at, key, None) for at, key, _ in owing]
    assert list(lab.open(NOW).inherited()) == []


def test_of_two_memos_that_of_the_later_judgement_is_in_force() -> None:
    """A predecessor that was paused, and writes after its successor, changes nothing."""
    lab = Lab(over(1))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    lab.tick(NOW)
    memo = next(record for record in lab.log if isinstance(partials.parse_key(record[1]), MemoKey))
    resolved = [lab.tick(NOW + minute * MINUTE_MS) for minute in range(1, 6)]
    assert resolved[-1] == [AlertStatus.RESOLVED]
    lab.log.append(memo)
    lab.open(NOW + 5 * MINUTE_MS)
    assert lab.tick(NOW + 5 * MINUTE_MS + 1_000) == []


def test_after_a_long_stop_the_past_is_not_judged() -> None:
    """A home that was away for a day begins an hour ago."""
    lab = Lab(over(1))
    lab.tick(NOW)
    tomorrow = NOW + 24 * 60 * MINUTE_MS
    lab.put(*(source.clock(tomorrow) for source in lab.sources))
    lab.open(tomorrow)
    assert lab.home.judged_ms == tomorrow - LOOKING_BACK_MS


def test_after_a_long_lag_only_the_last_hour_is_judged() -> None:
    """What happened half a day ago, and comes only now, calls nobody: neither a start nor an end of it."""
    lab = Lab(over(1, window=timedelta(minutes=1)))
    lab.tick(NOW)
    lab.put(lab.sources[1].event(NOW + MINUTE_MS), lab.sources[1].event(NOW + MINUTE_MS))
    later = NOW + 12 * 60 * MINUTE_MS
    lab.put(*(source.clock(later) for source in lab.sources))
    lab.judge(later)
    assert lab.home.judged_ms == later - LOOKING_BACK_MS + STRIDE_MS
    while lab.home.judged_ms < later:
        lab.judge(later)
    assert lab.told == []


def test_a_rule_that_is_gone_ends_its_alerts() -> None:
    """A removed rule's firing alert resolves, and nothing of it is left for a successor."""
    kept = replace(over(100), rule_id="other", name="other")
    lab = Lab(over(1), kept)
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.FIRING]
    lab.families = families([kept], partitions=4)
    assert [told.status for told in lab.home.adopt(lab.families)] == [AlertStatus.RESOLVED]
    lab.tick(NOW + 1_000)
    lab.open(NOW + 2_000)
    assert lab.tick(NOW + 2_000) == []


@pytest.mark.parametrize("left", [[], [replace(over(1), is_active=False)], [shared("r", "a_metric")]])
def test_a_rule_that_went_while_nobody_looked_ends_its_alerts(left: list[Rule]) -> None:
    """Removed, deactivated or made another while no worker ran: what it had firing resolves, once."""
    lab = Lab(over(1))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.FIRING]
    lab.families = families(left, partitions=4)
    lab.open(NOW + MINUTE_MS)
    assert [told.status for told in lab.told] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert len({told.episode_id for told in lab.told}) == 1
    lab.open(NOW + 2 * MINUTE_MS)
    assert len(lab.told) == 2


def test_an_alert_whose_rule_is_judged_elsewhere_now_goes_on_there() -> None:
    """The home that a rule has left, because it reads more metrics now, leaves its alerts to the new one."""
    lab = Lab(over(1))
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.FIRING]
    wide = replace(
        over(1), rule_id="wide", name="wide", expression=Binary(Operator.ADD, read(METRIC), read("a_metric"))
    )
    lab.families = families([over(1), wide], partitions=4)
    assert lab.families.home(METRIC) != place(METRIC, 4)
    lab.open(NOW + MINUTE_MS)
    assert [told.status for told in lab.told] == [AlertStatus.FIRING]
    new_home = Home(place("a_metric", 4), lab.families, sources=SOURCES)
    for record in lab.log:
        new_home.take(*record)
    assert new_home.begin(NOW + MINUTE_MS) == []
    assert new_home.judged_ms == NOW


def test_a_home_that_is_dropped_for_another_ends_only_what_is_gone() -> None:
    """Where two families become one, their alerts go on at the new home; only those of removed rules end."""
    gone = replace(over(1), rule_id="gone", name="gone")
    lab = Lab(over(1), gone)
    lab.put(lab.sources[0].event(NOW), lab.sources[0].event(NOW))
    assert lab.tick(NOW) == [AlertStatus.FIRING, AlertStatus.FIRING]
    wider = families([over(1), shared("wide", METRIC, "a_metric")], partitions=4)
    assert [told.rule.rule_id for told in lab.home.release(wider)] == ["gone"]


def test_minutes_out_of_reach_are_deleted_but_for_the_newest() -> None:
    """What no window holds any more leaves the topic; a silent series is known for a day more."""
    lab = Lab(over(100))
    source = lab.sources[0]
    lab.put(source.event(NOW), source.event(NOW + MINUTE_MS))
    lab.tick(NOW + MINUTE_MS)
    assert list(lab.home.forget()) == []
    for minute in range(2, 60):
        lab.tick(NOW + minute * MINUTE_MS)
    gone = list(lab.home.forget())
    assert [(key, value) for _, key, value in gone] == [(lab.log[0][1], None)]
    lab.log += gone
    lab.open(NOW + 60 * MINUTE_MS)
    assert list(lab.home.forget()) == []


def test_records_of_other_metrics_are_passed_over() -> None:
    """A place may be that of other families' metrics, too: they change nothing here."""
    wide = Binary(Operator.ADD, read("a_metric"), read("z_metric"))
    assert isinstance(wide.left, Read)
    lab = Lab(shared("r", "a_metric", expression=wide))
    lab.put(lab.sources[0].event(NOW))
    assert list(lab.home.forget()) == []


@pytest.mark.parametrize("junk", [b"novelty:1", b""])
def test_unknown_records_are_passed_over(junk: bytes) -> None:
    """What another version wrote doesn't end the worker."""
    lab = Lab(over(1))
    lab.home.take(0, junk, b"1")
    assert lab.tick(NOW) == []
