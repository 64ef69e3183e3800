"""The vectors of one namespace: exact search over blocks of rows, and an index once there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asahi_semantic.sidecar import new_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from asahi_semantic.sidecar import Index

    Floats = NDArray[np.float32]

#: Rows of a block: growing takes one more and copies nothing.
_BLOCK = 4_096
#: Rows that the index takes in with each change or search while it is behind, so that nobody waits for all of it.
_AT_ONCE = 8
#: Rows that the index takes in at a time where nobody waits.
_MANY = 1_000
#: What is asked of the index for each neighbour that is wanted: its eight bits misplace some.
_SPARE = 2


class Shelf:
    """Rows by key. A deleted row is free for the next key. The index holds the rows below `_indexed` in eight bits, and
    what it finds is scored anew with the whole vectors; the rows above are searched exactly. While the index must not
    be touched, `_late` holds the rows of it that changed.

    With `places`, the keys of rows that another process had, each of these keys comes to its own row; end with `adopt`.
    """

    def __init__(self, dimensions: int, indexed_from: int | None, places: Sequence[str | None] = ()) -> None:
        self._blocks: list[Floats] = []
        self._used: list[NDArray[np.bool_]] = []
        self._rows: dict[str, int] = {}
        self._keys: list[str | None] = []
        self._payloads: list[bytes] = []
        self._free: list[int] = []
        self.indexed_from = indexed_from
        self._index: Index | None = None
        self._indexed = 0
        self._late: set[int] | None = None
        self._places = {key: row for row, key in enumerate(places) if key is not None}
        self.dimensions = dimensions
        #: Rows that the index took in or let go since it was kept.
        self.unkept = 0
        while len(self._keys) < len(places):
            self._append(None)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def held(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def upsert(self, key: str, vector: Floats, payload: bytes) -> None:
        row = self._rows.get(key)
        known = row is not None
        if row is None:
            row = self._take(key)
        self._blocks[row // _BLOCK][row % _BLOCK] = vector
        self._used[row // _BLOCK][row % _BLOCK] = True
        self._payloads[row] = payload
        self._changed(row, known=known)
        self.catch_up(_AT_ONCE)

    def delete(self, key: str) -> bool:
        row = self._rows.pop(key, None)
        if row is None:
            return False
        self._keys[row], self._payloads[row] = None, b""
        self._used[row // _BLOCK][row % _BLOCK] = False
        if key not in self._places:
            self._free.append(row)
        self._changed(row, known=True)
        return True

    def nearest(self, vector: Floats, limit: int) -> list[tuple[str, float, bytes]]:
        """Key, cosine and payload, nearest first."""
        if not self._rows or limit < 1:
            return []
        rows, scores = self._found(vector, limit)
        order = np.argsort(-scores, kind="stable")[:limit]
        keys = (
            (self._keys[row], score, row)
            for row, score in zip(rows[order].tolist(), scores[order].tolist(), strict=True)
        )
        return [(key, score, self._payloads[row]) for key, score, row in keys if key is not None]

    def catch_up(self, most: int | None = None) -> None:
        """Let the index take in rows that it has not: `most` of them, or all. It begins once there are enough."""
        if self._late is not None:
            return
        if self._index is None:
            if self.indexed_from is None or len(self._rows) <= self.indexed_from:
                return
            self._index = new_index(self.dimensions)
        while self._indexed < len(self._keys):
            start = self._indexed
            block, place = divmod(start, _BLOCK)
            end = min(start + (most or _MANY), len(self._keys), (block + 1) * _BLOCK)
            within = np.flatnonzero(self._used[block][place : place + end - start]) + place
            if len(within):
                self._index.add((within + block * _BLOCK).astype(np.uint64), self._blocks[block][within], threads=1)
            self._indexed = end
            self.unkept += len(within)
            if most is not None:
                return

    def adopt(self, index: Index | None, rows: int) -> None:
        """Go on with an index of so many rows, or without one. `settle` brings it up to what changes from now on."""
        self._places = {}
        self._free = [row for row, key in enumerate(self._keys) if key is None]
        if index is not None:
            self._index, self._indexed, self._late = index, rows, set()

    def hold(self) -> tuple[Index, list[str | None]] | None:
        """The index and the keys of its rows, if there is one. It is left alone until `settle`."""
        if self._index is None or self._late is not None:
            return None
        self._late, self.unkept = set(), 0
        return self._index, self._keys[: self._indexed]

    def settle(self, most: int | None = None) -> None:
        """Let the index take in what changed while it was not to be touched: `most` of it, or all."""
        late = self._late or set()
        for _ in range(min(len(late), most or len(late))):
            self._bring(late.pop(), known=True)
        if not late:
            self._late = None

    @property
    def behind(self) -> bool:
        """Whether `advance` has something to do."""
        enough = self.indexed_from is not None and len(self._rows) > self.indexed_from
        return self._late is not None or (enough and self._indexed < len(self._keys))

    def advance(self) -> None:
        """Let the index take in a part of what it has not, where nobody waits."""
        if self._late is not None:
            self.settle(_MANY)
        else:
            self.catch_up(_MANY)

    def _changed(self, row: int, *, known: bool) -> None:
        if row >= self._indexed or self._index is None:
            return
        if self._late is not None:
            self._late.add(row)
        else:
            self._bring(row, known=known)

    def _bring(self, row: int, *, known: bool) -> None:
        assert self._index is not None
        self.unkept += 1
        if known:
            self._index.remove(row)
        if self._holds(row):
            self._index.add(row, self._vector(row), threads=1)

    def _take(self, key: str) -> int:
        if (row := self._places.get(key)) is not None:
            self._keys[row] = key
        elif self._free:
            row = self._free.pop()
            self._keys[row] = key
        else:
            row = self._append(key)
        self._rows[key] = row
        return row

    def _append(self, key: str | None) -> int:
        row = len(self._keys)
        if row == len(self._blocks) * _BLOCK:
            self._blocks.append(np.zeros((_BLOCK, self.dimensions), np.float32))
            self._used.append(np.zeros(_BLOCK, np.bool_))
        self._keys.append(key)
        self._payloads.append(b"")
        return row

    def _found(self, vector: Floats, limit: int) -> tuple[NDArray[np.intp], Floats]:
        """The best rows of the index and of each block above it, with their cosine, in no order."""
        rows: list[NDArray[np.intp]] = []
        scores: list[Floats] = []
        if self._index is not None and self._indexed:
            self.catch_up(_AT_ONCE)
            found = self._index.search(vector, limit * _SPARE, threads=1)
            late = self._late or set()
            near = [row for row in found.keys.tolist() if row not in late] + [row for row in late if self._holds(row)]
            rows.append(np.array(near, np.intp))
            scores.append(np.array([self._vector(row) for row in near], np.float32).reshape(-1, len(vector)) @ vector)
        for start in range(self._indexed // _BLOCK * _BLOCK, len(self._keys), _BLOCK):
            end = min(start + _BLOCK, len(self._keys))
            low = max(start, self._indexed)
            if low == end:
                continue
            likeness = self._blocks[start // _BLOCK][low - start : end - start] @ vector
            if self._free:
                likeness[~self._used[start // _BLOCK][low - start : end - start]] = -np.inf
            best = np.argpartition(likeness, -limit)[-limit:] if limit < len(likeness) else np.arange(len(likeness))
            rows.append(best + low)
            scores.append(likeness[best])
        return np.concatenate(rows), np.concatenate(scores)

    def _holds(self, row: int) -> bool:
        return bool(self._used[row // _BLOCK][row % _BLOCK])

    def _vector(self, row: int) -> Floats:
        vector: Floats = self._blocks[row // _BLOCK][row % _BLOCK]
        return vector


def as_floats(vector: Sequence[float]) -> Floats:
    """A vector as numpy has it."""
    return np.asarray(vector, np.float32)
