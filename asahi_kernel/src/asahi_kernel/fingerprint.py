"""The exact cache key: everything that shapes an answer, under the tenant's salt."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from asahi_kernel.types import Model, Request, Terms

SCHEMA = b"asahi-request-1"
EMBEDDING_SCHEMA = "asahi-embedding-1"
_NO_TERMS = Terms()
_encode = msgspec.msgpack.Encoder().encode


class Salt:
    """A tenant's salt, kept as the two SHA-256 states that HMAC (RFC 2104) starts from: half the work per request."""

    def __init__(self, salt: bytes) -> None:
        block = salt.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + SCHEMA)
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, message: bytes) -> bytes:
        """HMAC-SHA-256 of the schema's name and the message, 32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class Salts:
    """One salt per org, derived from the gateway's secret: no org can compute or guess another's keys."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._salts: dict[str, Salt] = {}

    def of(self, org: str) -> Salt:
        """The salt of an org."""
        salt = self._salts.get(org)
        if salt is None:
            salt = self._salts[org] = Salt(hmac.digest(self._secret, org.encode(), hashlib.sha256))
        return salt


def fingerprint_text(model: Model, dimensions: int | None, text: str, salt: Salt) -> bytes:
    """HMAC-SHA-256 over one text to embed and what makes its vector: the model, by both its names, and the length.

    A list of tagged, length-prefixed values: no request, which is a map, has the same canonical form.
    """
    return salt.sign(_encode([EMBEDDING_SCHEMA, model.name, model.provider, model.api_model, dimensions, text]))


def fingerprint(request: Request, salt: Salt) -> bytes:
    """HMAC-SHA-256 over the canonical request, 32 bytes.

    The canonical form is MessagePack of every field but `terms`: tagged by field name and length-prefixed, so no bytes
    can move across a field's border, and a new shaping field is in the key on the day it is added.
    """
    return salt.sign(_encode(msgspec.structs.replace(request, terms=_NO_TERMS)))
