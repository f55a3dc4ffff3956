"""ClickHouse's own compressed blocks, which some drivers ask for over HTTP: `compress=1` and `decompress=1`.

A block is a checksum (16 bytes), the method (1), both sizes (4 and 4, the first with these nine bytes), the data.
"""

from __future__ import annotations

import struct
from typing import Final

import lz4.block  # type: ignore[import-untyped]  # it ships no stubs
import zstandard

from atalaia.infra.local.clickhouse.cityhash import cityhash128
from atalaia.infra.local.clickhouse.errors import ClickHouseError

_CHECKSUM_BYTES: Final = 16
_HEAD: Final = struct.Struct("<BII")
_NONE: Final = 0x02
_LZ4: Final = 0x82
_ZSTD: Final = 0x90
BLOCK_BYTES: Final = 1 << 20
"""ClickHouse's `max_compress_block_size`."""
MOST_BLOCK_BYTES: Final = 128 << 20

CHECKSUM_DOESNT_MATCH: Final = 40
UNKNOWN_COMPRESSION_METHOD: Final = 89
TOO_LARGE_SIZE_COMPRESSED: Final = 131
CANNOT_DECOMPRESS: Final = 271
UNEXPECTED_END_OF_FILE: Final = 3


class BlockCompressor:
    """A result as LZ4 blocks."""

    def write(self, data: bytes) -> bytes:
        """The blocks of these bytes."""
        return b"".join(_block(data[at : at + BLOCK_BYTES]) for at in range(0, len(data), BLOCK_BYTES))

    def finish(self) -> bytes:
        """Nothing: blocks have no end mark."""
        return b""


class BlockDecompressor:
    """A body out of its blocks; raises ClickHouseError for what isn't one."""

    def __init__(self) -> None:
        self._rest = b""

    def write(self, data: bytes) -> bytes:
        """What the blocks hold that are whole by now."""
        self._rest += data
        out = []
        at = 0
        while len(self._rest) >= at + _CHECKSUM_BYTES + _HEAD.size:
            method, size, unpacked = _HEAD.unpack_from(self._rest, at + _CHECKSUM_BYTES)
            _check_sizes(size, unpacked)
            end = at + _CHECKSUM_BYTES + size
            if len(self._rest) < end:
                break
            out.append(_unpacked(self._rest[at:end], method, unpacked))
            at = end
        self._rest = self._rest[at:]
        return b"".join(out)

    def finish(self) -> bytes:
        """Nothing; raises when a block was cut off."""
        if self._rest:
            message = "The body ends within a compressed block (decompress=1)"
            raise ClickHouseError(UNEXPECTED_END_OF_FILE, "UNEXPECTED_END_OF_FILE", message)
        return b""


def _block(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    body = _HEAD.pack(_LZ4, _HEAD.size + len(packed), len(data)) + packed
    return cityhash128(body) + body


def _check_sizes(size: int, unpacked: int) -> None:
    if not _HEAD.size <= size <= MOST_BLOCK_BYTES or unpacked > MOST_BLOCK_BYTES:
        message = "The body is not in ClickHouse's compressed blocks, which decompress=1 says it is in"
        raise ClickHouseError(TOO_LARGE_SIZE_COMPRESSED, "TOO_LARGE_SIZE_COMPRESSED", message)


def _unpacked(block: bytes, method: int, size: int) -> bytes:
    checksum, body = block[:_CHECKSUM_BYTES], block[_CHECKSUM_BYTES:]
    if cityhash128(body) != checksum:
        message = "Checksum doesn't match: corrupted data in a compressed block (decompress=1)"
        raise ClickHouseError(CHECKSUM_DOESNT_MATCH, "CHECKSUM_DOESNT_MATCH", message)
    data = body[_HEAD.size :]
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(data, uncompressed_size=size))
        if method == _ZSTD:
            return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as exc:
        raise ClickHouseError(CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", f"Cannot decompress a block: {exc}") from exc
    if method == _NONE:
        return data
    message = f"Unknown codec family code: {method:#x} of a compressed block: use LZ4, ZSTD or NONE"
    raise ClickHouseError(UNKNOWN_COMPRESSION_METHOD, "UNKNOWN_COMPRESSION_METHOD", message)
