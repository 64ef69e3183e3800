"""The vector store `numpy`: in this process, exact, kept in a file for each namespace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from asahi_kernel import Match, PluginError, Vector
from asahi_semantic.framing import Log, claim
from asahi_semantic.shelf import Shelf, as_floats
from asahi_semantic.sidecar import Sidecar

if TYPE_CHECKING:
    from asahi_semantic.config import NumpyConfig
    from asahi_semantic.framing import Point
    from asahi_semantic.shelf import Floats
    from asahi_semantic.sidecar import Index, Kept

_log = logging.getLogger(__name__)


class Record(Struct, frozen=True, array_like=True):
    """One line of a namespace's file: a vector that came, or with `vector` empty a key that went."""

    key: str
    vector: bytes = b""
    payload: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
#: Records that are read before others have their turn.
_SLICE = 200
#: So many rows are soon indexed: no need to keep an index for fewer changes.
_FEW = 1_000


class NumpyStore:
    """Namespaces are apart by construction: each has a matrix and a file of its own."""

    def __init__(self, folder: Path | None, indexed_from: int | None = None) -> None:
        self._folder = folder
        self._indexed_from = indexed_from
        self._shelves: dict[str, Shelf] = {}
        self._logs: dict[str, Log] = {}
        self._unread = _namespaces(folder)
        self._reading = ""

    async def load(self) -> None:
        """Read what a former process left, a slice at a time. What is not read yet is read at once when it is asked
        for; one that is being read cannot be."""
        for namespace in sorted(self._unread):
            if namespace not in self._unread:
                continue
            with suppress(BlockingIOError):
                self._reading, log = namespace, self._claim(namespace)
                kept = await asyncio.to_thread(self._kept, log)
                for number, _ in enumerate(self._replayed(namespace, log, kept), 1):
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)
                while (shelf := self._shelves.get(namespace)) is not None and shelf.behind:
                    await asyncio.to_thread(shelf.advance)
            self._reading = ""

    async def upsert(self, namespace: str, key: str, vector: Vector, payload: bytes) -> None:
        await self.upsert_many(namespace, [(key, vector, payload)])

    async def upsert_many(self, namespace: str, rows: Sequence[tuple[str, Vector, bytes]]) -> None:
        """All rows in one write to the file."""
        shelf, log = self._shelf(namespace), self._log(namespace)
        records: list[bytes] = []
        for key, vector, payload in rows:
            floats = as_floats(vector)
            if shelf is None:
                shelf = self._shelves[namespace] = Shelf(len(floats), self._indexed_from)
            _check(shelf, floats)
            shelf.upsert(key, floats, payload)
            if log is not None:
                records.append(_encode(Record(key, floats.tobytes(), payload)))
        if log is not None:
            log.add(records)

    async def nearest(self, namespace: str, vector: Vector, limit: int) -> Sequence[Match]:
        shelf = self._shelf(namespace)
        if shelf is None:
            return ()
        floats = as_floats(vector)
        _check(shelf, floats)
        return [Match(key, score, payload) for key, score, payload in shelf.nearest(floats, limit)]

    async def delete(self, namespace: str, keys: Sequence[str] | None = None) -> int:
        shelf = self._shelf(namespace)
        if shelf is None:
            return 0
        gone = [key for key in (shelf.held() if keys is None else keys) if shelf.delete(key)]
        if gone and (log := self._log(namespace)) is not None:
            log.add([_encode(Record(key)) for key in gone])
        if not len(shelf):
            del self._shelves[namespace]
            if namespace in self._logs:
                Sidecar(self._logs[namespace].path).remove()
        return len(gone)

    async def tidy(self, *, all_of_it: bool = False) -> None:
        """Take what was deleted out of those files of which it is most, or out of every file; and keep each index that
        has changed much."""
        for namespace, log in list(self._logs.items()):
            changed = max(_FEW, len(self._shelves.get(namespace, ())) // 5)
            if all_of_it or log.wasteful(len(self._shelves.get(namespace, ()))):
                Sidecar(log.path).remove()
                await log.compact(self._alive(namespace))
                changed = 0
            if (shelf := self._shelves.get(namespace)) is not None and shelf.unkept >= changed:
                await self._keep_index(namespace, shelf, log)

    async def keep(self, alive: Callable[[str, str], bool]) -> None:
        """Delete every vector of which nobody knows any more."""
        for namespace, shelf in list(self._shelves.items()):
            keys = shelf.held()
            for start in range(0, len(keys), _SLICE):
                if doomed := [key for key in keys[start : start + _SLICE] if not alive(namespace, key)]:
                    await self.delete(namespace, doomed)
                await asyncio.sleep(0)

    async def count(self, namespace: str) -> int:
        """How many vectors a namespace holds."""
        return len(self._shelf(namespace) or ())

    def holds(self, namespace: str, key: str) -> bool:
        """Whether a key is there."""
        shelf = self._shelf(namespace)
        return shelf is not None and key in shelf

    def close(self) -> None:
        """Keeps each index that would take long to make again."""
        for namespace, log in self._logs.items():
            shelf = self._shelves.get(namespace) if namespace != self._reading else None
            if shelf is not None and shelf.unkept >= _FEW and (held := shelf.hold()) is not None:
                _write(log, shelf.dimensions, log.at, *held)
            log.close()
        self._logs.clear()

    async def _keep_index(self, namespace: str, shelf: Shelf, log: Log) -> None:
        if (held := shelf.hold()) is None:
            return
        try:
            await asyncio.to_thread(_write, log, shelf.dimensions, log.at, *held)
        finally:
            shelf.settle()
        if self._shelves.get(namespace) is not shelf:
            Sidecar(log.path).remove()

    def _shelf(self, namespace: str) -> Shelf | None:
        """The namespace as it was left, read when it is first met."""
        if namespace == self._reading:
            raise PluginError("these vectors are being read")
        if namespace in self._unread:
            log = self._claim(namespace)
            for _ in self._replayed(namespace, log, self._kept(log)):
                pass
            if (shelf := self._shelves.get(namespace)) is not None:
                shelf.settle()
        return self._shelves.get(namespace)

    def _log(self, namespace: str) -> Log | None:
        """The namespace's file, begun when there is something to write."""
        if self._folder is None:
            return None
        return self._logs[namespace] if namespace in self._logs else self._claim(namespace)

    def _claim(self, namespace: str) -> Log:
        assert self._folder is not None
        self._unread.discard(namespace)
        log = self._logs[namespace] = claim(self._folder, f"{quote(namespace, safe='')}.vectors")
        return log

    def _kept(self, log: Log) -> tuple[Kept, Index, Shelf] | None:
        """The index that was kept beside a log, and a shelf with its rows, still empty."""
        sidecar = Sidecar(log.path)
        kept = sidecar.read() if self._indexed_from is not None else None
        index = sidecar.load(kept) if kept is not None else None
        if kept is None or index is None:
            return None
        return kept, index, Shelf(kept.dimensions, None, kept.keys)

    def _replayed(self, namespace: str, log: Log, kept: tuple[Kept, Index, Shelf] | None) -> Iterator[None]:
        """Read a namespace, record by record. What changed after its index was kept is left to `Shelf.settle`."""
        if kept is not None:
            self._shelves[namespace] = kept[2]
        for body in log.read():
            self._replay(namespace, _decode(body))
            if kept is not None and log.at == kept[0].at:
                kept[2].adopt(kept[1], len(kept[0].keys))
                kept = None
            yield None
        if kept is not None:
            kept[2].adopt(None, 0)
        shelf = self._shelves.get(namespace)
        if shelf is not None and not len(shelf):
            del self._shelves[namespace]
        elif shelf is not None:
            shelf.indexed_from = self._indexed_from

    def _replay(self, namespace: str, record: Record) -> None:
        """Without an index: that is made of all of them at the end."""
        import numpy as np

        shelf = self._shelves.get(namespace)
        if record.vector:
            vector = np.frombuffer(record.vector, np.float32)
            if shelf is None or shelf.dimensions != len(vector):
                shelf = self._shelves[namespace] = Shelf(len(vector), None)
            shelf.upsert(record.key, vector, record.payload)
        elif shelf is not None:
            shelf.delete(record.key)

    def _alive(self, namespace: str) -> Callable[[bytes], bool]:
        def alive(body: bytes) -> bool:
            record, shelf = _decode(body), self._shelves.get(namespace)
            return bool(record.vector) and shelf is not None and record.key in shelf

        return alive


def _write(log: Log, dimensions: int, at: Point, index: Index, keys: Sequence[str | None]) -> None:
    try:
        Sidecar(log.path).write(index, dimensions, at, keys)
    except (OSError, RuntimeError) as error:
        _log.warning("an index of vectors could not be kept (%s): the next start makes it anew", error)


def _check(shelf: Shelf, floats: Floats) -> None:
    if floats.shape != (shelf.dimensions,):
        raise PluginError(f"vectors of this namespace have {shelf.dimensions} numbers, not {len(floats)}")


def _namespaces(folder: Path | None) -> set[str]:
    """Those that have files there."""
    files = folder.glob("*.vectors.*.log") if folder is not None else ()
    return {unquote(path.name.rsplit(".vectors.", 1)[0]) for path in files}


@asynccontextmanager
async def opened(config: NumpyConfig, folder: Path | None) -> AsyncIterator[NumpyStore]:
    """A store over its files, which it closes."""
    from importlib.util import find_spec

    indexed = config.index_from if find_spec("usearch") else None
    store = NumpyStore(folder, indexed)
    try:
        yield store
    finally:
        store.close()
