"""ClickHouse's compressed blocks, checked against those that the engine itself writes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_http import Ask, Server
from hypothesis import given
from hypothesis import strategies as st

from atalaia.infra.local.clickhouse.blocks import BLOCK_BYTES, BlockCompressor, BlockDecompressor
from atalaia.infra.local.clickhouse.cityhash import cityhash128
from atalaia.infra.local.clickhouse.errors import ClickHouseError

SIZES = [*range(40), 100, 111, 112, 127, 128, 129, 143, 144, 145, 159, 160, 255, 256, 257, 500, 1000, 5000]


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a MergeTree's columns, in every codec and of every small size: blocks, one behind the other."""
    path: Path = tmp_path_factory.mktemp("blocks") / "data"
    with Server(path) as server, Ask(server.url, "default") as ask:
        ask.run(
            "CREATE TABLE t (n String CODEC(NONE), l String CODEC(LZ4), z String CODEC(ZSTD)) ENGINE = MergeTree"
            " ORDER BY tuple() SETTINGS min_bytes_for_wide_part = 0"
        )
        for size in SIZES:
            ask.run(f"INSERT INTO t SELECT randomString({size}), randomString({size}), repeat('ab', {size})")
        server.stop()
    return {str(file): file.read_bytes() for file in path.rglob("*.bin")}


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Checksum and body of each block."""
    at = 0
    while at < len(data):
        _, size, _ = struct.unpack_from("<BII", data, at + 16)
        yield data[at : at + 16], data[at + 16 : at + 16 + size]
        at += 16 + size


def unpacked(data: bytes) -> bytes:
    """All at once."""
    unpacking = BlockDecompressor()
    return unpacking.write(data) + unpacking.finish()


def test_checksums_are_the_engines(columns: dict[str, bytes]) -> None:
    """Of every block that the engine wrote, short and long."""
    found = [block for data in columns.values() for block in blocks(data)]
    assert len({len(body) for _, body in found}) > 60
    assert [checksum for checksum, _ in found] == [cityhash128(body) for _, body in found]


def test_the_engines_blocks_are_read(columns: dict[str, bytes]) -> None:
    """LZ4, ZSTD and uncompressed."""
    methods = set()
    for data in columns.values():
        heads = [struct.unpack_from("<BII", body) for _, body in blocks(data)]
        assert len(unpacked(data)) == sum(size for _, _, size in heads)
        methods |= {method for method, _, _ in heads}
    assert methods == {0x02, 0x82, 0x90}


@given(st.lists(st.binary(max_size=2000), max_size=5), st.integers(1, 50))
def test_blocks_come_back_however_they_are_cut(parts: list[bytes], cut: int) -> None:
    """What was written is what is read, in pieces of any size."""
    packing = BlockCompressor()
    packed = b"".join(packing.write(part) for part in parts) + packing.finish()
    unpacking = BlockDecompressor()
    out = b"".join(unpacking.write(packed[at : at + cut]) for at in range(0, len(packed), cut))
    assert out + unpacking.finish() == b"".join(parts)


def test_long_data_is_several_blocks() -> None:
    """None is longer than ClickHouse makes them."""
    packed = BlockCompressor().write(b"x" * (2 * BLOCK_BYTES + 1))
    assert [struct.unpack_from("<BII", body)[2] for _, body in blocks(packed)] == [BLOCK_BYTES, BLOCK_BYTES, 1]


@pytest.mark.parametrize("at", [0, 15, 16, 17, 25, 40])
def test_damage_is_found(at: int) -> None:
    """One wrong byte anywhere is an error."""
    packed = bytearray(BlockCompressor().write(bytes(range(256))))
    packed[at] ^= 1
    with pytest.raises(ClickHouseError):
        unpacked(bytes(packed))


def test_a_block_cut_off_is_found() -> None:
    """At the end."""
    unpacking = BlockDecompressor()
    unpacking.write(BlockCompressor().write(b"abc")[:-1])
    with pytest.raises(ClickHouseError, match="ends within"):
        unpacking.finish()
