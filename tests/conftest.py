"""Fixtures that several stages share: the embedded stack, started once a session, and real."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from atalaia.cli import prepare
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.local.supervisor import Step

# A law doesn't depend on how fast the machine is at the moment.
settings.register_profile("atalaia", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("atalaia")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Apache Kafka, the registry and ClickHouse's engine on free ports, with topics, schemas and tables."""
    with LocalStack(
        tmp_path_factory.mktemp("stack"),
        steps=lambda settings: [Step(name, partial(step, settings)) for name, step in prepare.STEPS.items()],
    ) as running:
        yield running
