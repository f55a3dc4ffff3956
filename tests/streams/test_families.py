"""Which rules are judged together, and where."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from shared_rules import HOUR, read, shared

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Binary, Calendar, Operator, Period, Read, Selector
from atalaia.alerting.rules import Comparison, Rule
from atalaia.streams.families import Families, families, place

PARTITIONS = 4

names = st.sampled_from([f"metric_{letter}" for letter in "abcdefgh"])
rule_sets = st.lists(st.lists(names, min_size=1, max_size=3, unique=True), max_size=6)
"""Rules, each as the metrics it reads."""


def of(*sets: list[str]) -> Families:
    """The families of rules that read these metrics."""
    return families([shared(f"r{index}", *metrics) for index, metrics in enumerate(sets)], partitions=PARTITIONS)


def test_rules_that_share_a_metric_are_one_family() -> None:
    """Metrics that a chain of rules ties together have one home, at which all these rules are judged."""
    found = of(["a", "b"], ["c"], ["b", "d"])
    assert found.home("a") == found.home("b") == found.home("d") == place("a", PARTITIONS)
    assert found.home("c") == place("c", PARTITIONS)
    assert [sorted(rule.rule_id for rule in family.rules) for family in found.families] == [["r0", "r2"], ["r1"]]


def test_a_metric_of_no_shared_rule_has_no_home() -> None:
    """Local rules and inactive ones bring nothing together."""
    local = Rule(rule_id="l", name="l", metric_name="a", comparison=Comparison.ABOVE, threshold=1)
    found = families([local, shared("i", "b", active=False)], partitions=PARTITIONS)
    assert (found.home("a"), found.home("b"), found.homes, found.places) == (None, None, frozenset(), frozenset())


@given(rule_sets, st.randoms())
def test_families_do_not_depend_on_the_order_of_rules(sets: list[list[str]], random: object) -> None:
    """The same rules in any order give every metric the same home."""
    shuffled = sets.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    metrics = {name for each in sets for name in each}
    one, other = of(*sets), of(*shuffled)
    assert {name: one.home(name) for name in metrics} == {name: other.home(name) for name in metrics}


@given(rule_sets, st.lists(names.map(lambda name: f"other_{name}"), min_size=1, max_size=3, unique=True))
def test_an_unrelated_rule_moves_no_home(sets: list[list[str]], more: list[str]) -> None:
    """A rule on other metrics leaves every home and every place where it was."""
    before, after = of(*sets), of(*sets, more)
    for name in {name for each in sets for name in each}:
        assert after.home(name) == before.home(name)


@given(rule_sets)
def test_every_rule_is_judged_at_one_home(sets: list[list[str]]) -> None:
    """Each shared rule is at exactly one home, which is that of every metric it reads."""
    found = of(*sets)
    judged = [rule for home in found.homes for family in found.at(home) for rule in family.rules]
    assert sorted(rule.rule_id for rule in judged) == sorted(f"r{index}" for index in range(len(sets)))
    for home in found.homes:
        for family in found.at(home):
            assert {found.home(name) for name in family.reach_ms} == {home}


def test_reach_is_the_furthest_of_all_reads() -> None:
    """A metric is kept for the longest window on it, its offset and a few steps."""
    tree = Binary(Operator.ADD, read("a", HOUR, timedelta(days=7)), read("a", timedelta(minutes=5)))
    (family,) = families([shared("r", "a", expression=tree), shared("s", "a")], partitions=PARTITIONS).families
    needed_ms = (timedelta(days=7) + HOUR) / timedelta(milliseconds=1)
    assert needed_ms < family.reach_ms["a"] < needed_ms + HOUR / timedelta(milliseconds=1)


def test_a_calendar_window_reaches_back_to_its_longest() -> None:
    """A month has up to 31 days, and an hour more where summer time ends in it."""
    month = Read(Selector("a"), Aggregate.SUM, Calendar(Period.MONTH))
    (family,) = families([shared("r", "a", expression=month)], partitions=PARTITIONS).families
    assert family.reach_ms["a"] >= (timedelta(days=31, hours=1)) / timedelta(milliseconds=1)


def test_a_rule_that_expects_series_has_a_home() -> None:
    """Though it is of single series: nobody else could miss one that was never heard."""
    expecting = Rule(
        rule_id="r",
        name="R",
        metric_name="service_up",
        comparison=None,
        threshold=0.0,
        absent_for=timedelta(minutes=1),
        expected=((("service_name", "api"),),),
    )
    found = families([expecting, replace(expecting, rule_id="s", expected=())], partitions=4)
    assert [rule.rule_id for family in found.families for rule in family.rules] == ["r"]
    assert found.home("service_up") is not None
