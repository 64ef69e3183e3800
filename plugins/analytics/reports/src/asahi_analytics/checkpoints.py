"""Checkpoints: signed statements of how far every chain of the savings ledger had come, kept outside the database.

A chain alone cannot show that its end was cut off, or that all of it was computed anew. A checkpoint can: it names each
org's last entry, and it is signed with Ed25519 (RFC 8032) by a key that the database does not hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from asahi_kernel import clock
from asahi_kernel.ledger import Head
from asahi_kernel.signing import SigningKey, key_id, seed_of, signed_by, whole_lines

FILE = "savings-checkpoints.jsonl"


class Checkpoint(Struct, frozen=True, kw_only=True):
    """`heads` by org, `size` the entries of all chains together, `root` the SHA-256 of the heads. `key_id` is the start
    of the public key's SHA-256; `signature` is over the JSON of everything else, keys sorted."""

    log: str = "savings"
    size: int
    root: str
    heads: Mapping[str, Head]
    signed_at: datetime
    key_id: str
    signature: str = ""


class Signer:
    """Signs checkpoints with a private key of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public = self._key.public

    def sign(self, heads: Mapping[str, Head], now: datetime | None = None) -> Checkpoint:
        """A checkpoint of these heads."""
        checkpoint = Checkpoint(
            size=sum(head.seq for head in heads.values()),
            root=root_of(heads),
            heads=dict(sorted(heads.items())),
            signed_at=now or clock.now(),
            key_id=self._key.key_id,
        )
        return msgspec.structs.replace(checkpoint, signature=self._key.sign(_message(checkpoint)))


def open_signer(folder: Path, configured: str | None) -> Signer:
    """The signer of this host; see `asahi_kernel.signing`."""
    return Signer(seed_of(folder, configured))


def genuine(checkpoint: Checkpoint, public: bytes) -> bool:
    """Whether the holder of this key signed just this."""
    size = sum(head.seq for head in checkpoint.heads.values())
    if checkpoint.key_id != key_id(public) or checkpoint.root != root_of(checkpoint.heads) or checkpoint.size != size:
        return False
    return signed_by(public, _message(checkpoint), checkpoint.signature)


def root_of(heads: Mapping[str, Head]) -> str:
    """SHA-256 over all heads."""
    return hashlib.sha256(msgspec.json.encode(dict(heads), order="sorted")).hexdigest()


def read(lines: Iterable[bytes]) -> list[Checkpoint]:
    """The checkpoints of a file, oldest first; a line that a crash tore is left out."""
    return whole_lines(lines, Checkpoint)


def _message(checkpoint: Checkpoint) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(checkpoint, signature=""), order="sorted")
