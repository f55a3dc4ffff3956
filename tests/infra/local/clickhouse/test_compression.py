"""Content codings: what was packed is unpacked, and damage is found."""

from __future__ import annotations

import gzip

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.infra.local.clickhouse.compression import chosen, compressor, decompressor
from atalaia.infra.local.clickhouse.errors import ClickHouseError

CODINGS = ["gzip", "deflate", "zstd", "lz4"]


@given(st.sampled_from(CODINGS), st.lists(st.binary(max_size=500), max_size=5), st.integers(1, 40))
def test_what_was_packed_is_unpacked(coding: str, parts: list[bytes], cut: int) -> None:
    """However it was written and however it arrives."""
    packing = compressor(coding)
    packed = b"".join(packing.write(part) for part in parts) + packing.finish()
    unpacking = decompressor(coding)
    out = b"".join(unpacking.write(packed[at : at + cut]) for at in range(0, len(packed), cut))
    assert out + unpacking.finish() == b"".join(parts)


def test_brotli_for_browsers() -> None:
    """Results only."""
    packing = compressor("br")
    packed = packing.write(b"a" * 1000) + packing.write(b"b" * 1000) + packing.finish()
    assert bytes(cramjam.brotli.decompress(packed)) == b"a" * 1000 + b"b" * 1000


def test_what_is_written_can_be_read_at_once() -> None:
    """A client sees the rows that were sent, before the end."""
    for coding in CODINGS:
        packed = compressor(coding).write(b"a row\n")
        assert decompressor(coding).write(packed) == b"a row\n"


@pytest.mark.parametrize("coding", CODINGS)
def test_damage_is_found(coding: str) -> None:
    """A body that isn't in its coding, or ends too early."""
    with pytest.raises(ClickHouseError, match=coding):
        decompressor(coding).write(b"not packed at all, by anyone")
    packing = compressor(coding)
    packed = packing.write(bytes(range(256)) * 10) + packing.finish()
    unpacking = decompressor(coding)
    unpacking.write(packed[: len(packed) // 2])
    with pytest.raises(ClickHouseError, match="ends in the middle"):
        unpacking.finish()


def test_several_streams_behind_each_other() -> None:
    """As `cat a.gz b.gz` makes them."""
    unpacking = decompressor("gzip")
    assert unpacking.write(gzip.compress(b"a") + gzip.compress(b"b")) + unpacking.finish() == b"ab"


def test_an_empty_body_is_empty() -> None:
    """In every coding."""
    assert [decompressor(coding).finish() for coding in CODINGS] == [b""] * len(CODINGS)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("GZIP;q=1.0", "gzip"),
        ("lz4,zstd,gzip,deflate", "lz4"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.000", ""),
        ("unheard-of", ""),
    ],
)
def test_the_fastest_that_is_accepted(accepted: str, coding: str) -> None:
    """And none that is refused."""
    assert chosen(accepted) == coding
