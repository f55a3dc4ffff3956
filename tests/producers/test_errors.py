"""Errors carry data."""

from __future__ import annotations

import pickle

from atalaia.producers import DeliveryError, MetricError


def test_errors_survive_pickling() -> None:
    """They cross process boundaries whole."""
    refused = pickle.loads(pickle.dumps(MetricError("value", "x", "must be a number")))  # noqa: S301 - our own bytes
    lost = pickle.loads(pickle.dumps(DeliveryError("closed", "text", topic="t", event_id="e")))  # noqa: S301 - the same
    assert (str(refused), refused.field) == ("value='x': must be a number", "value")
    assert (str(lost), lost.reason, lost.topic, lost.event_id) == ("text", "closed", "t", "e")


def test_a_long_value_is_cut_in_the_message() -> None:
    """The error is for reading; the value itself is kept."""
    error = MetricError("metadata", "x" * 10_000, "is too long")
    assert len(str(error)) < 200
    assert error.value == "x" * 10_000
