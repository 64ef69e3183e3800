"""The vectors of one namespace: exact search over one matrix, or an index once there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_FIRST = 64


class Index(Protocol):
    """Approximate search, in the shape that usearch has it."""

    def add(self, keys: Any, vectors: Any) -> Any: ...
    def search(self, vectors: Any, count: int) -> Any: ...
    def remove(self, keys: Any) -> Any: ...


class Shelf:
    """Rows by key. A deleted row is filled with the last one, so the matrix has no holes."""

    def __init__(self, dimensions: int, indexed_from: int | None) -> None:
        self._matrix: Floats = np.zeros((_FIRST, dimensions), np.float32)
        self._rows: dict[str, int] = {}
        self._indexed_from = indexed_from
        self._index: Index | None = None
        self.dimensions = dimensions
        self.keys: list[str] = []
        self.payloads: list[bytes] = []

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def upsert(self, key: str, vector: Floats, payload: bytes) -> None:
        row = self._rows.get(key)
        if row is None:
            row = len(self.keys)
            if row == len(self._matrix):
                self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
            self._rows[key] = row
            self.keys.append(key)
            self.payloads.append(payload)
        elif self._index is not None:
            self._index.remove(row)
        self._matrix[row] = vector
        self.payloads[row] = payload
        if self._index is not None:
            self._index.add(row, self._matrix[row])
        elif self._indexed_from is not None and len(self.keys) > self._indexed_from:
            self._build()

    def delete(self, key: str) -> bool:
        row = self._rows.pop(key, None)
        if row is None:
            return False
        last = len(self.keys) - 1
        if self._index is not None:
            self._index.remove(row)
        if row != last:
            if self._index is not None:
                self._index.remove(last)
                self._index.add(row, self._matrix[last])
            self._matrix[row] = self._matrix[last]
            self.keys[row], self.payloads[row] = self.keys[last], self.payloads[last]
            self._rows[self.keys[row]] = row
        self.keys.pop()
        self.payloads.pop()
        return True

    def nearest(self, vector: Floats, limit: int) -> list[tuple[int, float]]:
        """Rows with their cosine, nearest first."""
        count = len(self.keys)
        if not count or limit < 1:
            return []
        if self._index is not None:
            found = [int(row) for row in self._index.search(vector, min(limit, count)).keys]
            rows = np.array([row for row in found if row < count], np.intp)
        else:
            scores = self._matrix[:count] @ vector
            rows = np.argpartition(scores, -limit)[-limit:] if limit < count else np.arange(count)
        exact = self._matrix[rows] @ vector
        order = np.argsort(-exact, kind="stable")
        return list(zip(rows[order].tolist(), exact[order].tolist(), strict=True))

    def vector(self, row: int) -> Floats:
        vector: Floats = self._matrix[row]
        return vector

    def _build(self) -> None:
        from usearch.index import Index as Usearch

        self._index = Usearch(ndim=self.dimensions, metric="ip", dtype="f32")
        count = len(self.keys)
        self._index.add(np.arange(count, dtype=np.uint64), self._matrix[:count])


def as_floats(vector: Sequence[float]) -> Floats:
    """A vector as numpy has it."""
    return np.asarray(vector, np.float32)
