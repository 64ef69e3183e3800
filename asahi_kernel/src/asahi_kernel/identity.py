"""Request ids: 26-character ULIDs made by the server, sortable by time, never taken from outside."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def new_id() -> str:
    """A fresh ULID (github.com/ulid/spec): 48 bits of milliseconds, 80 random bits, Crockford's base 32."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def is_id(text: str) -> bool:
    """Whether a text has the shape of an id made here."""
    return len(text) == 26 and text[0] in "01234567" and all(letter in _ALPHABET for letter in text)
