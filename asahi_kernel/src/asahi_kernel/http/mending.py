"""Mends the one fault in a host's JSON that must not cost a whole answer."""

from __future__ import annotations

import json

import msgspec

from asahi_kernel.http.failures import Garbage

_encode = msgspec.json.Encoder().encode


def without_nan(body: bytes, error: Exception) -> bytes:
    """The body with null for NaN and Infinity, which JSON lacks; `Garbage` if that was not what `error` is about."""
    if b"NaN" not in body and b"Infinity" not in body:
        raise Garbage(str(error)) from None
    try:
        return _encode(json.loads(body, parse_constant=lambda name: None))
    except (ValueError, RecursionError) as fault:
        raise Garbage(str(fault)) from None
