"""The file of a unit test, in promtool's format, read with all that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from atalaia.alerting import durations
from atalaia.alerting.unit_tests import notation
from atalaia.alerting.unit_tests.notation import NotationError, Value
from atalaia.alerting.writing.source import Node, SourceError, read

MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Input:
    """A series, with a value an interval."""

    name: str
    labels: dict[str, str]
    values: list[Value]
    written: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that must be firing."""

    labels: dict[str, str]
    annotations: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class AlertTest:
    """Which alerts of one name must be firing at one moment: those, and no others."""

    at: timedelta
    name: str
    alerts: list[Alert]
    line: int


@dataclass(frozen=True, slots=True)
class ExpressionTest:
    """What an expression must come to at one moment."""

    at: timedelta
    expression: str
    samples: list[tuple[dict[str, str], float]]
    line: int


@dataclass(frozen=True, slots=True)
class Test:
    """Series, and what must follow from them."""

    name: str
    interval: timedelta
    inputs: list[Input]
    alert_tests: list[AlertTest]
    expression_tests: list[ExpressionTest]


@dataclass(slots=True)
class TestFile:
    """A file; of one with problems nothing is run."""

    path: Path
    rule_files: list[Path] = field(default_factory=list)
    evaluation_interval: timedelta = MINUTE
    tests: list[Test] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


_FILE: Final = frozenset({"rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare"})
_TEST: Final = frozenset(
    {"name", "interval", "input_series", "alert_rule_test", "promql_expr_test", "external_labels", "external_url"}
)


def load(path: Path) -> TestFile:
    """The tests of a file. Paths of rule files are relative to it, and may have wildcards."""
    found = TestFile(path)
    reader = _Reader(found)
    try:
        documents = read(path.read_text("utf-8-sig"))
    except SourceError as exc:
        found.problems.append(f"{path}:{exc.line}:{exc.column}: {exc.message}")
        return found
    except (OSError, ValueError) as exc:
        found.problems.append(f"{path}: cannot be read: {exc}")
        return found
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        found.problems.append(f"{path}: is no unit test; it needs rule_files and tests")
        return found
    reader.file(documents[0])
    return found


class _Reader:
    """Reads values of the right type from the nodes, and notes where they are not."""

    def __init__(self, found: TestFile) -> None:
        self.found = found

    def file(self, node: Node) -> None:
        fields = self._fields(node, _FILE)
        for each in self._list(fields.get("rule_files")):
            written = str(each.value)
            matching = (
                sorted(self.found.path.parent.glob(written)) if not Path(written).is_absolute() else [Path(written)]
            )
            if not matching:
                self._problem(each, f"{written} is no file beside {self.found.path.name}")
            self.found.rule_files += matching
        self.found.evaluation_interval = self._interval(fields.get("evaluation_interval"), MINUTE)
        for each in self._list(fields.get("tests")):
            self.found.tests.append(self._test(each))

    def _test(self, node: Node) -> Test:
        fields = self._fields(node, _TEST)
        inputs = [found for each in self._list(fields.get("input_series")) if (found := self._input(each)) is not None]
        name = fields.get("name")
        return Test(
            name=f"line {node.line}" if name is None else str(name.value),
            interval=self._interval(fields.get("interval"), self.found.evaluation_interval),
            inputs=inputs,
            alert_tests=[self._alert_test(each) for each in self._list(fields.get("alert_rule_test"))],
            expression_tests=[self._expression_test(each) for each in self._list(fields.get("promql_expr_test"))],
        )

    def _input(self, node: Node) -> Input | None:
        fields = self._fields(node, frozenset({"series", "values"}))
        written = self._text(node, fields, "series")
        try:
            name, labels = notation.series(written)
            return Input(name, labels, notation.values(self._text(node, fields, "values")), written)
        except NotationError as exc:
            self._problem(node, f"the series {exc}")
            return None

    def _alert_test(self, node: Node) -> AlertTest:
        fields = self._fields(node, frozenset({"eval_time", "alertname", "exp_alerts"}))
        alerts = []
        for each in self._list(fields.get("exp_alerts")):
            given = self._fields(each, frozenset({"exp_labels", "exp_annotations"}))
            annotations = given.get("exp_annotations")
            alerts.append(Alert(self._texts(given.get("exp_labels")), self._texts(annotations)))
        return AlertTest(
            at=self._duration(fields.get("eval_time"), timedelta()),
            name=self._text(node, fields, "alertname"),
            alerts=alerts,
            line=node.line,
        )

    def _expression_test(self, node: Node) -> ExpressionTest:
        fields = self._fields(node, frozenset({"expr", "eval_time", "exp_samples"}))
        samples = []
        for each in self._list(fields.get("exp_samples")):
            given = self._fields(each, frozenset({"labels", "value", "histogram"}))
            try:
                labels = notation.series(self._text(each, given, "labels", "{}"))[1]
                samples.append((labels, float(self._text(each, given, "value"))))
            except ValueError as exc:
                self._problem(each, f"the sample {exc}")
        return ExpressionTest(
            at=self._duration(fields.get("eval_time"), timedelta()),
            expression=self._text(node, fields, "expr"),
            samples=samples,
            line=node.line,
        )

    def _fields(self, node: Node, known: frozenset[str]) -> dict[str, Node]:
        if not isinstance(node.value, dict):
            self._problem(node, f"must be a mapping with {', '.join(sorted(known))}")
            return {}
        for name, below in node.value.items():
            if name not in known:
                self._problem(below, f"{name[:60]} is not understood here; there are {', '.join(sorted(known))}")
        return node.value

    def _list(self, node: Node | None) -> list[Node]:
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list):
            self._problem(node, "must be a list")
            return []
        return node.value

    def _interval(self, node: Node | None, default: timedelta) -> timedelta:
        found = self._duration(node, default)
        if node is not None and not found:
            self._problem(node, "must be longer than 0s")
            return default
        return found

    def _duration(self, node: Node | None, default: timedelta) -> timedelta:
        if node is None or node.value is None:
            return default
        try:
            found = durations.parse(str(node.value))
        except ValueError as exc:
            self._problem(node, str(exc))
            return default
        return found

    def _text(self, node: Node, fields: dict[str, Node], name: str, default: str | None = None) -> str:
        found = fields.get(name)
        if found is None or found.value is None:
            if default is None:
                self._problem(node, f"needs {name}")
            return default or ""
        return str(found.value)

    def _texts(self, node: Node | None) -> dict[str, str]:
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._problem(node, "must be a mapping of names to texts")
            return {}
        return {name: _plain(below.value) for name, below in node.value.items()}

    def _problem(self, node: Node, message: str) -> None:
        line, column = node.key or (node.line, node.column)
        self.found.problems.append(f"{self.found.path}:{line}:{column}: {message}")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
