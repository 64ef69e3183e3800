"""The sidecar: the index of a namespace, kept beside its log, so that a start need not make it anew."""

from __future__ import annotations

import os
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from asahi_semantic.framing import Point

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1 << 20
#: Bytes of the checksum with which `.rows` begins.
_SUM = 4


class Index(Protocol):
    """Approximate search, in the shape that usearch has it."""

    @property
    def ndim(self) -> int: ...
    def __len__(self) -> int: ...
    def add(self, keys: Any, vectors: Any, *, threads: int) -> Any: ...
    def search(self, vectors: Any, count: int, *, threads: int) -> Any: ...
    def remove(self, keys: Any) -> Any: ...
    def save(self, path: Any) -> Any: ...
    def load(self, path: Any) -> Any: ...


class Kept(Struct, frozen=True, array_like=True):
    """What an index was when it was kept: at which point of the log, and the key of each of its rows."""

    library: str
    dimensions: int
    at: Point
    checksum: int
    keys: tuple[str | None, ...]


class Sidecar:
    """Two files beside a log: `.rows` says what `.index` is, and to which point of the log it belongs. What does not
    match, or cannot be read, counts as not there."""

    def __init__(self, log: Path) -> None:
        self._rows = log.with_suffix(".rows")
        self._index = log.with_suffix(".index")
        self._drafts = log.with_suffix(".rows-draft"), log.with_suffix(".index-draft")

    def read(self) -> Kept | None:
        """What is said to be kept."""
        try:
            raw = self._rows.read_bytes()
            kept = msgspec.msgpack.decode(raw[_SUM:], type=Kept)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return kept if raw[:_SUM] == _sum(raw[_SUM:]) and kept.library == _library() else None

    def load(self, kept: Kept) -> Index | None:
        """The index itself. A file is looked through first: the library trusts every byte of it."""
        try:
            if _checksum(self._index) != kept.checksum:
                return None
            index = new_index(kept.dimensions)
            index.load(str(self._index))
        except (OSError, RuntimeError):
            return None
        whole = len(index) == sum(key is not None for key in kept.keys)
        return index if whole and index.ndim == kept.dimensions else None

    def write(self, index: Index, dimensions: int, at: Point, keys: Sequence[str | None]) -> None:
        """Keep it, whole or not at all. Nobody may change the index meanwhile; searching goes on."""
        rows, draft = self._drafts
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        index.save(str(draft))
        kept = Kept(_library(), dimensions, at, _checksum(draft), tuple(keys))
        draft.replace(self._index)
        with os.fdopen(os.open(rows, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            raw = msgspec.msgpack.encode(kept)
            file.write(_sum(raw) + raw)
        rows.replace(self._rows)

    def remove(self) -> None:
        """Forget what was kept, and what a process that died was writing."""
        for path in (self._rows, self._index, *self._drafts):
            path.unlink(missing_ok=True)


def new_index(dimensions: int) -> Index:
    """An empty one, of eight bits for each number."""
    from usearch.index import Index as Usearch

    index: Index = Usearch(ndim=dimensions, metric="cos", dtype="i8")
    return index


def _library() -> str:
    return version("usearch")


def _sum(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(_SUM, "big")


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            found = zlib.crc32(piece, found)
    return found
