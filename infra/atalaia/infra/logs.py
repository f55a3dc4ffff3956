"""Structured logs for every process: JSON with F7's and A6's keys, colours on a terminal, all on stderr.

Keys: timestamp (UTC), level, event, logger, service, module, function, line; and request_id, user_id and whatever
else was bound to the context; exception when there is one. Records of the standard library's loggers (Faust,
aiokafka, uvicorn) take the same way out. Importing this module configures nothing.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from atalaia.infra.settings import Settings

LEVELS: Final[Mapping[str, str]] = {"development": "DEBUG", "staging": "INFO", "production": "WARNING"}
"""A6: the level by environment; `log_level` in the settings wins."""

OURS: Final = "atalaia"
THIRD_PARTY_LEVEL: Final = logging.WARNING
"""Libraries never say more than this: Faust and aiokafka at DEBUG write a line a message."""

REDACTED: Final = "[redacted]"
_SECRET = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|authorization|cookie|(api|private|access|integration)_?key",
    re.IGNORECASE,
)
_FIRST: Final = ("timestamp", "level", "event", "logger", "service", "module", "function", "line")


def configure(settings: Settings, *, service: str, stream: TextIO | None = None) -> None:
    """Send this process's logs to stderr; called once, by the process's entry point.

    `log_format` auto: colours when the stream is a terminal, JSON otherwise.
    """
    out = stream or sys.stderr
    colours = settings.log_format == "console" or (settings.log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_common(service),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_console(out) if colours else _JSON),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = level_of(settings)
    root.setLevel(max(level, THIRD_PARTY_LEVEL))
    logging.getLogger(OURS).setLevel(level)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(service),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def level_of(settings: Settings) -> int:
    """The level of our own loggers."""
    return logging.getLevelNamesMapping()[settings.log_level or LEVELS[settings.environment]]


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The event without secrets: pydantic's secret types, and values under keys that name one.

    >>> redact(None, "", {"event": "login", "api_key": "k-1", "settings": {"password": "p"}, "key": "series"})
    {'event': 'login', 'api_key': '[redacted]', 'settings': {'password': '[redacted]'}, 'key': 'series'}
    """
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: object, value: Any) -> Any:
    if isinstance(value, SecretStr | SecretBytes) or (isinstance(name, str) and value and _SECRET.search(name)):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _redacted(inner, nested) for inner, nested in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(None, item) for item in value]
    return value


def _common(service: str) -> list[Processor]:
    """What both our records and the standard library's go through."""

    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    site = structlog.processors.CallsiteParameter
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder([site.MODULE, site.FUNC_NAME, site.LINENO]),
        structlog.processors.StackInfoRenderer(),
        add_service,
        redact,
    ]


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A6's names for the place in the code, and the keys a person looks for first."""
    event["function"] = event.pop("func_name", None)
    event["line"] = event.pop("lineno", None)
    return {name: event.pop(name) for name in _FIRST if name in event} | dict(event)


def _without_place(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """On a terminal the line is short: the place in the code is in the JSON."""
    for name in ("module", "func_name", "lineno", "service"):
        event.pop(name, None)
    return event


_JSON: Final[list[Processor]] = [
    structlog.processors.format_exc_info,
    _in_order,
    structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
]


def _console(out: TextIO) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=30
    )
    return [_without_place, renderer]
