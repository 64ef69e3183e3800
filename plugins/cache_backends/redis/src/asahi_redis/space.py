"""Where things lie in the server: one name space for each org and generation, and how an entry is written."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asahi_kernel.types import Completion
from asahi_redis.orgs import digest

if TYPE_CHECKING:
    from asahi_kernel.vault import Sealer

ID = 26
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_encode = msgspec.msgpack.Encoder().encode


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is sealed. Times are in milliseconds since 1970."""

    entry_id: str
    completion: Completion
    created: int
    expires: int
    user: str | None = None
    query: str = ""
    document_id: str | None = None


_decode = msgspec.msgpack.Decoder(Entry).decode


class Space(Struct, frozen=True):
    """The keys of one org in one generation."""

    prefix: str
    org: str
    generation: str

    @property
    def root(self) -> str:
        return f"{self.prefix}:t1:{digest(self.org)}.{self.generation}"

    @property
    def index(self) -> str:
        """A sorted set of entry id and key together, all of one score: in the order of their ids, which is that of
        their making."""
        return f"{self.root}:index"

    @property
    def sizes(self) -> tuple[str, str, str]:
        """Keys by last use, keys by end, and bytes by key, see `scripts`."""
        return f"{self.root}:used", f"{self.root}:ends", f"{self.root}:sizes"

    def entry(self, name: str) -> str:
        return f"{self.root}:{name}"

    def hits(self, name: str) -> str:
        return f"{self.root}:{name}:n"

    def claim(self, name: str) -> str:
        return f"{self.root}:{name}:r"


def generation_key(prefix: str, org: str) -> str:
    """Where the number of an org's generation is."""
    return f"{prefix}:t1:{digest(org)}"


def of_org(prefix: str, org: str) -> str:
    """A pattern for all keys of an org but its generation."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", generation_key(prefix, org)) + ".*"


def seal(key: Sealer, org: str, name: str, entry: Entry) -> bytes:
    """The entry's id, open, and the entry, sealed for this org and key."""
    return entry.entry_id.encode() + key.seal(org, "cache", "t1", name, _encode(entry))


def sealed(blob: bytes) -> bytes:
    """What is sealed of it."""
    return blob[ID:]


def unseal(key: Sealer, org: str, name: str, blob: bytes) -> Entry:
    """The entry; raises `Unsealable`, or `DecodeError` for one of another version."""
    return _decode(key.unseal(org, "cache", "t1", name, sealed(blob)))


def oldest(seconds: float) -> str:
    """The least id that an entry made so many seconds ago may have."""
    milliseconds = max(0, int((time.time() - seconds) * 1e3))
    return "".join(_ALPHABET[milliseconds >> shift & 31] for shift in range(45, -1, -5))


def split(members: Sequence[bytes]) -> list[tuple[str, str]]:
    """Members of the index as entry id and key."""
    return [(member[:ID].decode(), member[ID:].decode()) for member in members]
