"""The servers that the contract holds for: ours and, where Docker runs, ClickHouse itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_http import Ask, Server, await_answer
from images import image
from testcontainers.core.container import DockerContainer

CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:25.8"


@pytest.fixture(
    scope="session",
    params=[
        "embedded",
        image("docker", of="ClickHouse"),
    ],
)
def clickhouse_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's address; every test that uses it is a test of the contract, and holds for each of them."""
    if request.param == "embedded":
        with Server(tmp_path_factory.mktemp("clickhouse") / "data") as server:
            yield server.url
        return
    image = DockerContainer(CLICKHOUSE_IMAGE).with_env("CLICKHOUSE_SKIP_USER_SETUP", "1").with_exposed_ports(8123)
    with image as container:
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"
        await_answer(url)
        yield url


@pytest.fixture
def ask(clickhouse_url: str) -> Iterator[Ask]:
    """A database of the test's own."""
    database = f"test_{uuid.uuid4().hex}"
    with Ask(clickhouse_url, "default") as keeper:
        keeper.run(f"CREATE DATABASE {database}")
        with Ask(clickhouse_url, database) as own:
            yield own
        keeper.run(f"DROP DATABASE {database} SYNC")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Server]:
    """A server of ours that the test may end."""
    with Server(tmp_path / "data") as server:
        yield server
