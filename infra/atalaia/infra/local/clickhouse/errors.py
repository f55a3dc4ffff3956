"""ClickHouse's errors: code, name and text, and the HTTP status a server gives them."""

from __future__ import annotations

import re
from typing import Final

_PREFIX: Final = re.compile(r"Code: (\d+)\. DB::Exception: ")
_SUFFIX: Final = re.compile(r"\s*\(([A-Z][A-Z0-9_]*)\)(?: \(version [^)]*\))?\s*$")
UNKNOWN: Final = (1002, "UNKNOWN_EXCEPTION")

# src/Server/HTTP/exceptionCodeToHTTPStatus.cpp of ClickHouse; whatever isn't named there is a 500.
_STATUS_BY_NAME: Final = {
    401: "REQUIRED_PASSWORD",
    403: "UNKNOWN_USER WRONG_PASSWORD AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE ACCESS_DENIED",
    400: """BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE
        CANNOT_PARSE_QUOTED_STRING CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME CANNOT_PARSE_NUMBER
        CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_IPV4 CANNOT_PARSE_IPV6 CANNOT_PARSE_INPUT_ASSERTION_FAILED
        CANNOT_PARSE_UUID DUPLICATE_COLUMN ILLEGAL_COLUMN UNKNOWN_ELEMENT_IN_AST UNKNOWN_TYPE_OF_AST_NODE
        THERE_IS_NO_COLUMN TOO_DEEP_AST TOO_BIG_AST UNEXPECTED_AST_STRUCTURE SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH
        VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE""",
    404: """UNKNOWN_TABLE UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_TYPE UNKNOWN_STORAGE UNKNOWN_DATABASE
        UNKNOWN_SETTING UNKNOWN_DIRECTION_OF_SORTING UNKNOWN_AGGREGATE_FUNCTION UNKNOWN_FORMAT UNKNOWN_DATABASE_ENGINE
        UNKNOWN_TYPE_OF_QUERY UNKNOWN_ROLE""",
    408: "TIMEOUT_EXCEEDED",
    411: "HTTP_LENGTH_REQUIRED",
    413: "QUERY_IS_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    501: "NOT_IMPLEMENTED",
    # A server's own limit of parallel queries is a 500 there; 503 tells clients that trying again helps.
    503: "SOCKET_TIMEOUT CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK TOO_MANY_SIMULTANEOUS_QUERIES",
}
_STATUS: Final = {name: status for status, names in _STATUS_BY_NAME.items() for name in names.split()}


class ClickHouseError(Exception):
    """What a ClickHouse server would have answered."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(code, name, message)
        self.code = code
        self.name = name
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS.get(self.name, 500)

    def text(self, version: str) -> str:
        """The line that a server sends.

        >>> ClickHouseError(60, "UNKNOWN_TABLE", "Table t does not exist.").text("26.9.2.1")
        'Code: 60. DB::Exception: Table t does not exist. (UNKNOWN_TABLE) (version 26.9.2.1 (official build))'
        """
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version} (official build))"


def parsed(text: str) -> ClickHouseError:
    """The error behind the engine's words, which may carry the same prefix and suffix several times over.

    >>> twice = "Code: 73. DB::Exception: Code: 73. DB::Exception: Unknown format X. (UNKNOWN_FORMAT). (UNKNOWN_FORMAT)"
    >>> error = parsed(twice)
    >>> error.code, error.name, error.message, error.status
    (73, 'UNKNOWN_FORMAT', 'Unknown format X.', 404)
    """
    message = text.strip()
    code, name = UNKNOWN
    start = _PREFIX.search(message)
    if start is None:
        return ClickHouseError(code, name, message)
    message = message[start.start() :]
    while (prefix := _PREFIX.match(message)) is not None:
        code = int(prefix[1])
        message = message[prefix.end() :]
        suffix = _SUFFIX.search(message)
        if suffix is not None:
            name = suffix[1]
            message = message[: suffix.start()]
        if _PREFIX.match(message):
            message = message.removesuffix(".")
    return ClickHouseError(code, name, message)
