"""The embedder `local`: a static int8 table. A text's vector is the mean of its tokens' rows, at unit length."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np

from asahi_kernel import Vector
from asahi_semantic.wordpiece import WordPiece

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: Goes into the namespace: vectors of different tables never meet. Raise it with every new table.
VERSION = "1"
#: Tokens that count. A longer text is judged by its beginning, as the guards look at all of it.
MOST_TOKENS = 2_048


class LocalEmbedder:
    """Needs no network, no key and no time worth waiting for. A text without any known token gets the vector of the
    table's own mean, so that it is like nothing in particular."""

    local = True
    version = VERSION

    def __init__(self, rows: NDArray[np.int8], scale: Floats, words: Sequence[str]) -> None:
        self._rows = rows
        self._scale = scale[:, None]
        self._pieces = WordPiece(words)
        self.dimensions = int(rows.shape[1])
        mean = (rows * self._scale).mean(axis=0)
        self._nothing: Floats = mean / np.linalg.norm(mean)

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [tuple(self.vector(text).tolist()) for text in texts]

    def vector(self, text: str) -> Floats:
        """The unit vector of one text."""
        tokens = self._pieces.rows(text, MOST_TOKENS)
        if not tokens:
            return self._nothing
        pooled: Floats = (self._rows[tokens] * self._scale[tokens]).sum(axis=0)
        length = float(np.sqrt(pooled @ pooled))
        return pooled / length if length > 0 else self._nothing


def load() -> LocalEmbedder:
    """The table that ships in the wheel."""
    with as_file(files(__package__) / "table.npz") as path, np.load(path, allow_pickle=False) as table:
        words = bytes(table["words"]).decode().split("\n")
        return LocalEmbedder(table["rows"], table["scale"], words)
