"""Tokens: what an API key looks like, and what is kept of it.

A key is `ask_<id>_<secret>`: an id of 12 base-62 characters, and a secret of 43 (256 random bits) with a checksum of 6
behind it, so that garbage is dropped without a store. Only the HMAC-SHA-256 of the whole key under a pepper is kept:
the secret is random, so nothing slow is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from msgspec import Struct

from asahi_kernel.errors import ConfigError

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET, _CHECK = 43, 6
_SHAPE = re.compile(r"ask_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
_PEPPER = re.compile(r"v(\d{1,4}):(.{16,})")


class Token(Struct, frozen=True):
    """A whole key, to be shown once, and its public id."""

    key_id: str
    text: str

    def __repr__(self) -> str:
        return f"Token({self.key_id!r}, '…')"


def mint() -> Token:
    """A fresh key."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET))
    return Token(key_id, f"ask_{key_id}_{secret}{_checksum(key_id, secret)}")


def read(text: str) -> str | None:
    """The id of a well-formed key, or None. No store is touched for the others."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    key_id, secret, check = found.groups()
    return key_id if hmac.compare_digest(_checksum(key_id, secret), check) else None


class Peppers:
    """Secrets that the database does not hold, by version. The newest signs; all verify."""

    def __init__(self, peppers: Mapping[int, bytes]) -> None:
        self._peppers = dict(peppers)
        self.newest = max(self._peppers)

    def sign(self, text: str, version: int | None = None) -> str:
        """The HMAC of a whole key, in hexadecimal. An unknown version signs with the newest: the same work."""
        wanted = self.newest if version is None else version
        pepper = self._peppers.get(wanted, self._peppers[self.newest])
        return hmac.digest(pepper, text.encode(), hashlib.sha256).hex()

    def verify(self, text: str, kept: str, version: int) -> bool:
        """Whether what is kept is of this key, in constant time."""
        good = hmac.compare_digest(self.sign(text, version), kept)
        return good and version in self._peppers


def read_peppers(text: str | None, derived: bytes) -> Peppers:
    """`v2:…,v1:…` as in `ASAHI_KEY_PEPPERS`; without it version 0 is derived from the encryption key. That one is kept
    beside configured peppers, so that setting them locks nobody out."""
    peppers = {0: derived}
    for number, each in enumerate((text or "").split(","), 1):
        if not each.strip():
            continue
        found = _PEPPER.fullmatch(each.strip())
        if found is None or int(found[1]) in peppers:
            raise ConfigError(
                f"ASAHI_KEY_PEPPERS: entry {number} must be v<number>:<16 characters or more>, each number once, from 1"
            )
        peppers[int(found[1])] = found[2].encode()
    return Peppers(peppers)


def _checksum(key_id: str, secret: str) -> str:
    value = int.from_bytes(hashlib.sha256(f"{key_id}_{secret}".encode()).digest()[:8], "big")
    letters = []
    for _ in range(_CHECK):
        value, rest = divmod(value, 62)
        letters.append(_ALPHABET[rest])
    return "".join(letters)
