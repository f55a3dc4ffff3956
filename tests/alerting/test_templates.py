"""Texts say what the alert says, in Prometheus' words, and execute nothing."""

from __future__ import annotations

import pytest

from atalaia.alerting.templates import fill, unknown_places

LABELS = {"service_name": "api", "region": "{{ $value }}", "size": "2048", "le a": "x"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ $value }} above {{$threshold}}", "0.0525 above 0.05"),
        ("{{ $labels.service_name }} {{ $labels.job }} {{ $labels.none }}.", "api api ."),
        ("{{ $labels.region }}", "{{ $value }}"),
        ("{{ $value | humanizePercentage }}", "5.25%"),
        ("{{ humanizePercentage $value }}", "5.25%"),
        ("{{ $value | humanize }}", "52.5m"),
        ("{{ $value | humanizeDuration }}", "52.5ms"),
        ("{{ $labels.size | humanize1024 }}", "2ki"),
        ("{{ $labels.service_name | humanize }}", "api"),
        ('{{ printf "%.2f" $value }}', "0.05"),
        ('{{ $value | printf "%.1f %%" }}', "0.1 %"),
        ('{{ printf "%d" $labels.size }}', "2048"),
    ],
)
def test_places_are_filled(template: str, text: str) -> None:
    """Labels by either name, numbers in Prometheus' formats; what is put in is not looked at again."""
    assert fill(template, labels=LABELS, value="0.0525", threshold="0.05") == text
    assert list(unknown_places(template)) == []


@pytest.mark.parametrize(
    "template",
    [
        "{{ query $value }}",
        "{{ $value | safeHtml }}",
        "{{ $externalLabels.x }}",
        "{{ if $value }}",
        '{{ printf "%n" $value }}',
        '{{ printf "%s %s" $value }}',
        '{{ printf "%999999999f" $value }}',
        "{{ .Value }}",
    ],
)
def test_what_is_not_understood_stays(template: str) -> None:
    """No function that is not known is guessed at, and no format can be abused."""
    assert fill(template, labels=LABELS, value="1", threshold="1") == template
    assert list(unknown_places(template)) == [template]
