"""The documentation's code runs, against the real Kafka."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from atalaia.infra.local.stack import LocalStack

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "producers.md").read_text("utf-8")


@pytest.mark.e2e
def test_the_code_of_the_page_runs_from_top_to_bottom(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block, in order, in one module; nothing of what it emits is lost."""
    settings = stack.settings
    monkeypatch.setenv("ATALAIA_KAFKA__BOOTSTRAP_SERVERS", settings.kafka.bootstrap_servers)
    monkeypatch.setenv("ATALAIA_REGISTRY__URL", settings.registry.url)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("localhost:9092", settings.kafka.bootstrap_servers), module)  # noqa: S102 - that is the point
    stats = module["metrics"].close()
    assert (stats.queued, stats.lost) == (0, 0)
    assert stats.acknowledged > 5


@pytest.mark.parametrize("name", ["BufferFull", "GoldenSignals", "RecordingProducer", "on_behalf_of", "try_emit"])
def test_the_page_names_what_there_is(name: str) -> None:
    """A public name that nobody can read about is missing."""
    assert name in PAGE
