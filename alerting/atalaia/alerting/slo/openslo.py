"""Objectives in OpenSLO's form (`apiVersion: openslo/v1`): the kinds SLO, SLI and Service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.slo.foreign import Field, Imported, RefusedError
from atalaia.alerting.slo.objectives import Slo, SloError
from atalaia.alerting.slo.queries import Indicator
from atalaia.alerting.slo.sloth import counting, dividing

API_VERSION: Final = "openslo/v1"
_LEFT_OUT: Final = frozenset({"DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"})
_OCCURRENCES: Final = "Occurrences"


def is_openslo(document: Field) -> bool:
    """Whether a document says that it is one of OpenSLO's."""
    return (document.option("apiVersion") or "").startswith("openslo/")


def load(documents: Sequence[Field], into: Imported) -> None:
    """Adds the objectives of documents that may refer to each other, or what is wrong with them."""
    indicators: dict[str, Field] = {}
    services: dict[str, Field] = {}
    slos = []
    for document in documents:
        try:
            version, kind = document.need("apiVersion"), document.need("kind").text()
            if version.text() != API_VERSION:
                version.refuse(f"apiVersion is {version.text()}; {API_VERSION} is understood")
            name = document.need("metadata").need("name").text()
            match kind:
                case "SLO":
                    slos.append(document)
                case "SLI":
                    indicators[name] = document.need("spec")
                case "Service":
                    services[name] = document
                case _ if kind in _LEFT_OUT:
                    into.notes.append(document.problem(f"{kind} {name!r} is left out: who is called when is up to us"))
                case _:
                    document.need("kind").refuse(f"kind {kind!r} is not understood; there are SLO, SLI and Service")
        except RefusedError as exc:
            into.problems.append(exc.problem)
    for document in slos:
        _load(document, indicators, into)


def _load(document: Field, indicators: dict[str, Field], into: Imported) -> None:
    try:
        spec = document.need("spec")
        _require_occurrences(spec)
        objectives = list(spec.need("objectives").items())
        if (policies := spec.get("alertPolicies")) is not None:
            into.notes.append(
                policies.problem("alertPolicies are left out: burn rates and windows come from our table")
            )
    except RefusedError as exc:
        into.problems.append(exc.problem)
        return
    for number, objective in enumerate(objectives, start=1):
        try:
            into.slos.append(_slo(document, objective, indicators, number if len(objectives) > 1 else None))
        except RefusedError as exc:
            into.problems.append(exc.problem)
        except SloError as exc:
            into.problems.extend(document.faults(exc))


def _slo(document: Field, objective: Field, indicators: dict[str, Field], number: int | None) -> Slo:
    metadata, spec = document.need("metadata"), document.need("spec")
    indicator = _indicator(_indicator_spec(objective, indicators) or _needed_indicator(spec, indicators))
    name = metadata.need("name").text()
    return Slo(
        name=name if number is None else f"{name}-{number}",
        service=spec.need("service").text(),
        objective=_target(objective),
        window=_window(spec),
        sli=indicator.sli,
        by=indicator.by,
        description=spec.option("description") or metadata.option("displayName") or "",
    )


def _require_occurrences(spec: Field) -> None:
    method = spec.get("budgetingMethod")
    if method is not None and method.text() != _OCCURRENCES:
        method.refuse(
            f"budgetingMethod {method.text()} counts slices of time; a budget here is of events: {_OCCURRENCES}"
        )


def _target(objective: Field) -> float:
    """Per cent, from a share or from per cent."""
    for name in ("op", "value", "timeSliceTarget", "timeSliceWindow", "compositeWeight"):
        if (found := objective.get(name)) is not None:
            found.refuse(f"{name} is for thresholds, slices of time or composites, which are not understood")
    if (percent := objective.get("targetPercent")) is not None:
        return percent.number()
    return round(objective.need("target").number() * 100, 10)


def _window(spec: Field) -> timedelta:
    windows = list(spec.need("timeWindow").items())
    if len(windows) != 1:
        spec.need("timeWindow").refuse("timeWindow must have one entry")
    rolling = windows[0].get("isRolling")
    if windows[0].get("calendar") is not None or (rolling is not None and not rolling.flag()):
        windows[0].refuse("timeWindow follows the calendar; budgets here are over rolling windows: isRolling: true")
    written = windows[0].need("duration")
    try:
        return durations.parse(written.text())
    except ValueError as exc:
        written.refuse(f"duration {exc}")


def _needed_indicator(spec: Field, indicators: dict[str, Field]) -> Field:
    return _indicator_spec(spec, indicators) or spec.refuse("indicator is missing; write it, or indicatorRef")


def _indicator_spec(written: Field, indicators: dict[str, Field]) -> Field | None:
    """The spec of the indicator that an objective has in it or refers to; None where it has neither."""
    if (inline := written.get("indicator")) is not None:
        return inline.need("spec")
    if (reference := written.get("indicatorRef")) is None:
        return None
    found = indicators.get(reference.text())
    return found or reference.refuse(f"indicatorRef {reference.text()!r} is not among the files; give its file, too")


def _indicator(spec: Field) -> Indicator:
    if (threshold := spec.get("thresholdMetric")) is not None:
        threshold.refuse("thresholdMetric compares a level slice by slice; write a ratioMetric of events")
    ratio = spec.need("ratioMetric")
    if (raw := ratio.get("raw")) is not None:
        kind = ratio.need("rawType")
        if kind.text() not in {"success", "failure"}:
            kind.refuse(f"rawType is {kind.text()!r}; it must be success or failure")
        return dividing(_query(raw), part_is_good=kind.text() == "success")
    total = _query(ratio.need("total"))
    if (good := ratio.get("good")) is not None:
        return counting(_query(good), total, part_is_good=True)
    return counting(_query(ratio.need("bad")), total, part_is_good=False)


def _query(metric: Field) -> Field:
    source = metric.need("metricSource")
    kind = source.get("type")
    if kind is not None and kind.text().lower() != "prometheus":
        kind.refuse(f"type {kind.text()!r} is not understood; Prometheus' queries are")
    return source.need("spec").need("query")
