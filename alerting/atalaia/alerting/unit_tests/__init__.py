"""Unit tests of rules in promtool's format: what must fire, when, from which series."""

from __future__ import annotations

from atalaia.alerting.unit_tests.running import Outcome, run

__all__ = ["Outcome", "run"]
