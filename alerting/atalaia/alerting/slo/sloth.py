"""Objectives in Sloth's form (`version: prometheus/v1`, and its Kubernetes kind PrometheusServiceLevel)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from atalaia.alerting.slo import queries
from atalaia.alerting.slo.foreign import Field, Imported, RefusedError
from atalaia.alerting.slo.objectives import Alerting, Slo, SloError
from atalaia.alerting.slo.queries import Indicator, UncountableError
from atalaia.alerting.writing.document import SEVERITIES

VERSION: Final = "prometheus/v1"
API_VERSION: Final = "sloth.slok.dev/v1"
_RUNBOOKS: Final = ("runbook_url", "runbook")
_OWNERS: Final = ("owner", "team")
_UNDERSCORED: Final = {
    "error_query": "errorQuery",
    "total_query": "totalQuery",
    "error_ratio_query": "errorRatioQuery",
    "page_alert": "pageAlert",
    "ticket_alert": "ticketAlert",
}


def is_sloth(document: Field) -> bool:
    """Whether a document says that it is one of Sloth's."""
    return document.option("version") == VERSION or document.option("apiVersion") == API_VERSION


def load(document: Field, into: Imported) -> None:
    """Adds the document's objectives, or what is wrong with them: one bad objective holds up no other."""
    try:
        spec = document.need("spec") if document.get("apiVersion") else document
        service = spec.need("service").text()
        labels = labels_of(spec)
        listed = list(spec.need("slos").items())
    except RefusedError as exc:
        into.problems.append(exc.problem)
        return
    for written in listed:
        try:
            into.slos.append(_slo(written, service, labels))
        except RefusedError as exc:
            into.problems.append(exc.problem)
        except SloError as exc:
            into.problems.extend(written.faults(exc))


def labels_of(written: Field) -> dict[str, str]:
    """The labels of something."""
    found = written.get("labels")
    return found.texts() if found is not None else {}


def _slo(written: Field, service: str, labels: dict[str, str]) -> Slo:
    indicator = _indicator(written.need("sli"))
    alerting = written.get("alerting")
    shared = alerting.get("annotations") if alerting is not None else None
    annotations = shared.texts() if shared is not None else {}
    labels = labels | labels_of(written) | (labels_of(alerting) if alerting is not None else {})
    name = alerting.option("name") if alerting is not None else None
    return Slo(
        name=written.need("name").text(),
        service=service,
        objective=written.need("objective").number(),
        sli=indicator.sli,
        by=indicator.by,
        description=written.option("description") or "",
        owner=next((labels.pop(key) for key in _OWNERS if key in labels), None),
        runbook_url=next((annotations.pop(key) for key in _RUNBOOKS if key in annotations), None),
        labels=tuple(sorted((labels | ({"alertname": name} if name else {})).items())),
        page=_alert(alerting, "page_alert", annotations),
        ticket=_alert(alerting, "ticket_alert", annotations),
    )


def _alert(alerting: Field | None, name: str, annotations: dict[str, str]) -> Alerting:
    """A page or a ticket: its labels are annotations here, but for a severity that we know."""
    written = _get(alerting, name) if alerting is not None else None
    if written is None:
        return Alerting(annotations=tuple(sorted(annotations.items())))
    own = written.get("annotations")
    labels = labels_of(written)
    severity = SEVERITIES.get(labels.get("severity", "").lower())
    if severity is not None:
        del labels["severity"]
    disable = written.get("disable")
    texts = annotations | (own.texts() if own is not None else {}) | labels
    alert = Alerting(severity=severity, annotations=tuple(sorted(texts.items())))
    return replace(alert, is_active=disable is None or not disable.flag())


def _indicator(written: Field) -> Indicator:
    if (events := written.get("events")) is not None:
        bad, total = (_query(events, name) for name in ("error_query", "total_query"))
        return counting(bad, total, part_is_good=False)
    if (raw := written.get("raw")) is not None:
        return dividing(_query(raw, "error_ratio_query"), part_is_good=False)
    if (plugin := written.get("plugin")) is not None:
        plugin.refuse("plugins run code of Sloth's; write the queries that it would make under events")
    return written.refuse("sli needs events with error_query and total_query, or raw with error_ratio_query")


def counting(part: Field, total: Field, *, part_is_good: bool) -> Indicator:
    """The indicator of two queries; refused at the query that is not understood."""
    for query in (part, total):
        try:
            queries.check(query.text())
        except UncountableError as exc:
            query.refuse_within(f"{query.name}: {exc.reason}", exc.line, exc.column)
    try:
        return queries.of_events(part.text(), total.text(), part_is_good=part_is_good)
    except UncountableError as exc:
        part.refuse(f"{part.name} {exc.reason}")


def dividing(query: Field, *, part_is_good: bool) -> Indicator:
    """The indicator of a query that is a ratio; refused where it is not understood."""
    try:
        return queries.of_ratio(query.text(), part_is_good=part_is_good)
    except UncountableError as exc:
        query.refuse_within(f"{query.name}: {exc.reason}", exc.line, exc.column)


def _query(written: Field, name: str) -> Field:
    query = _get(written, name)
    if query is None:
        written.refuse(f"{name} is missing")
    if not re.search(queries.WINDOW, query.text()):
        query.refuse(f"{name} has no {{{{.window}}}}: an objective looks at it over several windows")
    return query


def _get(written: Field, name: str) -> Field | None:
    """A field under its name in files, or in Kubernetes."""
    return written.get(name) or written.get(_UNDERSCORED[name])
