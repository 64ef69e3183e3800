"""JSON objects as their members, which stay the bytes they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from msgspec import Raw

Members: TypeAlias = dict[str, Raw]

_encode = msgspec.json.Encoder().encode
members = msgspec.json.Decoder(Members).decode


def join(told: Mapping[str, bytes | Raw], extra: bytes = b"") -> bytes:
    """An object of these members and those of the JSON object `extra`, which win."""
    if extra:
        told = {**told, **members(extra)}
    return b"{" + b",".join(_encode(name) + b":" + value for name, value in told.items()) + b"}"


def packed(told: Members) -> bytes:
    """The members that are not null, as an object; nothing if there are none."""
    left = {name: raw for name, raw in told.items() if bytes(raw) != b"null"}
    return _encode(left) if left else b""
