"""Content codings: gzip, deflate, zstd and lz4 of requests and results, br of results."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import cramjam
import lz4.frame  # type: ignore[import-untyped]  # it ships no stubs
import zstandard

from atalaia.infra.local.clickhouse.errors import ClickHouseError

NOT_IMPLEMENTED: Final = 48
CANNOT_DECOMPRESS: Final = 271
LEAST_BYTES: Final = 256
"""Smaller results are not worth a header."""

# Fast ones first, at the level of ClickHouse's `http_zlib_compression_level` or lower: loopback costs nothing.
_PREFERRED: Final = ("lz4", "zstd", "gzip", "br", "deflate")
_LEVEL: Final = {"gzip": 3, "br": 2, "zstd": 1, "lz4": 1, "deflate": 3}


class Codec(Protocol):
    """Bytes in, bytes out, in order."""

    def write(self, data: bytes) -> bytes:
        """What can be passed on by now."""
        ...

    def finish(self) -> bytes:
        """What is left."""
        ...


class Plain:
    """As it is."""

    def write(self, data: bytes) -> bytes:
        """The same."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class Compressor:
    """A result in a content coding; what was written can be read at the other end at once."""

    def __init__(self, coding: str) -> None:
        self._codec = _module(coding).Compressor(_LEVEL[coding])

    def write(self, data: bytes) -> bytes:
        """The compressed bytes so far, flushed."""
        self._codec.compress(data)
        return bytes(self._codec.flush())

    def finish(self) -> bytes:
        """The end of the stream."""
        return bytes(self._codec.finish())


class Decompressor:
    """A request's body out of its content coding; raises ClickHouseError for what isn't in it."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._codec: Any = None
        self._end_seen = True

    def write(self, data: bytes) -> bytes:
        """What these bytes unpack to. A body may be several streams, one behind the other."""
        out = []
        try:
            while data:
                if self._end_seen:
                    self._codec, self._end_seen = _STREAMS[self._coding](), False
                out.append(self._codec.decompress(data))
                self._end_seen = self._codec.eof
                data = self._codec.unused_data or b"" if self._end_seen else b""
        except (zlib.error, zstandard.ZstdError, RuntimeError) as exc:
            raise self._damaged(str(exc)) from exc
        return b"".join(out)

    def finish(self) -> bytes:
        """Nothing; a body that was cut off raises."""
        if not self._end_seen:
            raise self._damaged("it ends in the middle")
        return b""

    def _damaged(self, why: str) -> ClickHouseError:
        message = f"Cannot decompress the body, whose Content-Encoding says {self._coding}: {why}"
        return ClickHouseError(CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", message)


_STREAMS: Final[dict[str, Callable[[], Any]]] = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "deflate": zlib.decompressobj,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "lz4": lz4.frame.LZ4FrameDecompressor,
}


class Chain:
    """One codec behind the other."""

    def __init__(self, first: Codec, second: Codec) -> None:
        self._first = first
        self._second = second

    def write(self, data: bytes) -> bytes:
        """Through both."""
        return self._second.write(self._first.write(data))

    def finish(self) -> bytes:
        """What is left in both."""
        return self._second.write(self._first.finish()) + self._second.finish()


def chosen(accept_encoding: str) -> str:
    """The content coding for a client that accepts these; empty for none.

    >>> chosen("gzip, deflate, br"), chosen("zstd;q=0, gzip;q=0.5"), chosen("identity"), chosen("*")
    ('gzip', 'gzip', '', '')
    """
    accepted = set()
    for item in accept_encoding.lower().split(","):
        name, _, parameters = item.partition(";")
        if parameters.replace(" ", "").rstrip("0.") != "q=":
            accepted.add(name.strip())
    return next((coding for coding in _PREFERRED if coding in accepted), "")


def compressor(coding: str) -> Codec:
    """For results; `coding` is one that `chosen` gave."""
    return Compressor(coding) if coding else Plain()


def decompressor(coding: str) -> Codec:
    """For bodies; raises ClickHouseError for a coding that isn't known."""
    if coding in {"", "identity", "none"}:
        return Plain()
    if coding not in _STREAMS:
        known = ", ".join(_STREAMS)
        raise ClickHouseError(
            NOT_IMPLEMENTED, "NOT_IMPLEMENTED", f"Unknown compression method '{coding}': use one of {known}"
        )
    return Decompressor(coding)


def _module(coding: str) -> Any:
    modules = {
        "gzip": cramjam.gzip,
        "deflate": cramjam.zlib,  # HTTP's deflate is zlib's format
        "br": cramjam.brotli,
        "zstd": cramjam.zstd,
        "lz4": cramjam.lz4,
    }
    return modules[coding]
