"""What a format's bytes are called over HTTP."""

from __future__ import annotations

from typing import Final

DEFAULT: Final = "TabSeparated"
_UTF8: Final = "; charset=UTF-8"


def content_type(name: str) -> str:
    """The media type that a server gives a result in this format.

    >>> content_type("JSONEachRow"), content_type("csvwithnames"), content_type("Native")
    ('application/x-ndjson; charset=UTF-8', 'text/csv; charset=UTF-8; header=present', 'application/octet-stream')
    """
    lowered = name.lower()
    if lowered.startswith(("tabseparated", "tsv")) or lowered == "values":
        return "text/tab-separated-values" + _UTF8
    if lowered.startswith("csv"):
        return f"text/csv{_UTF8}; header={'present' if 'withnames' in lowered else 'absent'}"
    if lowered.startswith("json"):
        lines = "eachrow" in lowered or lowered in {"jsonlines", "jsonstringslines"}
        return ("application/x-ndjson" if lines else "application/json") + _UTF8
    if lowered in _TEXT:
        return _TEXT[lowered] + _UTF8
    if lowered.startswith(("pretty", "vertical", "template", "custom")):
        return "text/plain" + _UTF8
    return "application/octet-stream"


_TEXT: Final = {
    "ndjson": "application/x-ndjson",
    "xml": "application/xml",
    "markdown": "text/markdown",
    "sqlinsert": "text/plain",
    "prometheus": "text/plain; version=0.0.4",
    "null": "text/plain",
    "hash": "text/plain",
    "lineasstring": "text/plain",
}
