"""The vector store `numpy`: in this process, exact, kept in a file for each namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from asahi_kernel import Match, PluginError, Vector
from asahi_semantic.framing import Log, claim
from asahi_semantic.shelf import Shelf, as_floats

if TYPE_CHECKING:
    from asahi_semantic.config import NumpyConfig


class Record(Struct, frozen=True, array_like=True):
    """One line of a namespace's file: a vector that came, or with `vector` empty a key that went."""

    key: str
    vector: bytes = b""
    payload: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class NumpyStore:
    """Namespaces are apart by construction: each has a matrix and a file of its own."""

    def __init__(self, folder: Path | None, indexed_from: int | None = None) -> None:
        self._folder = folder
        self._indexed_from = indexed_from
        self._shelves: dict[str, Shelf] = {}
        self._logs: dict[str, Log] = {}

    def load(self) -> None:
        """Read what a former process left."""
        if self._folder is None:
            return
        for path in sorted(self._folder.glob("*.vectors.*.log")):
            namespace = unquote(path.name.rsplit(".vectors.", 1)[0])
            with suppress(BlockingIOError):
                self._log(namespace)

    async def upsert(self, namespace: str, key: str, vector: Vector, payload: bytes) -> None:
        await self.upsert_many(namespace, [(key, vector, payload)])

    async def upsert_many(self, namespace: str, rows: Sequence[tuple[str, Vector, bytes]]) -> None:
        """All rows in one write to the file."""
        log = self._log(namespace)
        shelf = self._shelves.get(namespace)
        records: list[bytes] = []
        for key, vector, payload in rows:
            floats = as_floats(vector)
            if shelf is None:
                shelf = self._shelves[namespace] = Shelf(len(floats), self._indexed_from)
            if floats.shape != (shelf.dimensions,):
                raise PluginError(f"vectors of this namespace have {shelf.dimensions} numbers, not {len(floats)}")
            shelf.upsert(key, floats, payload)
            if log is not None:
                records.append(_encode(Record(key, floats.tobytes(), payload)))
        if log is not None:
            log.add(records)

    async def nearest(self, namespace: str, vector: Vector, limit: int) -> Sequence[Match]:
        shelf = self._shelves.get(namespace)
        if shelf is None:
            return ()
        floats = as_floats(vector)
        if floats.shape != (shelf.dimensions,):
            raise PluginError(f"vectors of this namespace have {shelf.dimensions} numbers, not {len(floats)}")
        return [Match(shelf.keys[row], score, shelf.payloads[row]) for row, score in shelf.nearest(floats, limit)]

    async def delete(self, namespace: str, keys: Sequence[str] | None = None) -> int:
        log = self._log(namespace) if namespace in self._shelves else None
        shelf = self._shelves.get(namespace)
        if shelf is None:
            return 0
        gone = [key for key in (tuple(shelf.keys) if keys is None else keys) if shelf.delete(key)]
        if log is not None and gone:
            log.add([_encode(Record(key)) for key in gone])
            if log.records > 1_000 and log.records > 2 * len(shelf):
                log.rewrite(_rows(shelf))
        if not len(shelf):
            del self._shelves[namespace]
        return len(gone)

    async def scrub(self) -> None:
        """Take the vectors that were deleted out of the files."""
        for namespace, log in self._logs.items():
            shelf = self._shelves.get(namespace)
            log.rewrite(_rows(shelf) if shelf is not None else ())

    async def count(self, namespace: str) -> int:
        """How many vectors a namespace holds."""
        return len(self._shelves.get(namespace, ()))

    def holds(self, namespace: str, key: str) -> bool:
        """Whether a key is there."""
        self._log(namespace)
        shelf = self._shelves.get(namespace)
        return shelf is not None and key in shelf

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
        self._logs.clear()

    def _log(self, namespace: str) -> Log | None:
        """The namespace's file, opened and read when the namespace is first met."""
        if self._folder is None:
            return None
        if namespace not in self._logs:
            log = self._logs[namespace] = claim(self._folder, f"{quote(namespace, safe='')}.vectors")
            for body in log.read():
                self._replay(namespace, _decode(body))
        return self._logs[namespace]

    def _replay(self, namespace: str, record: Record) -> None:
        import numpy as np

        shelf = self._shelves.get(namespace)
        if record.vector:
            vector = np.frombuffer(record.vector, np.float32)
            if shelf is None or shelf.dimensions != len(vector):
                shelf = self._shelves[namespace] = Shelf(len(vector), self._indexed_from)
            shelf.upsert(record.key, vector, record.payload)
        elif shelf is not None:
            shelf.delete(record.key)


def _rows(shelf: Shelf) -> Iterator[bytes]:
    for row, key in enumerate(shelf.keys):
        yield _encode(Record(key, shelf.vector(row).tobytes(), shelf.payloads[row]))


@asynccontextmanager
async def opened(config: NumpyConfig, folder: Path | None) -> AsyncIterator[NumpyStore]:
    """A store that has read its files, and closes them."""
    from importlib.util import find_spec

    indexed = config.index_from if find_spec("usearch") else None
    store = NumpyStore(folder, indexed)
    store.load()
    try:
        yield store
    finally:
        store.close()
