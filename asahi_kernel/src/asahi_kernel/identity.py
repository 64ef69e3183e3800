"""Request ids: 26-character ULIDs made by the server, sortable by time, never taken from outside."""

from __future__ import annotations

import hashlib
import os
import random
from datetime import datetime

from asahi_kernel import clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHIFTS = tuple(range(120, -1, -10))
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


#: Seeded by the system in every process. Ids must be unique, not secret: whoever asks for one is checked anyway.
_random_bits = random.Random(os.urandom(32)).getrandbits


def new_id() -> str:
    """A fresh ULID (github.com/ulid/spec): 48 bits of milliseconds, 80 random bits, Crockford's base 32."""
    value = int(clock.timestamp() * 1_000) << 80 | _random_bits(80)
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def first_id(moment: datetime) -> str:
    """The lowest id of that millisecond: whatever came before sorts below it."""
    value = round(moment.timestamp() * 1_000) << 80
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def fixed_id(moment: datetime, of: str) -> str:
    """The id of that millisecond for something named so: whoever makes it makes the same."""
    value = round(moment.timestamp() * 1_000) << 80 | int.from_bytes(hashlib.sha256(of.encode()).digest()[:10], "big")
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def is_id(text: str) -> bool:
    """Whether a text has the shape of an id made here."""
    return len(text) == 26 and text[0] in "01234567" and all(letter in _ALPHABET for letter in text)
