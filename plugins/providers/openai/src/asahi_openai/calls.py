"""Tool calls of a stream, told apart where their host does not number or name them."""

from __future__ import annotations

import msgspec

from asahi_kernel import Chunk, ToolCallDelta
from asahi_openai.decode import UNNUMBERED, new_id


class Calls:
    """The calls of each choice so far. A piece without an index begins a call if it has a name or an id of its own, and
    goes on with the last one otherwise."""

    __slots__ = ("_ids", "_last")

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._ids: dict[tuple[int, int], str] = {}

    def called(self, choice: int) -> bool:
        """Whether any tool was called in the choice."""
        return choice in self._last

    def mended(self, chunk: Chunk) -> Chunk:
        """The chunk with an index for every piece, an id for every call, and the finish reason that calls have."""
        if chunk.tool_calls:
            pieces = tuple(self._piece(chunk.index, piece) for piece in chunk.tool_calls)
            chunk = msgspec.structs.replace(chunk, tool_calls=pieces)
        if chunk.finish_reason == "stop" and self.called(chunk.index):
            chunk = msgspec.structs.replace(chunk, finish_reason="tool_calls")
        return chunk

    def _piece(self, choice: int, piece: ToolCallDelta) -> ToolCallDelta:
        index = piece.index if piece.index != UNNUMBERED else self._index(choice, piece)
        self._last[choice] = index
        known = self._ids.get((choice, index))
        if known is None:
            known = self._ids[choice, index] = piece.id or new_id()
            return msgspec.structs.replace(piece, index=index, id=known)
        return msgspec.structs.replace(piece, index=index)

    def _index(self, choice: int, piece: ToolCallDelta) -> int:
        last = self._last.get(choice)
        if last is None:
            return 0
        begins = piece.name is not None or (piece.id is not None and piece.id != self._ids[choice, last])
        return last + 1 if begins else last
