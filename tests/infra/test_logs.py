"""Logs are JSON with fixed keys, at the environment's level, without secrets."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from pydantic import SecretStr

from atalaia.infra import logs
from atalaia.infra.settings import Settings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is global: every test gives it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger(logs.OURS).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(**settings: Any) -> io.StringIO:
    """A stream that gets the logs."""
    stream = io.StringIO()
    logs.configure(Settings(**settings), service="sink", stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON lines so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_the_fixed_keys() -> None:
    """Each line says when, how bad, what, who and where in the code, and carries its fields."""
    stream = configured()
    structlog.get_logger("atalaia.sinks").info("batch_stored", rows=3)
    (line,) = lines(stream)
    assert list(line)[:8] == ["timestamp", "level", "event", "logger", "service", "module", "function", "line"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"], line["logger"]) == ("info", "batch_stored", "atalaia.sinks")
    assert (line["service"], line["module"]) == ("sink", "test_logs")
    assert line["function"] == "test_a_line_has_the_fixed_keys"
    assert isinstance(line["line"], int)
    assert line["rows"] == 3


def test_context_and_exceptions_are_carried() -> None:
    """What was bound to the request is on every line, and an exception with its traceback."""
    stream = configured()
    structlog.contextvars.bind_contextvars(request_id="r1", user_id="u1")
    try:
        int("boom")
    except ValueError:
        structlog.get_logger("atalaia.api").exception("request_failed")
    (line,) = lines(stream)
    assert (line["request_id"], line["user_id"]) == ("r1", "u1")
    assert "ValueError: invalid literal" in line["exception"]


def test_stdlib_records_take_the_same_way() -> None:
    """A library's record is a JSON line with the same keys, its arguments filled in."""
    stream = configured()
    logging.getLogger("aiokafka").warning("lost %s", "broker")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("lost broker", "aiokafka", "warning")
    assert line["function"] == "test_stdlib_records_take_the_same_way"


def test_libraries_are_quiet_even_in_debug() -> None:
    """In development our own loggers say all, others warn at most."""
    stream = configured(log_level="DEBUG")
    structlog.get_logger("atalaia.streams").debug("ours")
    logging.getLogger("faust").info("theirs")
    structlog.get_logger("kafka").info("theirs")
    assert [line["event"] for line in lines(stream)] == ["ours"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [("development", ["debug", "info", "warning"]), ("staging", ["info", "warning"]), ("production", ["warning"])],
)
def test_the_environment_sets_the_level(
    environment: Literal["development", "staging", "production"], said: list[str]
) -> None:
    """Development says all, staging from INFO, production from WARNING."""
    stream = configured(environment=environment)
    log = structlog.get_logger("atalaia.x")
    for level in ("debug", "info", "warning"):
        getattr(log, level)(level)
    assert [line["event"] for line in lines(stream)] == said


def test_the_setting_beats_the_environment() -> None:
    """`log_level` wins over what the environment implies, for libraries too."""
    stream = configured(environment="development", log_level="ERROR")
    structlog.get_logger("atalaia.x").warning("ours")
    logging.getLogger("faust").warning("theirs")
    assert not stream.getvalue()


def test_secrets_are_never_written() -> None:
    """Secret types and secret names are hidden wherever they hang; a record's key is no secret."""
    stream = configured()
    structlog.get_logger("atalaia.x").info(
        "connected",
        password="hunter2",  # noqa: S106  (it is what must not appear)
        config={"sasl.password": "hunter2", "list": [{"api_key": "hunter2"}]},
        value=SecretStr("hunter2"),
        key="series-1",
    )
    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0]["key"] == "series-1"


def test_warnings_are_logged() -> None:
    """A Python warning is a log line, not a stray line on stderr."""
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "old" in lines(stream)[0]["event"]


def test_console_format_is_for_people() -> None:
    """`log_format=console` is one plain line a record, without the place in the code."""
    stream = configured(log_format="console")
    structlog.get_logger("atalaia.x").info("batch_stored", rows=3)
    assert "batch_stored" in stream.getvalue()
    assert "func_name" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_importing_configures_nothing() -> None:
    """Whoever imports the module keeps their own logging."""
    code = (
        "import logging, atalaia.infra.logs, structlog;"
        "assert not logging.getLogger().handlers; assert not structlog.is_configured()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
