"""Signing: Ed25519 (RFC 8032) signatures of what the logs came to, with a key that the database does not hold, and the
file outside the database that they are kept in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import msgspec

from asahi_kernel.errors import ConfigError
from asahi_kernel.keyfile import once

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from asahi_kernel.settings import Settings

T = TypeVar("T")


class SigningKey:
    """A private key, from its seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def sign(self, message: bytes) -> str:
        """The signature in hexadecimal."""
        return self._key.sign(message).hex()


def signing_key(settings: Settings, configured: str | None = None) -> SigningKey:
    """The key of this host: `ASAHI_CHECKPOINT_KEY` (64 hexadecimal digits), else one that is made once."""
    given = settings.encryption.checkpoint_key
    return open_signing_key(Path(settings.encryption.dir), configured or (given.reveal() if given else None))


def open_signing_key(folder: Path, configured: str | None) -> SigningKey:
    """The configured key, else the one in this folder."""
    return SigningKey(seed_of(folder, configured))


def seed_of(folder: Path, configured: str | None) -> bytes:
    """The seed that is configured, else the one in this folder, which is made when it is missing."""
    text = configured
    if text is None:
        text = once(folder / "checkpoint.key", lambda: secrets.token_hex(32).encode()).decode()
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise ConfigError("ASAHI_CHECKPOINT_KEY must be 64 hexadecimal digits, the seed of an Ed25519 key")
    return seed


def whole_lines(lines: Iterable[bytes], kind: type[T]) -> list[T]:
    """The records of such a file, oldest first; a line that a crash tore is left out."""
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=kind))
        except msgspec.DecodeError:
            continue
    return found


def signed_by(public: bytes, message: bytes, signature: str) -> bool:
    """Whether the holder of this key signed just this."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(public: bytes) -> str:
    """A short name for a public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def append(path: Path, line: bytes, known: Callable[[BinaryIO], bool]) -> bool:
    """Add a line to a file that several processes write, durably, unless what is there already says it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if known(file):
            return False
        file.write((b"\n" if _torn(file) else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
        return True


def _torn(file: BinaryIO) -> bool:
    """Whether a crash left the last line without its end."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
