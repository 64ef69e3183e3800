"""The keyring: a key of its own for each subject, an org or one of its users. Whoever destroys it, as an erasure does,
has destroyed what it sealed, wherever a copy of that lies.

Keys are 32 random bytes, kept wrapped by the vault in the table `data_keys`, and open only in the memory of a process
that uses them. What they seal has this form: one byte of version, the 12-byte name of the key, a 12-byte random nonce,
and the ciphertext with its tag.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec.structs import replace

from asahi_kernel import clock
from asahi_kernel.believing import Believed
from asahi_kernel.errors import Unavailable
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.work import DataKey, DataKeys
from asahi_kernel.vault import NONCE, Unsealable, place

if TYPE_CHECKING:
    from asahi_kernel.protocols import Storage
    from asahi_kernel.vault import Sealer, Vault

#: How a value begins that a key of a subject has sealed; that of a vault begins with another byte.
MARK = b"\x02"
_NAME = 12
_HEAD = len(MARK) + _NAME
#: A key is looked up again so often, beside the requests: the other half of the promise that no worker goes on with a
#: key that is destroyed.
_FRESH_S = 120.0
#: Keys of so many subjects are held open, each by its subject and by its name; one takes 3 kB.
_MOST = 2 * 5_000
#: A cache does not wait longer for a key, and nobody asks a storage that has just failed.
_SOON_S, _REST_S = 0.25, 1.0
#: Others may be quicker this many times.
_TRIES = 5


_Gone: TypeAlias = Literal["destroyed", "unknown"]


class Erased(Unsealable):
    """The key that sealed this was destroyed with its subject's data."""


class SubjectKey:
    """A data key, open. It seals as a vault does, bound to the same places."""

    __slots__ = ("_cipher", "_head", "name")

    def __init__(self, name: str, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.name = name
        self._head = MARK + bytes.fromhex(name)
        self._cipher = AESGCM(key)

    def seal(self, org: str, table: str, column: str, row: str, value: bytes) -> bytes:
        """The value, sealed for one place."""
        nonce = os.urandom(NONCE)
        return self._head + nonce + self._cipher.encrypt(nonce, value, place(table, column, org, row))

    def unseal(self, org: str, table: str, column: str, row: str, blob: bytes) -> bytes:
        """The value that was sealed for this place; raises `Unsealable`."""
        from cryptography.exceptions import InvalidTag

        nonce, sealed = blob[_HEAD : _HEAD + NONCE], blob[_HEAD + NONCE :]
        try:
            return self._cipher.decrypt(nonce, sealed, place(table, column, org, row))
        except (InvalidTag, ValueError):
            raise Unsealable("a stored value was changed, or stands in another place than it was sealed for") from None


class Keyring:
    """Without `keys`, where no storage keeps them, the vault itself seals. `within` is for whoever is in a transaction:
    the keys as it sees them, of which nothing is remembered, since it may be undone."""

    def __init__(
        self,
        vault: Vault,
        keys: DataKeys | None = None,
        faults: Counter[str] | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.vault = vault
        self._keys = keys
        counted = faults if faults is not None else Counter[str]()
        self._known: Believed[SubjectKey | _Gone] = Believed(
            self._look, "the key of this data", counted, "data_keys.storage", monotonic, fresh_s=_FRESH_S, most=_MOST
        )
        self._clock = monotonic
        self._resting_until = 0.0
        self._epoch = 0

    async def sealing(self, org: str, subject: str, within: DataKeys | None = None) -> Sealer:
        """What seals for a subject of that org: its key, made if there is none. Raises `Unavailable` when that is not
        known here and storage is away."""
        if self._keys is None:
            return self.vault
        at = _at(org, subject)
        found = self._known.fresh(at)
        if found is None:
            found = await (self._known.of(at) if within is None else self._of_subject(within, org, subject))
        assert isinstance(found, SubjectKey)
        return found

    async def opening(self, org: str, blob: bytes, within: DataKeys | None = None) -> Sealer:
        """What opens a value of that org. Raises `Erased` for one whose key is destroyed, `Unsealable` where the org
        has no such key, and `Unavailable` when it is not known here and storage is away."""
        if blob[:1] != MARK:
            return self.vault
        if len(blob) < _HEAD or self._keys is None:
            raise Unsealable("a stored value names no key that is kept here")
        name = blob[1:_HEAD].hex()
        at = _at(org, _NAMED + name)
        found = self._known.fresh(at)
        if found is None:
            found = await (self._known.of(at) if within is None else self._of_name(within, org, name))
        if isinstance(found, SubjectKey):
            return found
        if found == "destroyed":
            raise Erased("the key of a stored value was destroyed when its subject was erased")
        raise Unsealable("a stored value is sealed under a key that is not its organisation's")

    def expect(self, org: str, subject: str) -> None:
        """Its key will be needed: it is looked up, or made, meanwhile."""
        if self._keys is not None:
            self._known.known(_at(org, subject))

    async def sealing_soon(self, org: str, subject: str) -> Sealer | None:
        """The same for a cache, which can do without: None unless the key is known, or found out soon."""
        if self._keys is None:
            return self.vault
        found = self._known.fresh(_at(org, subject))
        return found if isinstance(found, SubjectKey) else await _soon(self.sealing(org, subject))

    async def opening_soon(self, org: str, blob: bytes) -> Sealer | None:
        """The same for a cache. None also for what nobody can open any more."""
        if blob[:1] != MARK:
            return self.vault
        found = self._known.fresh(_at(org, _NAMED + blob[1:_HEAD].hex()))
        return found if isinstance(found, SubjectKey) else await _soon(self.opening(org, blob))

    def forget(self, org: str | None = None) -> None:
        """Keys of that org, or all, are looked up again before they are used."""
        self._epoch += 1
        start = "" if org is None else _at(org, "")
        self._known.forget_those(lambda at: at.startswith(start))

    async def _look(self, at: str) -> SubjectKey | _Gone:
        if self._clock() < self._resting_until:
            raise Unavailable("storage has just failed", code="storage_unavailable", retry_after=1)
        try:
            return await self._found(*at.split(_BETWEEN, 1))
        except Unsealable:
            raise
        except BaseException:
            self._resting_until = self._clock() + _REST_S
            raise

    async def _found(self, org: str, what: str) -> SubjectKey | _Gone:
        assert self._keys is not None
        if what.startswith(_NAMED):
            return await self._of_name(self._keys, org, what.removeprefix(_NAMED))
        epoch = self._epoch
        found = await self._of_subject(self._keys, org, what)
        if epoch == self._epoch:
            self._known.learn(_at(org, _NAMED + found.name), found)
        return found

    async def _of_name(self, keys: DataKeys, org: str, name: str) -> SubjectKey | _Gone:
        found = await keys.named(org, name)
        if found is None:
            return "unknown"
        return "destroyed" if found.wrapped_key is None else self._opened(found)

    async def _of_subject(self, keys: DataKeys, org: str, subject: str) -> SubjectKey:
        """Of several workers that make one at once, one is the first, and all read its."""
        for _ in range(_TRIES):
            found = await keys.get(org, subject)
            if found is not None and found.wrapped_key is not None:
                return self._opened(found)
            await keys.save(self._made(org, subject, found.key_version + 1 if found is not None else 1))
        raise Unavailable("the key of this data cannot be made", code="storage_unavailable", retry_after=1)

    def _made(self, org: str, subject: str, version: int) -> DataKey:
        key = DataKey(
            subject=subject,
            org_id=org,
            key_version=version,
            kek_id=self.vault.key_id,
            created_at=clock.now(),
            key_name=secrets.token_hex(_NAME),
        )
        return replace(key, wrapped_key=wrapped(self.vault, key, secrets.token_bytes(32)))

    def _opened(self, key: DataKey) -> SubjectKey:
        return SubjectKey(key.key_name, unwrapped(self.vault, key))


@runtime_checkable
class Keyed(Protocol):
    """A storage that seals its own rows under the keys of their subjects."""

    @property
    def keyring(self) -> Keyring: ...


def keyring_of(storage: Storage, vault: Vault, faults: Counter[str]) -> Keyring:
    """The one of the storage, or one over it. What ends with the process keeps no keys, and needs none."""
    if isinstance(storage, Keyed):
        return storage.keyring
    if isinstance(storage, Governing) and storage.name != "memory":
        return Keyring(vault, storage.repositories.data_keys, faults)
    return Keyring(vault)


def wrapped(vault: Vault, key: DataKey, plain: bytes) -> bytes:
    """A data key as it is kept, bound to its row."""
    return vault.seal(key.org_id, "data_keys", "wrapped_key", _row(key), plain)


def unwrapped(vault: Vault, key: DataKey) -> bytes:
    """The data key itself; raises `Unsealable`."""
    return vault.unseal(key.org_id, "data_keys", "wrapped_key", _row(key), key.wrapped_key or b"")


async def _soon(work: Awaitable[Sealer]) -> Sealer | None:
    try:
        async with asyncio.timeout(_SOON_S):
            return await work
    except (Unavailable, Unsealable, TimeoutError):
        return None


#: Between the org and what it is of; before the name of a key, which no subject begins with.
_BETWEEN, _NAMED = "\n", "#"


def _at(org: str, what: str) -> str:
    return f"{org}{_BETWEEN}{what}"


def _row(key: DataKey) -> str:
    """The gateway's own has no name, and is bound as it was before others had one."""
    return f"{key.subject}:{key.key_name}" if key.key_name else key.subject
