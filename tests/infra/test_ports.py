"""Ports: who holds them, and moving them all."""

from __future__ import annotations

import dataclasses
import os
import socket

from hypothesis import given
from hypothesis import strategies as some

from atalaia.infra.local.ports import Holder, Ports, accepts, taken


@given(some.integers(min_value=0, max_value=Ports().highest_offset))
def test_an_offset_moves_every_port(offset: int) -> None:
    """Every port moves by the offset, stays legal, and no two meet."""
    before, after = dataclasses.astuple(Ports()), dataclasses.astuple(Ports().shifted(offset))
    assert {b - a for a, b in zip(before, after, strict=True)} == {offset}
    assert len(set(after)) == len(after)
    assert max(after) <= 65535


def test_a_taken_port_names_its_holder() -> None:
    """The holder's pid and command are said, and a free port isn't."""
    free = Ports.free()
    with socket.create_server(("127.0.0.1", free.kafka)):
        assert accepts(free.kafka)
        (holder,) = taken([free.kafka, free.registry])
    assert (holder.port, holder.pid) == (free.kafka, os.getpid())
    assert f"port {free.kafka} is taken by pid {os.getpid()} (" in str(holder)
    assert "python" in str(holder)
    assert not accepts(free.kafka)
    assert taken([free.kafka]) == []


def test_a_stranger_is_said_to_be_one() -> None:
    """What another user holds has no name for us."""
    assert str(Holder(80, None, None)) == "port 80 is taken by a process of another user"


def test_a_wildcard_listener_holds_the_loopback_port_too() -> None:
    """A server on 0.0.0.0 keeps us from 127.0.0.1."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104  (the case under test)
        port = server.getsockname()[1]
        assert [holder.port for holder in taken([port])] == [port]
