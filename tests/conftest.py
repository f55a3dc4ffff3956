"""Fixtures that several stages share: the embedded stack, started once a session, and real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atalaia.cli import prepare
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.local.supervisor import Step


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Apache Kafka, the registry and ClickHouse's engine on free ports, with topics, schemas and tables."""
    home: Path = tmp_path_factory.mktemp("stack")
    with LocalStack(
        home,
        steps=lambda settings: [
            Step("topics", lambda: str(prepare.topics(settings))),
            Step("schemas", lambda: str(prepare.schemas(settings))),
        ],
    ) as running:
        yield running
