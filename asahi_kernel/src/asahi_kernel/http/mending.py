"""Reads a host's JSON, and mends the one fault in it that must not cost a whole answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import msgspec

from asahi_kernel.http.failures import Garbage

T = TypeVar("T")
#: What decoding a host's JSON may raise.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encode = msgspec.json.Encoder().encode


def read(decode: Callable[[bytes], T], body: bytes) -> T:
    """What `decode` makes of the body, mended if it has to be. Raises `Garbage`."""
    try:
        if not body.isascii():
            body.decode()
        return decode(body)
    except UNREADABLE as error:
        mended = without_nan(body, error)
    try:
        return decode(mended)
    except UNREADABLE as fault:
        raise Garbage(str(fault)) from None


def lines_of(decode: Callable[[bytes], T], body: bytes) -> Iterator[T]:
    """What `decode` makes of each line. One that cannot be read is left out: it must not cost the others."""
    for line in body.split(b"\n"):
        if line.strip():
            with suppress(Garbage):
                yield read(decode, line)


def without_nan(body: bytes, error: Exception) -> bytes:
    """The body with null for NaN and Infinity, which JSON lacks; `Garbage` if that was not what `error` is about."""
    if b"NaN" not in body and b"Infinity" not in body:
        raise Garbage(str(error)) from None
    try:
        return _encode(json.loads(body, parse_constant=lambda name: None))
    except (ValueError, RecursionError) as fault:
        raise Garbage(str(fault)) from None
