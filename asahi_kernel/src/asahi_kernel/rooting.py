"""Rooting: the secret that others are derived from is kept in storage, wrapped by the encryption key, so that this key
can be exchanged without a new pepper or cache salt. And a store that was sealed under other keys stops the start."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from asahi_kernel import clock
from asahi_kernel.errors import ConfigError
from asahi_kernel.keyring import unwrapped, wrapped
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.work import DataKey
from asahi_kernel.vault import Unsealable, Vault

if TYPE_CHECKING:
    from asahi_kernel.protocols import Storage
    from asahi_kernel.settings import Encryption

log = logging.getLogger(__name__)

ROOT = "asahi root"
_COPY = "root.sealed"


class Renewed(Struct, frozen=True, kw_only=True):
    """How many values a rotation sealed anew, and how many are still under another key."""

    rewrapped: int
    resealed: int
    left: int


class Seals(Protocol):
    """The sealed values of a storage. `mark` and `marks` are how values begin that the vault's keys sealed."""

    async def renew(self, mark: bytes) -> int:
        """Seal anew what is neither under that key nor under that of its subject; how many. Whoever writes meanwhile is
        not overwritten."""

    async def strange(self, marks: Sequence[bytes], most: int | None = None) -> Mapping[str, int]:
        """How many values, or keys of subjects, of which table are under none of these keys; with `most`, among so many
        of the oldest and newest of each table."""


@runtime_checkable
class Sealing(Protocol):
    """A storage that can tell under which keys its values are."""

    @property
    def seals(self) -> Seals: ...


async def establish(vault: Vault, storage: Storage, settings: Encryption) -> None:
    """Take the root of this store, or make one of the present key. While storage is away a copy beside the keys stands
    in. Raises `ConfigError` for a store that was sealed under a key which is not configured."""
    if storage.name == "memory" or not isinstance(storage, Governing):
        return
    copy = Path(settings.dir) / _COPY
    try:
        found = await _root_of(vault, storage)
        strange = await storage.seals.strange(vault.marks(), _SAMPLE) if isinstance(storage, Sealing) else {}
    except Unsealable:
        raise ConfigError(
            "encryption: this store was sealed under another key than those that are configured. On a second host "
            "take over the key of the first, as ASAHI_ENCRYPTION_KEY or its folder encryption.dir; after a rotation "
            "list the old key behind the new one in ASAHI_ENCRYPTION_KEYS until `asahi keys rotate-encryption` "
            "reports 0 left"
        ) from None
    except Exception as error:  # noqa: BLE001 - a storage that is away does not stop the start
        log.warning("the root of the keys cannot be looked up yet (%s)", type(error).__name__)
        _take_copy(vault, copy)
        return
    if strange:
        told = ", ".join(f"{count} in {table}" for table, count in sorted(strange.items()))
        raise ConfigError(
            f"encryption: values are sealed under a key that is not configured ({told}): list it behind the present "
            "one in ASAHI_ENCRYPTION_KEYS, and run `asahi keys rotate-encryption` before it is removed"
        )
    vault.take_root(found)
    _keep_copy(vault, copy)


async def rotate(vault: Vault, storage: Storage) -> Renewed:
    """Have everything under the key that seals now. May run while others serve, and again."""
    rewrapped = resealed = left = 0
    if isinstance(storage, Governing):
        keys = storage.repositories.data_keys
        async for key in keys.wrapped_by_others(vault.key_id):
            rewrapped += await keys.rewrap(key, wrapped(vault, key, unwrapped(vault, key)), vault.key_id)
    if isinstance(storage, Sealing):
        mark = vault.marks()[0]
        resealed = await storage.seals.renew(mark)
        left = sum((await storage.seals.strange([mark])).values())
    return Renewed(rewrapped=rewrapped, resealed=resealed, left=left)


_SAMPLE = 1_000


async def _root_of(vault: Vault, storage: Governing) -> bytes:
    keys = storage.repositories.data_keys
    found = await keys.get("", ROOT)
    if found is None:
        made = DataKey(subject=ROOT, org_id="", key_version=1, kek_id=vault.key_id, created_at=clock.now())
        await keys.save(replace(made, wrapped_key=wrapped(vault, made, vault.root)))
        found = await keys.get("", ROOT)
    assert found is not None
    return unwrapped(vault, found)


def _take_copy(vault: Vault, copy: Path) -> None:
    try:
        vault.take_root(vault.unseal("", "data_keys", "wrapped_key", ROOT, copy.read_bytes()))
    except (OSError, Unsealable):
        log.warning("there is no copy of it: the present key stands in")


def _keep_copy(vault: Vault, copy: Path) -> None:
    try:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = copy.with_suffix(f".{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(vault.seal("", "data_keys", "wrapped_key", ROOT, vault.root))
        draft.replace(copy)
    except OSError as error:
        log.warning("no copy of the root could be kept (%s)", error.strerror)
