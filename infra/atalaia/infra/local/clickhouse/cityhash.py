"""CityHash128 1.0.2 (Pike and Alakuijala, Google): the checksum of ClickHouse's compressed blocks.

ClickHouse stays with this version's function for the sake of its files; later versions give other values. In Python it
does some megabytes a second, which is enough for the compressed results of a dashboard on the same machine.
"""

from __future__ import annotations

import struct
from typing import Final

_K0: Final = 0xC3A5C85C97CB3127
_K1: Final = 0xB492B66FBE98F273
_K2: Final = 0x9AE16A3B2F90404F
_K3: Final = 0xC949D7C7509E6557
_MURMUR: Final = 0x9DDFEA08EB382D69
_64: Final = 0xFFFFFFFFFFFFFFFF

_LONG: Final = 128
_HALF: Final = 64


def cityhash128(data: bytes) -> bytes:
    """The 16 bytes as they stand in front of a block: low word, high word, little endian.

    >>> cityhash128(b"ClickHouse").hex()
    '12b60bc081cc04370214f9bac43ad476'
    """
    size = len(data)
    if size >= 16:  # noqa: PLR2004  (two words)
        low, high = struct.unpack_from("<QQ", data)
        return struct.pack("<QQ", *_seeded(data[16:], low ^ _K3, high))
    if size >= 8:  # noqa: PLR2004  (one word)
        return struct.pack("<QQ", *_seeded(b"", _word(data, 0) ^ (size * _K0 & _64), _word(data, size - 8) ^ _K1))
    return struct.pack("<QQ", *_seeded(data, _K0, _K1))


def _seeded(data: bytes, low: int, high: int) -> tuple[int, int]:
    return _short(data, low, high) if len(data) < _LONG else _long(data, low, high)


def _long(data: bytes, x: int, y: int) -> tuple[int, int]:
    """The hash of 128 bytes or more."""
    size = len(data)
    words = struct.unpack_from(f"<{size // 8}Q", data)
    z = size * _K1 & _64
    v0 = _rotated(y ^ _K1, 49) * _K1 + words[0] & _64
    v1 = _rotated(v0, 42) * _K1 + words[1] & _64
    w0 = _rotated(y + z & _64, 35) * _K1 + x & _64
    w1 = _rotated(x + words[11] & _64, 53) * _K1 & _64
    done = size // _LONG * _LONG
    for at in range(0, done // 8, _HALF // 8):
        a0, a1, a2, a3, b0, b1, b2, b3 = words[at : at + 8]
        x = _rotated(x + y + v0 + a2 & _64, 37) * _K1 & _64 ^ w1
        y = _rotated(y + v1 + b2 & _64, 42) * _K1 & _64 ^ v0
        z = _rotated(z ^ w0, 33)
        v0, v1 = _weak((a0, a1, a2, a3), v1 * _K1 & _64, x + w0 & _64)
        w0, w1 = _weak((b0, b1, b2, b3), z + w1 & _64, y)
        x, z = z, x
    y = y + _rotated(w0, 37) * _K0 + z & _64
    x = x + _rotated(v0 + z & _64, 49) * _K0 & _64
    end = size
    while end > done:  # 32 bytes at a time from the end, the last ones reaching back into what was done
        end -= 32
        y = _rotated(y - x & _64, 42) * _K0 + v1 & _64
        w0 = w0 + _word(data, end + 16) & _64
        x = _rotated(x, 49) * _K0 + w0 & _64
        w0 = w0 + v0 & _64
        v0, v1 = _weak(struct.unpack_from("<4Q", data, end), v0, v1)
    x = _mixed(x, v0)
    y = _mixed(y, w0)
    return _mixed(x + v1 & _64, w1) + y & _64, _mixed(x + w1 & _64, y + v1 & _64)


def _short(data: bytes, a: int, b: int) -> tuple[int, int]:
    """The hash of fewer than 128 bytes."""
    size = len(data)
    if size <= 16:  # noqa: PLR2004  (two words)
        a = _shifted(a * _K1 & _64) * _K1 & _64
        c = b * _K1 + _tiny(data) & _64
        d = _shifted(a + (_word(data, 0) if size >= 8 else c) & _64)  # noqa: PLR2004  (one word)
    else:
        c = _mixed(_word(data, size - 8) + _K1 & _64, a)
        d = _mixed(b + size & _64, c + _word(data, size - 16) & _64)
        a = a + d & _64
        for at in range(0, size - 16, 16):
            low, high = struct.unpack_from("<QQ", data, at)
            a = (a ^ _shifted(low * _K1 & _64) * _K1 & _64) * _K1 & _64
            b ^= a
            c = (c ^ _shifted(high * _K1 & _64) * _K1 & _64) * _K1 & _64
            d ^= c
    a = _mixed(a, c)
    b = _mixed(d, b)
    return a ^ b, _mixed(b, a)


def _tiny(data: bytes) -> int:
    size = len(data)
    if size > 8:  # noqa: PLR2004  (one word)
        first, last = _word(data, 0), _word(data, size - 8)
        return _mixed(first, _rotated(last + size & _64, size)) ^ last
    if size >= 4:  # noqa: PLR2004  (half a word)
        first, last = struct.unpack_from("<I", data)[0], struct.unpack_from("<I", data, size - 4)[0]
        return _mixed(size + (first << 3) & _64, last)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _shifted((y * _K2 & _64) ^ (z * _K3 & _64)) * _K2 & _64
    return _K2


def _weak(words: tuple[int, ...], a: int, b: int) -> tuple[int, int]:
    w, x, y, z = words
    a += w
    b = _rotated(b + a + z & _64, 21)
    total = a + x + y & _64
    return total + z & _64, b + _rotated(total, 44) + a & _64


def _mixed(low: int, high: int) -> int:
    a = _shifted((low ^ high) * _MURMUR & _64)
    return _shifted((high ^ a) * _MURMUR & _64) * _MURMUR & _64


def _shifted(value: int) -> int:
    return value ^ value >> 47


def _rotated(value: int, by: int) -> int:
    return (value >> by | value << 64 - by) & _64


def _word(data: bytes, at: int) -> int:
    word: int = struct.unpack_from("<Q", data, at)[0]
    return word
