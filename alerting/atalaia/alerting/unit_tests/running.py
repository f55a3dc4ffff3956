"""Runs unit tests of rules: the same evaluation and the same states as live, on given series and a given clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from atalaia.alerting import durations, templates
from atalaia.alerting.evaluating.evaluate import EvaluationError, Sample, evaluate
from atalaia.alerting.evaluating.panel import Panel
from atalaia.alerting.expressions import Expression, reads
from atalaia.alerting.promql import PromqlError, names, parse
from atalaia.alerting.rules import Rule, number_text, tree
from atalaia.alerting.shared.judge import SharedJudge
from atalaia.alerting.shared.standing import Standing
from atalaia.alerting.unit_tests import feed
from atalaia.alerting.unit_tests.feed import Fed
from atalaia.alerting.unit_tests.files import Alert, AlertTest, ExpressionTest, Test, TestFile, load
from atalaia.alerting.writing.document import SEVERITIES
from atalaia.alerting.writing.loader import load_files
from atalaia.alerting.writing.source import SourceError, read
from atalaia.schemas.windows import MINUTE_MS

_CLOSE: Final = 1e-9


@dataclass(slots=True)
class Outcome:
    """What became of one file: how many expectations were held against it, and each that was not met, for people."""

    path: Path
    checked: int = 0
    failures: list[str] = field(default_factory=list)


def run(path: Path) -> Outcome:
    """Runs the tests of a file. What is wrong with it or with its rules is a failure, and then nothing is run."""
    found = load(path)
    outcome = Outcome(path, failures=list(found.problems))
    loaded = load_files(found.rule_files)
    outcome.failures += [f"{each.file}:{each.line}:{each.column}: {each.message}" for each in loaded.problems]
    if not outcome.failures:
        labels = _rule_labels(found.rule_files)
        for test in found.tests:
            _Run(found, test, loaded.rules, labels, outcome).run()
    return outcome


class _Run:
    """One test: a judge and a panel of its own, and a clock that starts at 0."""

    def __init__(
        self,
        found: TestFile,
        test: Test,
        rules: Iterable[Rule],
        labels: dict[str, dict[str, str]],
        outcome: Outcome,
    ) -> None:
        self.found = found
        self.test = test
        self.labels = labels
        self.outcome = outcome
        self.rules = list(rules)
        self.expressions: list[tuple[ExpressionTest, Expression]] = []

    def run(self) -> None:
        """Feeds the series, evaluates at every interval, and looks at what must be so at which moment."""
        if not self._parsed():
            return
        leaves = [leaf for rule in self.rules for leaf in reads(tree(rule))]
        asked = [leaf for _, expression in self.expressions for leaf in reads(expression)]
        fed = self._events([*leaves, *asked])
        grain_ms = self._grain_ms()
        judge = SharedJudge(self.rules, lateness=None, panel=Panel(grain_ms=grain_ms, exact=True), every=True)
        panel = Panel(grain_ms=grain_ms, exact=True)
        panel.want((leaf, 0) for leaf in asked)
        given = 0
        for at_ms, evaluates in self._instants():
            while given < len(fed) and fed[given].at_ms <= at_ms:
                for target in (judge.panel, panel):
                    _give(target, fed[given])
                given += 1
            if evaluates:
                judge.advance(at_ms)
                self._check_alerts(judge, at_ms)
            self._check_expressions(panel, at_ms)

    def _parsed(self) -> bool:
        good = True
        for expected in self.test.expression_tests:
            try:
                self.expressions.append((expected, parse(expected.expression)))
            except PromqlError as exc:
                self._fail(expected.line, f"expr {expected.expression}", [str(exc)])
                good = False
        return good

    def _events(self, leaves: list[Any]) -> list[Fed]:
        read_as_counters = feed.counters(leaves)
        fed: list[Fed] = []
        for given in self.test.inputs:
            try:
                series = feed.series_of(given)
            except ValueError as exc:
                self.outcome.failures.append(f"{self.found.path}, test {self.test.name}: {exc}")
                continue
            is_counter = feed.counts(series, read_as_counters)
            fed += feed.events(given, series, interval=self.test.interval, is_counter=is_counter)
        return sorted(fed, key=attrgetter("at_ms"))

    def _grain_ms(self) -> int:
        """The longest step that every sample and every evaluation falls on."""
        spans = [self.test.interval, self.found.evaluation_interval]
        spans += [expected.at for expected in self.test.expression_tests]
        return reduce(math.gcd, (durations.milliseconds(span) for span in spans), MINUTE_MS) or 1

    def _instants(self) -> Iterator[tuple[int, bool]]:
        """Every moment at which something is looked at, and whether rules are evaluated then."""
        step_ms = durations.milliseconds(self.found.evaluation_interval)
        last_ms = max((durations.milliseconds(expected.at) for expected in self.test.alert_tests), default=-1)
        evaluated = set(range(0, last_ms + 1, step_ms))
        asked = {durations.milliseconds(expected.at) for expected in self.test.expression_tests}
        for at_ms in sorted(evaluated | asked):
            yield at_ms, at_ms in evaluated

    def _check_alerts(self, judge: SharedJudge, at_ms: int) -> None:
        step_ms = durations.milliseconds(self.found.evaluation_interval)
        for expected in self.test.alert_tests:
            if not at_ms <= durations.milliseconds(expected.at) < at_ms + step_ms:
                continue
            self.outcome.checked += 1
            named = {rule.rule_id: rule for rule in self.rules if rule.name == expected.name}
            if not named:
                self._fail(expected.line, f"alertname: {expected.name}", ["no rule file has an alert of that name"])
                continue
            standing = [each for each in judge.standing() if each.key.rule_id in named and _fires(each)]
            self._compare(expected, standing)

    def _compare(self, expected: AlertTest, standing: list[Standing]) -> None:
        wanted = [_Shown.wanted(alert, expected.name) for alert in expected.alerts]
        got = [self._shown(each) for each in standing]
        missing = [each for each in wanted if not any(each.same(other) for other in got)]
        extra = [each for each in got if not any(other.same(each) for other in wanted)]
        if missing or extra or len(wanted) != len(got):
            lines = [f"- {each}" for each in missing] + [f"+ {each}" for each in extra]
            same = len(got) - len(extra)
            lines += [f"  and {same} as expected"] if same else []
            head = f"alertname: {expected.name}, time: {durations.text(expected.at)}"
            self._fail(expected.line, head, lines)

    def _shown(self, standing: Standing) -> _Shown:
        rule = standing.condition.rule
        labels = dict(standing.labels)
        value = "" if standing.sample is None else number_text(standing.sample.value)
        threshold = number_text(rule.threshold)

        def filled(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
            return {name: templates.fill(text, labels=labels, value=value, threshold=threshold) for name, text in texts}

        own = filled(self.labels.get(rule.name, {}).items())
        level = standing.condition.level
        own.setdefault("severity", (level or rule).severity.value)
        return _Shown(labels | own, filled(rule.annotations))

    def _check_expressions(self, panel: Panel, at_ms: int) -> None:
        for expected, expression in self.expressions:
            if durations.milliseconds(expected.at) != at_ms:
                continue
            self.outcome.checked += 1
            head = f"expr: {expected.expression}, time: {durations.text(expected.at)}"
            try:
                got = [
                    sample
                    for tenant in panel.tenants() or [""]
                    for sample in evaluate(expression, panel.of(tenant), at_ms)
                ]
            except EvaluationError as exc:
                self._fail(expected.line, head, [str(exc)])
                continue
            self._compare_samples(expected, head, got)

    def _compare_samples(self, expected: ExpressionTest, head: str, got: list[Sample]) -> None:
        metrics = [leaf.selector.metric_name for _, found in self.expressions for leaf in reads(found)]
        wanted = {_ours(labels, metrics): value for labels, value in expected.samples}
        found = {sample.labels: sample.value for sample in got}
        lines = [
            f"- {_text(labels)} {value}" for labels, value in wanted.items() if not _close(found.get(labels), value)
        ]
        lines += [
            f"+ {_text(labels)} {value}" for labels, value in found.items() if not _close(wanted.get(labels), value)
        ]
        if lines:
            self._fail(expected.line, head, lines)

    def _fail(self, line: int, head: str, lines: list[str]) -> None:
        where = f"{self.found.path}:{line}: test {self.test.name}"
        self.outcome.failures.append("\n".join([f"{where}: {head}", *(f"    {each}" for each in lines)]))


@dataclass(frozen=True, slots=True)
class _Shown:
    """An alert as it is compared and shown: labels under our names."""

    labels: dict[str, str]
    annotations: dict[str, str]
    severity_given: bool = True

    @classmethod
    def wanted(cls, alert: Alert, name: str) -> _Shown:
        labels = dict(_ours({key: value for key, value in alert.labels.items() if key != "alertname"}, []))
        del name
        return cls(labels, alert.annotations or {}, "severity" in labels)

    def same(self, other: _Shown) -> bool:
        """Whether what was wanted is what came."""
        ours, theirs = dict(self.labels), dict(other.labels)
        mine, its = ours.pop("severity", None), theirs.pop("severity", None)
        severe = mine is None or mine == its or SEVERITIES.get(mine.lower()) == SEVERITIES.get((its or "").lower(), its)
        return severe and ours == theirs and self.annotations == other.annotations

    def __str__(self) -> str:
        return (
            f"{_text(tuple(sorted(self.labels.items())))} annotations {_text(tuple(sorted(self.annotations.items())))}"
        )


def _fires(standing: Standing) -> bool:
    return standing.state.fires and standing.state.doubt is None


def _give(panel: Panel, fed: Fed) -> None:
    key = fed.series.record_key()
    if fed.minute is None:
        panel.end(key, fed.series.metric_name)
    else:
        panel.observe(key, fed.series, fed.minute)


def _ours(labels: dict[str, str], metrics: list[str]) -> tuple[tuple[str, str], ...]:
    """Labels under our names; without the metric's."""
    renamed = ((names.label(name, *metrics), value) for name, value in labels.items() if value)
    return tuple(sorted((name, value) for name, value in renamed if name != "metric_name"))


def _text(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}"


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-12)


def _rule_labels(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
    """The labels that Prometheus' rule files put on their alerts, by the alert's name."""
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        try:
            documents = read(path.read_text("utf-8-sig"))
        except (OSError, SourceError):
            continue
        for document in documents:
            plain = document.plain()
            for group in plain.get("groups") or [] if isinstance(plain, dict) else []:
                for rule in group.get("rules") or []:
                    if isinstance(rule.get("labels"), dict) and "alert" in rule:
                        found[str(rule["alert"])] = {name: str(value) for name, value in rule["labels"].items()}
    return found
