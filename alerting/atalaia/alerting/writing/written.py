"""The fields of a written rule under our names, each of the right type. An absent field and a null are the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from atalaia.alerting.aggregates import Aggregate, Quantile
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import Expression, Period
from atalaia.alerting.rules import Channel
from atalaia.alerting.writing import fields, structure
from atalaia.schemas.events import Severity

SEVERITIES: Final[dict[str, Severity]] = {
    **{severity.value: severity for severity in Severity},
    "warning": Severity.MEDIUM,
    "info": Severity.LOW,
    "p0": Severity.CRITICAL,
    "p1": Severity.HIGH,
    "p2": Severity.MEDIUM,
    "p3": Severity.LOW,
}
"""F's vocabulary; A3's critical, warning, info; and priorities."""

PERIODS: Final = {
    **{f"this {period.value}": period for period in Period},
    **{period.value: period for period in Period},
    "today": Period.DAY,
}
AGAINST: Final = {name: name for name in ("previous", "week_before")}
AS: Final = {name: name for name in ("difference", "percent")}

Text = Annotated[str, BeforeValidator(fields.text)]
OptionalText = Annotated[str | None, BeforeValidator(fields.text)]
Duration = Annotated[timedelta, BeforeValidator(fields.duration)]
OptionalDuration = Annotated[timedelta | None, BeforeValidator(fields.duration)]
Whole = Annotated[int, BeforeValidator(fields.whole)]
Label = Annotated[str, BeforeValidator(fields.label)]
Labels = Annotated[dict[str, Label], BeforeValidator(fields.mapping)]
Texts = Annotated[list[Text], BeforeValidator(fields.texts)]
OptionalTexts = Annotated[list[Text] | None, BeforeValidator(fields.texts)]
Number = Annotated[float, BeforeValidator(fields.number)]
OptionalNumber = Annotated[float | None, BeforeValidator(fields.number)]
SeverityName = Annotated[Severity, BeforeValidator(fields.one_of(SEVERITIES))]
Calendar = Annotated[Period | None, BeforeValidator(fields.one_of(PERIODS))]
AggregateName = Annotated[Aggregate | Quantile | None, BeforeValidator(fields.aggregate)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Amount(_Fields):
    """What is read from events: one side of a ratio, or the whole of a rule."""

    metric: OptionalText = None
    expr: OptionalText = None
    where: Labels = {}
    aggregate: AggregateName = None
    window: OptionalDuration = None
    calendar: Calendar = None
    zone: OptionalText = None


class Ratio(_Fields):
    """One amount divided by another."""

    numerator: Annotated[Amount, BeforeValidator(fields.amount)]
    denominator: Annotated[Amount, BeforeValidator(fields.amount)]
    minimum_denominator: Number
    """A share of a handful of events says nothing."""


class Change(_Fields):
    """How much a value differs from what it was."""

    against: Annotated[str, BeforeValidator(fields.one_of(AGAINST))]
    as_: Annotated[str, BeforeValidator(fields.one_of(AS))] = Field("difference", alias="as")


class LevelFields(_Fields):
    """A further threshold."""

    severity: SeverityName
    threshold: Number
    recovery: OptionalNumber = None


class Document(Amount):
    """A rule as it is written."""

    name: Text
    condition: Annotated[tuple[Comparison, float | None] | None, BeforeValidator(fields.condition)] = None
    threshold: OptionalNumber = None
    thresholds: Annotated[dict[str, Number], BeforeValidator(fields.mapping)] = {}
    levels: Annotated[list[LevelFields], BeforeValidator(fields.listed)] = []
    recovery: OptionalNumber = None
    tolerance: OptionalNumber = None
    id: OptionalText = None
    version: Whole = 1
    tenant: OptionalText = None
    expression: Annotated[Expression | None, BeforeValidator(structure.read)] = None
    by: OptionalTexts = None
    without: OptionalTexts = None
    ratio: Annotated[Ratio | None, BeforeValidator(fields.mapping)] = None
    change: Annotated[Change | None, BeforeValidator(fields.mapping)] = None
    minimum_denominator: OptionalNumber = None
    hold: Duration = Field(timedelta(), alias="for")
    keep_firing_for: Duration = timedelta()
    n_of_m: Annotated[tuple[int, int], BeforeValidator(fields.steps)] = (1, 1)
    severity: SeverityName = Severity.MEDIUM
    minimum_count: Whole = 0
    minimum_completeness: OptionalNumber = None
    absent_for: OptionalDuration = None
    expected: Annotated[list[Labels], BeforeValidator(fields.listed)] = []
    notify_amendments: Annotated[bool, BeforeValidator(fields.flag)] = False
    labels: Labels = {}
    annotations: Annotated[dict[str, Text], BeforeValidator(fields.mapping)] = {}
    summary: OptionalText = None
    description: OptionalText = None
    runbook_url: OptionalText = None
    owner: OptionalText = None
    actions: Texts = []
    channels: Annotated[
        list[Annotated[Channel, BeforeValidator(fields.one_of({item.value: item for item in Channel}))]],
        BeforeValidator(fields.texts),
    ] = []
    recipients: Texts = []
    active: Annotated[bool, BeforeValidator(fields.flag)] = True
