"""Port offsets for stacks that a test starts as a person would."""

from __future__ import annotations

import random

from atalaia.infra.local.ports import Ports, taken


def free_offset() -> int:
    """An offset at which nobody listens, drawn at random: tests in other processes look for theirs at the same time."""
    draw = random.SystemRandom()
    for _ in range(100):
        offset = draw.randrange(2_000, 22_000)  # below the ports that systems hand out by themselves
        ports = Ports().shifted(offset)
        if not taken(getattr(ports, name) for name in Ports.__slots__):
            return offset
    raise AssertionError("no free ports on this machine")
