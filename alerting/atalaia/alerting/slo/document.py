"""An objective as people write it: the YAML form, and back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.expressions import Selector
from atalaia.alerting.rules import Channel, Fault
from atalaia.alerting.slo.objectives import MINIMUM_BAD, MINIMUM_EVENTS, Alerting, Events, Sli, Slo, SloError
from atalaia.alerting.slo.selectors import selector, selector_text
from atalaia.alerting.writing import fields
from atalaia.alerting.writing.document import SEVERITIES
from atalaia.schemas.events import Severity

_COUNTS: Final = {"sum": Aggregate.SUM, "events": Aggregate.COUNT}
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def _objective(value: object) -> float:
    """Per cent, with the sign or without."""
    written = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    return fields.number(float(written[1]) if written else value)


def _selector(value: object) -> Selector:
    return selector(fields.text(value))


_Text = Annotated[str, BeforeValidator(fields.text)]
_OptionalText = Annotated[str | None, BeforeValidator(fields.text)]
_Whole = Annotated[int, BeforeValidator(fields.whole)]
_Number = Annotated[float | None, BeforeValidator(fields.number)]
_Selector = Annotated[Selector, BeforeValidator(_selector)]
_Texts = Annotated[list[_Text], BeforeValidator(fields.texts)]
_Channel = Annotated[Channel, BeforeValidator(fields.one_of({item.value: item for item in Channel}))]
_Annotations = Annotated[dict[str, _Text], BeforeValidator(fields.mapping)]


class _Part(BaseModel):
    """Under our names, each of the right type; an absent field and a null are the same."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            raise ValueError(f"is {fields.shown(written)}; it must be a mapping of fields")  # noqa: TRY004 - pydantic gathers ValueError
        return {name: value for name, value in written.items() if value is not None}


class _Events(_Part):
    of: _Selector
    count: Annotated[Aggregate | None, BeforeValidator(fields.one_of(_COUNTS))] = None
    at_least: _Number = None
    at_most: _Number = None

    @model_validator(mode="after")
    def _one_way_of_counting(self) -> Self:
        if sum(given is not None for given in (self.count, self.at_least, self.at_most)) > 1:
            raise ValueError("has more than one of at_least, at_most and count; keep one of them")
        return self

    def events(self) -> Events:
        if self.at_least is not None or self.at_most is not None:
            return Events(self.of, _within(self.at_least, self.at_most))
        return Events(self.of, self.count) if self.count is not None else Events.of(self.of)


def _events(value: object) -> object:
    """A selector alone means its events as the catalogue counts them."""
    return {"of": value} if isinstance(value, str) else value


_EventsField = Annotated[_Events | None, BeforeValidator(_events)]


class _Sli(_Part):
    bad: _EventsField = None
    good: _EventsField = None
    total: _EventsField = None
    values: Annotated[Selector | None, BeforeValidator(_selector)] = None
    at_least: _Number = None
    at_most: _Number = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        shares = ({"bad", "total"}, {"good", "total"}, {"values", "at_most"}, {"values", "at_least"})
        if given not in shares:
            raise ValueError("must have bad and total, or good and total, or values and either at_most or at_least")
        return self

    def sli(self) -> Sli:
        if self.values is not None:
            return Sli(
                Events(self.values, Aggregate.COUNT),
                Events(self.values, _within(self.at_least, self.at_most)),
                part_is_good=True,
            )
        part = self.bad or self.good
        assert part is not None  # by _one_kind
        assert self.total is not None
        return Sli(self.total.events(), part.events(), part_is_good=self.bad is None)


class _Alerting(_Part):
    active: Annotated[bool, BeforeValidator(fields.flag)] = True
    severity: Annotated[Severity | None, BeforeValidator(fields.one_of(SEVERITIES))] = None
    channels: Annotated[list[_Channel], BeforeValidator(fields.texts)] = []
    recipients: _Texts = []
    annotations: _Annotations = {}
    actions: _Texts = []

    def alerting(self) -> Alerting:
        return Alerting(
            is_active=self.active,
            severity=self.severity,
            channels=tuple(self.channels),
            recipients=tuple(self.recipients),
            annotations=tuple(sorted(self.annotations.items())),
            actions=tuple(self.actions),
        )


class _Document(_Part):
    name: _Text
    service: _Text
    objective: Annotated[float, BeforeValidator(_objective)]
    sli: _Sli
    window: Annotated[timedelta, BeforeValidator(fields.duration)] = timedelta(days=30)
    description: _Text = ""
    owner: _OptionalText = None
    runbook_url: _OptionalText = None
    tenant: _OptionalText = None
    by: _Texts = ["service_name"]
    minimum_events: _Whole = MINIMUM_EVENTS
    minimum_bad: _Whole = MINIMUM_BAD
    labels: _Annotations = {}
    page: _Alerting = Field(default_factory=_Alerting)
    ticket: _Alerting = Field(default_factory=_Alerting)


def from_document(written: Mapping[str, Any]) -> Slo:
    """The objective that a document says; `SloError` lists every fault.

    >>> slo = from_document({"name": "api", "service": "api", "objective": "99.5 %",
    ...                      "sli": {"values": "http_request_duration", "at_most": 500}})
    >>> slo.budget, slo.sli.part.aggregate
    (0.005, CountWithin(low=-inf, high=500.0))
    """
    try:
        document = _Document.model_validate(dict(written))
    except ValidationError as exc:
        raise SloError(
            [
                _fault(error["type"], _as_written(error["loc"], written), error["msg"])
                for error in exc.errors(include_url=False)
            ]
        ) from exc
    return Slo(
        name=document.name,
        service=document.service,
        objective=document.objective,
        sli=document.sli.sli(),
        window=document.window,
        description=document.description,
        owner=document.owner,
        runbook_url=document.runbook_url,
        tenant=document.tenant,
        by=tuple(document.by),
        minimum_events=document.minimum_events,
        minimum_bad=document.minimum_bad,
        labels=tuple(sorted(document.labels.items())),
        page=document.page.alerting(),
        ticket=document.ticket.alerting(),
    )


def to_document(slo: Slo) -> dict[str, Any]:
    """The plain form of an objective: YAML and JSON take it, and `from_document` reads it back."""
    document: dict[str, Any] = {
        "name": slo.name,
        "service": slo.service,
        "description": slo.description,
        "owner": slo.owner,
        "objective": slo.objective,
        "window": durations.text(slo.window),
        "sli": sli_document(slo.sli),
        "tenant": slo.tenant,
        "minimum_events": slo.minimum_events,
        "minimum_bad": slo.minimum_bad,
        "runbook_url": slo.runbook_url,
        "labels": dict(slo.labels),
        "page": _alerting_document(slo.page),
        "ticket": _alerting_document(slo.ticket),
    }
    return {name: value for name, value in document.items() if value not in (None, "", {}, [])} | {"by": list(slo.by)}


def sli_document(sli: Sli) -> dict[str, Any]:
    """The plain form of an indicator."""
    within = sli.part.aggregate
    of_values = sli.part_is_good and sli.part.selector == sli.total.selector and sli.total.aggregate is Aggregate.COUNT
    if isinstance(within, CountWithin) and of_values:
        return {"values": selector_text(sli.total.selector)} | _bounds(within)
    part = "good" if sli.part_is_good else "bad"
    return {part: _events_document(sli.part), "total": _events_document(sli.total)}


def _events_document(events: Events) -> str | dict[str, Any]:
    written = selector_text(events.selector)
    if isinstance(events.aggregate, CountWithin):
        return {"of": written} | _bounds(events.aggregate)
    if events == Events.of(events.selector):
        return written
    return {"of": written, "count": next(name for name, counted in _COUNTS.items() if counted is events.aggregate)}


def _bounds(within: CountWithin) -> dict[str, float]:
    unbounded = CountWithin()
    return ({"at_least": within.low} if within.low != unbounded.low else {}) | (
        {"at_most": within.high} if within.high != unbounded.high else {}
    )


def _alerting_document(alerting: Alerting) -> dict[str, Any]:
    document = {
        "active": alerting.is_active,
        "severity": alerting.severity.value if alerting.severity else None,
        "channels": [channel.value for channel in alerting.channels],
        "recipients": list(alerting.recipients),
        "annotations": dict(alerting.annotations),
        "actions": list(alerting.actions),
    }
    return {name: value for name, value in document.items() if value not in (None, {}, [], True)}


def _within(low: float | None, high: float | None) -> CountWithin:
    unbounded = CountWithin()
    return CountWithin(unbounded.low if low is None else low, unbounded.high if high is None else high)


_MODELS: Final[dict[str, type[_Part]]] = {"sli": _Sli, "page": _Alerting, "ticket": _Alerting}
_EVENTS: Final = ("bad", "good", "total")


def _fault(kind: str, path: tuple[str | int, ...], message: str) -> Fault:
    """A fault from what pydantic found."""
    if kind == "missing":
        return Fault(path, "is missing")
    if kind == "extra_forbidden":
        return Fault(path, _unknown(path))
    return Fault(path, message.removeprefix("Value error, "))


def _as_written(path: tuple[str | int, ...], written: object) -> tuple[str | int, ...]:
    """A path without what the document has no place for: a selector alone has no `of`."""
    kept: list[str | int] = []
    for step in path:
        if not isinstance(written, Mapping | list):
            break
        kept.append(step)
        if isinstance(written, Mapping):
            written = written.get(step)
        elif isinstance(step, int) and step < len(written):
            written = written[step]
    return tuple(kept)


def _unknown(path: tuple[str | int, ...]) -> str:
    model: type[_Part] = _Document
    for at in path[:-1]:
        model = _Events if at in _EVENTS else _MODELS.get(str(at), model)
    close = difflib.get_close_matches(str(path[-1])[:60], model.model_fields, n=1)
    return "is not understood; " + (
        f"did you mean {close[0]}?" if close else f"there is {', '.join(model.model_fields)}"
    )


FIELDS: Final = tuple(_Document.model_fields)
"""The fields of an objective."""
