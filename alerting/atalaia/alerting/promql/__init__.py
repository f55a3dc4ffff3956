"""PromQL: text to our tree and back. docs/promql.md says what is understood, and where it differs from Prometheus."""

from __future__ import annotations

from atalaia.alerting.promql.compiling import parse
from atalaia.alerting.promql.places import PromqlError
from atalaia.alerting.promql.printing import text
from atalaia.alerting.promql.splitting import local_read, split

__all__ = ["PromqlError", "local_read", "parse", "split", "text"]
