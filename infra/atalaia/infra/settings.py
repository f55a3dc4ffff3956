"""Every setting of every process, read once: environment, then `atalaia.toml`, then the defaults of one laptop."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "ATALAIA_"
LOOPBACK = "127.0.0.1"

Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(Exception):
    """The settings cannot be used; the message lists every fault, one a line, with its remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """The Kafka cluster."""

    bootstrap_servers: str = Field(f"{LOOPBACK}:9092", description="host:port, comma-separated")
    partitions: int = Field(4, ge=1, description="partitions of a topic when it is created")
    replication_factor: int = Field(1, ge=1, description="replicas of a topic when it is created")
    config: dict[str, str] = Field(default_factory=dict, description="librdkafka keys, passed through")
    password: SecretStr | None = Field(None, description="sasl.password; _FILE reads it from a file")


class RegistrySettings(_Section):
    """The schema registry (Confluent REST API)."""

    url: str = f"http://{LOOPBACK}:8081"
    auto_register: bool = Field(False, description="register schemas on start; `atalaia up` turns it on")


class ClickHouseSettings(_Section):
    """ClickHouse, over its HTTP interface."""

    url: str = f"http://{LOOPBACK}:8123"
    database: str = "atalaia"
    user: str = "default"
    password: SecretStr = SecretStr("")


class RetentionSettings(_Section):
    """How long ClickHouse keeps what (F4); applied by `atalaia up` and `atalaia schemas register`."""

    real_time_days: int = Field(7, ge=1)
    hourly_days: int = Field(90, ge=1)
    daily_days: int = Field(730, ge=1)
    monthly_days: int = Field(1826, ge=1)
    alert_days: int = Field(365, ge=1)
    health_days: int = Field(30, ge=1)
    dead_letter_days: int = Field(14, ge=1)


class StreamSettings(_Section):
    """The stream worker."""

    application: str = Field("atalaia-streams", description="Faust app id = consumer group")
    allowed_lateness: timedelta = Field(timedelta(seconds=5), description="how late an event may come")
    idle_after: timedelta = Field(
        timedelta(seconds=10), description="a partition silent this long advances by wall clock"
    )
    checkpoint_every: timedelta = Field(timedelta(seconds=3), description="state, rollups, then offsets")
    evict_after: timedelta = Field(timedelta(minutes=2), description="closed windows idle this long leave memory")
    max_windows: int = Field(2_000_000, ge=1_000, description="open windows held by one worker")
    batch_records: int = Field(50_000, ge=1)
    fetch_bytes: int = Field(8 * 1024 * 1024, ge=1024)
    session_timeout: timedelta = timedelta(seconds=10)
    rule_files: list[Path] = Field(default_factory=list, description="rules besides those on the topic")
    metrics_port: Port = 9101


class SinkSettings(_Section):
    """The ClickHouse sink."""

    group: str = "atalaia-sink"
    batch_records: int = Field(50_000, ge=1)
    batch_wait: timedelta = Field(timedelta(milliseconds=500), description="a batch is inserted this often")
    metrics_port: Port = 9102


class LocalSettings(_Section):
    """The embedded stack."""

    kafka_heap: str = Field("400m", pattern=r"^\d+[mg]$")
    clickhouse_memory_bytes: int = Field(1_200_000_000, ge=200_000_000)
    port_offset: int = Field(0, ge=0, le=50_000, description="added to every port; --port-offset wins")
    jars: Path | None = Field(None, description="Apache Kafka's jars; default: the user's cache folder")


class Settings(BaseSettings):
    """All settings. `ATALAIA_KAFKA__BOOTSTRAP_SERVERS` sets `kafka.bootstrap_servers`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore", frozen=True, toml_file=None
    )

    home: Path = Field(Path(".atalaia"), description="state of the embedded stack")
    environment: Literal["development", "staging", "production"] = "development"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None
    log_format: Literal["auto", "json", "console"] = "auto"
    tenant: str = "default"
    metrics_host: str = Field(LOOPBACK, description="where workers serve /metrics, /livez and /readyz")
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    retention: RetentionSettings = RetentionSettings()
    streams: StreamSettings = StreamSettings()
    sinks: SinkSettings = SinkSettings()
    local: LocalSettings = LocalSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults; the file is `ATALAIA_CONFIG` or ./atalaia.toml."""
        del dotenv_settings, file_secret_settings
        path = Path(os.environ.get(f"{PREFIX}CONFIG", "atalaia.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)


def load(**overrides: Any) -> Settings:
    """The settings of this process; `SettingsError` names every wrong field, its value and what it should be."""
    _read_secret_files()
    path = os.environ.get(f"{PREFIX}CONFIG")
    if path and not Path(path).is_file():
        raise SettingsError(f"{PREFIX}CONFIG={path}: no such file; unset it or name a TOML file")
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        raise SettingsError("\n".join(_line(error) for error in exc.errors())) from exc
    except ValueError as exc:  # a TOML file that doesn't parse, JSON in a nested variable
        raise SettingsError(f"settings: {exc}") from exc


def _line(error: Any) -> str:
    variable = PREFIX + "__".join(str(part).upper() for part in error["loc"])
    return f"{variable}={error.get('input')!r}: {error['msg']}"


def _read_secret_files() -> None:
    """`ATALAIA_CLICKHOUSE__PASSWORD_FILE=/run/secrets/x` becomes `ATALAIA_CLICKHOUSE__PASSWORD`."""
    for name in [key for key in os.environ if key.startswith(PREFIX) and key.endswith("_FILE")]:
        try:
            os.environ[name.removesuffix("_FILE")] = Path(os.environ[name]).read_text("utf-8").strip()
        except OSError as exc:
            raise SettingsError(f"{name}={os.environ[name]}: {exc.strerror}; name a readable file") from exc


def librdkafka(settings: KafkaSettings, **more: Any) -> dict[str, Any]:
    """A librdkafka configuration: ours, then the user's own keys, which win."""
    base: dict[str, Any] = {"bootstrap.servers": settings.bootstrap_servers, **more}
    if settings.password is not None:
        base["sasl.password"] = settings.password.get_secret_value()
    return base | settings.config
