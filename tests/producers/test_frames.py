"""Frames are asked for until the registry answers."""

from __future__ import annotations

from atalaia.producers import DeliveryError
from atalaia.producers.frames import Frames
from atalaia.schemas import codec
from atalaia.schemas.topics import METRICS, SERVICE_HEALTH, Topic


class Registry:
    """Fails as often as told, then knows."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    def id_of(self, topic: Topic) -> int:
        """258, in the end."""
        self.asked += 1
        if self.asked <= self.failures:
            raise RuntimeError(f"{topic.name} away")
        return 258


def test_a_frame_is_confluents() -> None:
    """Magic byte and the id in four bytes."""
    frames = Frames(Registry(0), lambda _: None)
    assert frames.known(METRICS) is None
    assert frames.look_up(METRICS, now=0.0)
    assert frames.known(METRICS) == codec.frame_header(258)
    assert frames.known(SERVICE_HEALTH) is None


def test_pauses_grow_and_stay_bounded_and_every_failure_is_told() -> None:
    """A registry that is away is asked less and less often, at least every ten seconds."""
    told: list[DeliveryError] = []
    frames, now, pauses = Frames(Registry(10), told.append), 100.0, []
    while not frames.look_up(METRICS, now):
        pause = frames.seconds_until_due(METRICS, now)
        pauses.append(pause)
        now += pause
        assert frames.seconds_until_due(METRICS, now) == 0
    assert pauses[0] < 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10
    assert [error.reason for error in told] == ["registry"] * 10
    assert told[0].event_id is None
