"""Frames: how a record stands in a journal file, so that a torn or flipped one is seen and costs only itself.

A frame is a mark of four bytes, the payload's length and CRC-32C (RFC 3720) over length and payload, both four bytes in
little endian, and the payload.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c

_MARK = b"\xa5AJ1"
_HEAD = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
#: No record is larger; a length beyond it is damage.
_LARGEST = 64 << 20


def frame(payload: bytes) -> bytes:
    """The payload with its head."""
    return _HEAD.pack(_MARK, len(payload), _checksum(payload)) + payload


def scan(data: bytes) -> Iterator[bytes]:
    """Every whole payload, in order. Damage is stepped over to the next mark; the zeros of a preallocated tail are no
    damage."""
    at = data.find(_MARK)
    while at >= 0:
        payload = _payload(data, at)
        if payload is None:
            at = data.find(_MARK, at + 1)
            continue
        yield payload
        at = data.find(_MARK, at + _HEAD.size + len(payload))


def _payload(data: bytes, at: int) -> bytes | None:
    if at + _HEAD.size > len(data):
        return None
    _, length, checksum = _HEAD.unpack_from(data, at)
    if length > _LARGEST:
        return None
    payload = data[at + _HEAD.size : at + _HEAD.size + length]
    return payload if len(payload) == length and _checksum(payload) == checksum else None


def _checksum(payload: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(_LENGTH.pack(len(payload))), payload))
