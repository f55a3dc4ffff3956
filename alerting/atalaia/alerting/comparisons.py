"""How a number is compared with a threshold."""

from __future__ import annotations

from enum import StrEnum


class Comparison(StrEnum):
    """How the aggregate is compared with the threshold (F2.5)."""

    ABOVE = ">"
    BELOW = "<"
    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="
