"""Which series an objective counts, in PromQL's spelling: `http_requests{service_name="api", status_class!="5xx"}`."""

from __future__ import annotations

import json
import re
from typing import Final

from atalaia.alerting import promql
from atalaia.alerting.expressions import MatchOperator, Read, Selector
from atalaia.alerting.promql import PromqlError, names
from atalaia.alerting.promql.syntax import Series, read

_PLAIN: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
MAX_TEXT: Final = 1_000
_FORM: Final = 'write a metric and its labels, as in http_requests{service_name="api"}'


def selector(text: str) -> Selector:
    """The selector that a text says, under our names; `ValueError` with what would be right.

    >>> found = selector('http_requests_total{job="api", status_class!="5xx"}')
    >>> found.metric_name, [matcher.label for matcher in found.matchers]
    ('http_requests', ['service_name', 'status_class'])
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"has {len(text)} characters; a selector has at most {MAX_TEXT}")
    try:
        series = read(text)
        if not isinstance(series, Series) or series.length is not None or series.offset:
            raise ValueError(
                f"is {text[:60]!r}, more than a selector: windows and rates come from the objective; {_FORM}"
            )
        counted = promql.parse(f"count_over_time({series_text(series)}[5m])")
    except PromqlError as exc:
        raise ValueError(f"is no selector: {exc.reason}; {_FORM}") from exc
    if not isinstance(counted, Read) or names.component(series.name).part is not None:
        raise ValueError(f"is {text[:60]!r}, a part of a metric; name the metric itself")
    return counted.selector


def series_text(series: Series) -> str:
    """The text of a selector that was parsed, without its window."""
    return _text(series.name, [(one.label, one.operator, one.value) for one in series.conditions])


def selector_text(selected: Selector) -> str:
    """The text of a selector, which `selector` reads back.

    >>> selector_text(selector('http_requests{job="api"}'))
    'http_requests{service_name="api"}'
    """
    return _text(selected.metric_name, [(one.label, one.operator, one.value) for one in selected.matchers])


def _text(name: str, conditions: list[tuple[str, MatchOperator, str]]) -> str:
    written = [f"{label}{operator}{_quoted(value)}" for label, operator, value in conditions]
    if _PLAIN.fullmatch(name):
        return name + (f"{{{', '.join(written)}}}" if written else "")
    return f"{{{', '.join([_quoted(name), *written])}}}"


def _quoted(value: str) -> str:
    """JSON's escapes are among PromQL's."""
    return json.dumps(value, ensure_ascii=False)
