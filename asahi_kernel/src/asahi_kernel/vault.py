"""The vault: seals what must not lie open in storage, with AES-256-GCM under keys from the environment or a local file.

A sealed value is bound to its place (table, column, org, row), so it cannot be moved to another. Its form: one byte of
version, the length of the key id, the key id, a 12-byte random nonce, and the ciphertext with its tag.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asahi_kernel.errors import AsahiError, ConfigError
from asahi_kernel.keyfile import once
from asahi_kernel.secrecy import weakness

if TYPE_CHECKING:
    from asahi_kernel.settings import Encryption

_VERSION = 1
NONCE = 12
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,16}")
#: OWASP's figure for PBKDF2-HMAC-SHA256 when 10.9 of the product was written.
_ROUNDS = 480_000


class Unsealable(AsahiError):
    """A sealed value was changed, moved, or sealed under a key that is not configured."""

    code = "internal"


class Sealer(Protocol):
    """What seals values for their places, and opens them there."""

    def seal(self, org: str, table: str, column: str, row: str, value: bytes) -> bytes: ...
    def unseal(self, org: str, table: str, column: str, row: str, blob: bytes) -> bytes: ...


class Vault:
    """`keys` by id, the first of which seals; all open. `configured` is false for a key that this host made itself."""

    def __init__(self, keys: Mapping[str, bytes], *, configured: bool = True) -> None:
        self._keys = dict(keys)
        self._first = next(iter(self._keys))
        self._root = self._keys[self._first]
        self.configured = configured

    @property
    def key_id(self) -> str:
        """The key that seals."""
        return self._first

    @property
    def root(self) -> bytes:
        """What other secrets are derived from. It stays when the key that seals is exchanged."""
        return self._root

    def take_root(self, root: bytes) -> None:
        """Derive from this from now on."""
        self._root = root

    def marks(self) -> list[bytes]:
        """How a value begins that was sealed under each key, the one that seals first."""
        return [bytes((_VERSION, len(name))) + name.encode() for name in self._keys]

    def seal(self, org: str, table: str, column: str, row: str, value: bytes) -> bytes:
        """The value, sealed for one place."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(NONCE)
        name = self._first.encode()
        sealed = AESGCM(self._keys[self._first]).encrypt(nonce, value, place(table, column, org, row))
        return bytes((_VERSION, len(name))) + name + nonce + sealed

    def unseal(self, org: str, table: str, column: str, row: str, blob: bytes) -> bytes:
        """The value that was sealed for this place; raises `Unsealable`."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        size = blob[1] if len(blob) > 1 else 0
        name, rest = blob[2 : 2 + size], blob[2 + size :]
        key = self._keys.get(name.decode("ascii", "replace")) if blob[:1] == bytes((_VERSION,)) else None
        if key is None:
            raise Unsealable("a stored value is sealed under a key that is not configured")
        try:
            return AESGCM(key).decrypt(rest[:NONCE], rest[NONCE:], place(table, column, org, row))
        except (InvalidTag, ValueError):
            raise Unsealable("a stored value was changed, or stands in another place than it was sealed for") from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose, such as cache keys: an HMAC-SHA-256 under the root."""
        return hmac.digest(self._root, b"asahi " + purpose.encode(), hashlib.sha256)


def ephemeral() -> Vault:
    """A vault for values that end with this process."""
    return Vault({"memory": secrets.token_bytes(32)}, configured=False)


def open_vault(settings: Encryption) -> Vault:
    """The vault of these settings. Without a key a random one is made once, in a file that only its owner reads."""
    folder = Path(settings.dir)
    if settings.keys is not None:
        return Vault(_listed(settings.keys.reveal(), folder))
    if settings.key is not None:
        return Vault({"main": _stretched(settings.key.reveal(), folder)})
    made = once(folder / "encryption.key", lambda: secrets.token_hex(32).encode())
    return Vault({"local": bytes.fromhex(made.decode())}, configured=False)


def _listed(text: str, folder: Path) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, each in enumerate(text.split(","), 1):
        name, colon, value = each.strip().partition(":")
        if not colon or not _KEY_ID.fullmatch(name) or name in keys:
            raise ConfigError(
                f"ASAHI_ENCRYPTION_KEYS: entry {number} must be id:key, with its own id of 1-16 letters and digits"
            )
        keys[name] = _stretched(value, folder)
    return keys


def _stretched(text: str, folder: Path) -> bytes:
    """64 hexadecimal digits are the key itself; a passphrase is stretched with PBKDF2-SHA-256 over a stored salt."""
    if told := weakness(text, 16, 2):
        raise ConfigError(
            f"the encryption key {told}: use 64 hexadecimal digits, as "
            '`python -c "import secrets; print(secrets.token_hex(32))"` makes them'
        )
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    salt = once(folder / "encryption.salt", lambda: secrets.token_bytes(16).hex().encode())
    return hashlib.pbkdf2_hmac("sha256", text.encode(), bytes.fromhex(salt.decode()), _ROUNDS)


def place(*names: str) -> bytes:
    """The associated data: length-prefixed, so that no bytes can move across a border."""
    parts = [name.encode() for name in names]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
