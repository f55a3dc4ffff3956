"""A place in a statement's tokens, one ahead of what has been read."""

from __future__ import annotations

from atalaia.infra.local.clickhouse.tokens import Kind, Token, scan


class Cursor:
    """Moves over tokens once; `token` is None behind the last one, a semicolon, or what can't be told apart."""

    def __init__(self, sql: bytes) -> None:
        self.sql = sql
        self.last: Token | None = None
        self._tokens = scan(sql)
        self.token: Token | None = self._next()

    @property
    def behind(self) -> int:
        """Where the token ends that was read last."""
        return 0 if self.last is None else self.last.end

    def advance(self) -> None:
        """Read one token."""
        if self.token is not None:
            self.last, self.token = self.token, self._next()

    def says(self, *words: bytes) -> bool:
        """Whether one of the keywords comes next, outside of brackets."""
        return self.token is not None and self.token.depth == 0 and self.token.says(*words)

    def opens(self) -> bool:
        """Whether a round bracket comes next."""
        return self.token is not None and self.token.text == b"("

    def skip_name(self) -> None:
        """Read `a`, `a.b` or `{parameter:Identifier}`, quoted or not."""
        while self.token is not None:
            if self.token.text == b"{":
                self.skip_brackets()
            else:
                self.advance()
            if self.token is None or self.token.text != b".":
                return
            self.advance()

    def skip_brackets(self) -> bytes:
        """Read from a bracket to the one that closes it; what stands between."""
        opening = self.token
        self.advance()
        start = self.behind
        while self.token is not None and opening is not None and self.token.depth > opening.depth:
            self.advance()
        end = self.behind if self.token is None else self.token.start
        self.advance()
        return self.sql[start:end].strip()

    def skip_settings(self) -> int:
        """Read `SETTINGS a = 1, b = 'x'`; where it ends."""
        self.advance()
        end = self.behind
        while self.token is not None and self.token.names():
            self.advance()  # the name
            self.advance()  # =
            if self.token is not None and self.token.kind is Kind.OPEN:
                self.skip_brackets()
            else:
                if self.token is not None and self.token.text == b"-":
                    self.advance()
                self.advance()
            end = self.behind
            if self.token is None or self.token.text != b",":
                break
            self.advance()
        return end

    def _next(self) -> Token | None:
        token = next(self._tokens, None)
        return None if token is None or token.kind in {Kind.END, Kind.UNCLOSED} else token
