"""Sealing: an entry as bytes that only its own org's place in this deployment can open again, and nobody once the user
who asked is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asahi_kernel import Completion
from asahi_kernel.repositories.subjects import subject_of
from asahi_semantic.entries import Entry, Record
from asahi_semantic.facts import find, pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from asahi_kernel.keyring import Keyring
    from asahi_kernel.vault import Sealer

TABLE, COLUMN = "semantic_entries", "entry"


class Body(Struct, frozen=True, array_like=True):
    """An entry as it is sealed: its facts are found anew, since another version may see others."""

    user: str | None
    namespace: str
    frame: bytes
    alias: bytes
    text: str
    task: str
    answer: str
    completion: Completion
    created: float
    expires: float
    context: str = ""


_encode = msgspec.msgpack.Encoder().encode
_open = msgspec.msgpack.Decoder(Body).decode


async def key_of(keyring: Keyring, entry: Entry) -> Sealer | None:
    """The key of the user who asked; None while it is not to be had."""
    return await keyring.sealing_soon(entry.org, subject_of(entry.org, entry.user))


def seal(key: Sealer, entry: Entry) -> bytes:
    """The entry, bound to its org and id."""
    body = Body(**{name: getattr(entry, name) for name in Body.__struct_fields__})
    return key.seal(entry.org, TABLE, COLUMN, entry.entry_id, _encode(body))


def unseal(key: Sealer, org: str, entry_id: str, blob: bytes, record: Callable[[str], Record]) -> Entry:
    """The entry; `record` gives what is known of an answer. Raises for what was sealed for another org or id, under
    another key, or by another version."""
    body = _open(key.unseal(org, TABLE, COLUMN, entry_id, blob))
    return Entry(
        entry_id=entry_id,
        org=org,
        packed=pack(find(body.text)),
        record=record(body.answer),
        **{name: getattr(body, name) for name in Body.__struct_fields__},
    )
