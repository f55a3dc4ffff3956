"""Where something is in an expression, and what is wrong there."""

from __future__ import annotations


class PromqlError(ValueError):
    """An expression that is not understood: the reason, with what to write instead. Line and column count from 1."""

    def __init__(self, reason: str, *, expression: str = "", offset: int = 0) -> None:
        self.reason = reason
        self.offset = offset
        before = expression[:offset]
        self.line = before.count("\n") + 1
        self.column = offset - before.rfind("\n")
        super().__init__(f"{self.line}:{self.column}: {reason}")
