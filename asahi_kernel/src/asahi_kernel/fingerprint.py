"""The exact cache key: everything that shapes an answer, under the tenant's salt."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from asahi_kernel.types import Request, Terms

SCHEMA = b"asahi-request-1"
_NO_TERMS = Terms()
_encode = msgspec.msgpack.Encoder().encode


class Salts:
    """One salt per org, derived from the gateway's secret: no org can compute or guess another's keys."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._salts: dict[str, bytes] = {}

    def of(self, org: str) -> bytes:
        """The salt of an org, 32 bytes."""
        salt = self._salts.get(org)
        if salt is None:
            salt = self._salts[org] = hmac.digest(self._secret, org.encode(), hashlib.sha256)
        return salt


def fingerprint(request: Request, salt: bytes) -> bytes:
    """HMAC-SHA-256 over the canonical request, 32 bytes.

    The canonical form is MessagePack of every field but `terms`: tagged by field name and length-prefixed, so no bytes
    can move across a field's border, and a new shaping field is in the key on the day it is added.
    """
    return hmac.digest(salt, SCHEMA + _encode(msgspec.structs.replace(request, terms=_NO_TERMS)), hashlib.sha256)
