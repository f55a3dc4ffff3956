"""A real ClickHouse engine for the sink's tests, with the tables that the migrations make, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_http import Server
from sink_data import Schemas

from atalaia.infra import clickhouse
from atalaia.infra.settings import ClickHouseSettings, RetentionSettings, Settings
from atalaia.sinks import schema
from atalaia.sinks.loader import Loader
from atalaia.sinks.tables import tables


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """ClickHouse's engine behind its HTTP interface."""
    with Server(tmp_path_factory.mktemp("clickhouse") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def migrated(server: Server) -> Settings:
    """Settings that point at a database with all tables."""
    settings = Settings(clickhouse=ClickHouseSettings(url=server.url))
    schema.migrate(settings)
    return settings


@pytest.fixture
def client(migrated: Settings) -> Iterator[Client]:
    """A client of the database, whose tables are empty."""
    connected = clickhouse.connect(migrated.clickhouse)
    for table in schema.ttls(RetentionSettings()):
        connected.command(f"TRUNCATE TABLE {table}")
    yield connected
    connected.close()


@pytest.fixture
def schemas() -> Schemas:
    """A registry."""
    return Schemas()


@pytest.fixture
def loader(migrated: Settings, client: Client, schemas: Schemas) -> Iterator[Loader]:
    """A loader into the empty tables."""
    assert client
    made = Loader(migrated.clickhouse, schemas, tables(migrated.retention))
    yield made
    made.close()
