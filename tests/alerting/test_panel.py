"""A panel reads what its definition says, however the minutes came."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.evaluating import spans
from atalaia.alerting.evaluating.panel import Panel
from atalaia.alerting.expressions import Calendar, Grouping, Labels, Period, Read, Rolling, Selector, Span
from atalaia.alerting.local.buckets import MinuteStats, merged, minutes_of
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

START_MS = 1_700_000_040_000 // HOUR_MS * HOUR_MS
SERIES = [SeriesKey("default", "m", name, zone, None, "1", "real_time") for name in "abc" for zone in ("x", "y")]

SPANS: list[Span] = [
    *(Rolling(timedelta(minutes=minutes)) for minutes in (1, 3, 10, 60, 180)),
    Calendar(Period.HOUR),
    Calendar(Period.DAY, "Europe/Lisbon"),
]
leaves = st.builds(
    Read,
    selector=st.just(Selector("m")),
    aggregate=st.sampled_from([Aggregate.SUM, Aggregate.P95]),
    span=st.sampled_from(SPANS),
    offset=st.sampled_from([timedelta(), timedelta(), timedelta(minutes=7), timedelta(hours=2)]),
    grouping=st.sampled_from([None, Grouping(()), Grouping(("region",)), Grouping(("service_name",), without=True)]),
)
# Eighths add up exactly in binary, so that a law can ask for equality.
values = st.integers(-80, 400).map(lambda eighths: eighths / 8)
Told = tuple[SeriesKey, int, list[tuple[int, float]]]
"""A series, a shard, and all events of one minute on it."""


@st.composite
def stories(draw: st.DrawFn) -> list[list[Told]]:
    """What is told between some readings: states of minutes, later ones replacing earlier ones."""
    minute = st.integers(0, 240).map(lambda number: START_MS + number * MINUTE_MS)

    @st.composite
    def told(draw: st.DrawFn) -> Told:
        start = draw(minute)
        at = st.integers(start, start + MINUTE_MS - 1)
        found = draw(st.lists(st.tuples(at, values), min_size=1, max_size=3, unique_by=lambda event: event[0]))
        return draw(st.sampled_from(SERIES)), draw(st.integers(0, 1)), found

    return draw(st.lists(st.lists(told(), max_size=12), min_size=1, max_size=6))


def by_definition(read: Read, known: dict[tuple[SeriesKey, int, int], MinuteStats], at_ms: int) -> dict[Labels, object]:
    """Every event of the window, of each series or group."""
    step_ms = spans.step_of(read)
    offset_ms = read.offset // timedelta(milliseconds=1)
    start, last = spans.bounds(read.span, step_ms, at_ms - offset_ms)
    groups: dict[Labels, list[MinuteStats]] = {}
    for (series, minute, _), stats in known.items():
        labels = {name: value for name, value in series.labels().items() if name != "metric_name"}
        group = tuple(sorted(labels.items())) if read.grouping is None else read.grouping.of(series.labels())
        within = groups.setdefault(group, [])
        if start <= minute < last + step_ms:
            within.append(stats)
    with_sketch = read.aggregate is Aggregate.P95
    return {group: said(merged(parts, with_sketch=with_sketch)) for group, parts in groups.items()}


def said(stats: MinuteStats | None) -> object:
    """What counts of a window: ties of first and last aside."""
    if stats is None:
        return None
    return (stats.count, stats.sum, stats.min, stats.max, stats.first_at, stats.last_at, stats.sketch)


def read_all(panel: Panel, read: Read, at_ms: int) -> dict[Labels, object]:
    """What a panel reads."""
    with_sketch = read.aggregate is Aggregate.P95
    found = {}
    for labels, reading in panel.of("default").read(read, at_ms):
        stats = reading.stats
        found[labels] = said(stats if with_sketch or stats is None else stats.copy(with_sketch=False))
    return found


def tell(panel: Panel, known: dict[tuple[SeriesKey, int, int], MinuteStats], told: Iterable[Told]) -> None:
    """Tells a panel of minutes, and notes what is known then."""
    for series, shard, events in told:
        (minute,) = minutes_of(events)
        known[series, minute.start_ms, shard] = minute
        panel.observe(series.record_key(), series, minute.copy(), shard=shard)


@given(st.lists(leaves, min_size=1, max_size=3), stories(), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_reading_is_by_definition(reads: list[Read], story: list[list[Told]], random: Random) -> None:
    """Keeping windows up to date gives what merging all events anew gives: late, early, replaced, on two shards."""
    panel, known = Panel(), dict[tuple[SeriesKey, int, int], MinuteStats]()
    panel.want((read, 0) for read in reads)
    at_ms = START_MS
    for told in story:
        tell(panel, known, told)
        by = random.choice([1_000, MINUTE_MS, MINUTE_MS, 45 * MINUTE_MS])
        for _ in range(random.choice([1, 5, 20]) if by == MINUTE_MS else 1):
            at_ms += by
            for read in reads:
                assert read_all(panel, read, at_ms) == by_definition(read, known, at_ms)


@given(leaves, stories())
def test_forgetting_is_not_noticed(read: Read, story: list[list[Told]]) -> None:
    """What is let go of after each minute is never missed, and what is kept is bounded by what is read."""
    panel, whole = Panel(), Panel()
    for each in (panel, whole):
        each.want([(read, 0)])
    told = sorted((one for batch in story for one in batch), key=lambda one: one[2][0])
    for at_ms in range(START_MS, START_MS + 10 * HOUR_MS, 7 * MINUTE_MS):
        fresh = [one for one in told if at_ms - 7 * MINUTE_MS < one[2][0][0] - one[2][0][0] % MINUTE_MS <= at_ms]
        for each in (panel, whole):
            tell(each, {}, fresh)
        panel.prune(at_ms)
        assert read_all(panel, read, at_ms) == read_all(whole, read, at_ms)
    reach = spans.longest_ms(read.span) + read.offset // timedelta(milliseconds=1)
    if reach < 3 * HOUR_MS:
        held = [holding for series in panel._holdings.values() for holding in series.values()]
        assert not any(holding.minutes for holding in held)


def test_series_that_fell_silent_are_known_for_a_day() -> None:
    """And then gone, as if they had never been."""
    read = Read(Selector("m"), Aggregate.SUM, Rolling(timedelta(minutes=5)))
    panel = Panel()
    panel.want([(read, 0)])
    tell(panel, {}, [(SERIES[0], 0, [(START_MS, 1.0)])])
    panel.prune(START_MS + 23 * HOUR_MS)
    assert (len(panel), len(read_all(panel, read, START_MS + 23 * HOUR_MS)), panel.tenants()) == (1, 1, ["default"])
    panel.prune(START_MS + 25 * HOUR_MS)
    assert (len(panel), read_all(panel, read, START_MS + 25 * HOUR_MS), panel.tenants()) == (0, {}, [])


def test_what_nobody_wants_is_not_kept() -> None:
    """Series of other metrics, and of metrics that are no longer read, are let go."""
    read = Read(Selector("m"), Aggregate.SUM, Rolling(timedelta(minutes=5)))
    panel = Panel()
    panel.want([(read, 0)])
    other = SeriesKey("default", "n", "a", None, None, "1", "real_time")
    (minute,) = minutes_of([(START_MS, 1.0)])
    assert not panel.observe(b"n", other, minute)
    assert panel.observe(b"m", SERIES[0], minute)
    panel.want([])
    assert len(panel) == 0


def test_tenants_are_apart() -> None:
    """A leaf reads the series of one tenant alone, whatever its grouping."""
    read = Read(Selector("m"), Aggregate.SUM, Rolling(timedelta(minutes=5)), grouping=Grouping(()))
    panel = Panel()
    panel.want([(read, 0)])
    for tenant, value in (("acme", 1.0), ("default", 5.0)):
        series = SeriesKey(tenant, "m", "a", None, None, "1", "real_time")
        panel.observe(series.record_key(), series, minutes_of([(START_MS, value)])[0])
    sums = {
        tenant: [reading.stats.sum for _, reading in panel.of(tenant).read(read, START_MS) if reading.stats]
        for tenant in panel.tenants()
    }
    assert sums == {"acme": [1.0], "default": [5.0]}
