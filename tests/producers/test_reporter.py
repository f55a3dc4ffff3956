"""Losses and troubles reach everyone, and stop nobody."""

from __future__ import annotations

import logging

import pytest

from atalaia.producers import Delivery, DeliveryError
from atalaia.producers.reporter import QUIET_SECONDS, Reporter

LOST = DeliveryError("msg_timed_out", "an event was not delivered", event_id="e")
DELIVERED = Delivery("t", 0, 1, "e")


def test_a_loss_is_told_to_whoever_asked_and_to_whoever_watches() -> None:
    """Both the event's own callback and the producer's."""
    asked: list[object] = []
    watched: list[object] = []
    reporter = Reporter(watched.append)
    reporter.settled(LOST, asked.append)
    reporter.settled(DELIVERED, asked.append)
    assert asked == [LOST, DELIVERED]
    assert watched == [LOST]


def test_a_callback_that_raises_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged."""

    def broken(_: object) -> None:
        raise ZeroDivisionError

    Reporter(broken).settled(LOST, broken)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2


def test_a_reason_is_logged_once_in_a_while_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of losses is one line, and the next line says how many there were."""
    reporter = Reporter(None)
    counts = [reporter._due("r", now) for now in (0.0, 1.0, 2.0, QUIET_SECONDS, QUIET_SECONDS + 1)]
    assert counts == [1, 0, 0, 3, 0]
    with caplog.at_level(logging.WARNING, "atalaia.producers"):
        reporter.trouble(LOST)
        reporter.trouble(LOST)
    assert [record.getMessage() for record in caplog.records] == [
        "an event was not delivered (msg_timed_out, 1 since last said)"
    ]
