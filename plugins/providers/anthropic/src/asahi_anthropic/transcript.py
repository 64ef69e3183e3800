"""What a stream has said so far, and whether it has said all.

What is neither text nor a tool call goes along in a chunk's `delta`, as the vendor wrote it: `content_block` opens a
block, `content_block_delta` goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from asahi_anthropic.decode import ending, finish, read_usage, text_of, tool_extra
from asahi_anthropic.objects import Members, join, members, packed
from asahi_kernel import Chunk, ToolCallDelta
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import UNREADABLE, read
from asahi_kernel.wire.sse import Event

_NULL = Raw(b"null")
_NOUGHT = Raw(b"{}")
_NOTHING: Members = {}


class _Text(Struct, frozen=True, tag_field="type", tag="text_delta"):
    text: str


class _Arguments(Struct, frozen=True, tag_field="type", tag="input_json_delta"):
    partial_json: str


class _Piece(Struct, frozen=True, tag_field="type", tag="content_block_delta"):
    """An event as nearly all are. Others fail to decode, and go the long way."""

    delta: _Text | _Arguments


_decode_piece = msgspec.json.Decoder(_Piece).decode


class Transcript:
    """Reads the events of one stream. Why it ended and what it cost is only told by `end`, after the last event."""

    __slots__ = ("_arguments", "_calls", "_delta", "_kind", "_named", "_request_id", "_usage", "begun", "done")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._named = False
        self._kind = ""
        self._calls = 0
        self._arguments = False
        self._usage: list[Raw] = []
        self._delta = _NOTHING
        self.begun = False
        self.done = False

    def read(self, event: Event) -> Sequence[Chunk]:
        """The chunks in an event. Raises `Garbage`, or `Failure` for an error event."""
        if self.done:
            return ()
        try:
            delta = _decode_piece(event[1]).delta
        except UNREADABLE:
            return self._name(self._read_further(event))
        if isinstance(delta, _Text):
            chunks: Sequence[Chunk] = (Chunk(text=delta.text),) if delta.text else ()
        elif self._kind == "tool_use":
            chunks = self._argue(delta.partial_json)
        else:
            return self._name(self._read_further(event))
        return chunks if self._named else self._name(chunks)

    def end(self) -> Sequence[Chunk]:
        """The last chunk, once the stream is over. Raises `Garbage` if the answer is not."""
        told = self._delta
        reason = told.get("stop_reason", _NULL)
        if not self.done or bytes(reason) == b"null":
            raise Garbage("the stream ended before the answer did")
        text = text_of(reason)
        further = (told.get(name, _NULL) for name in ("stop_sequence", "stop_details", "container"))
        chunk = Chunk(finish_reason=finish(text), choice=ending(text, *further), usage=read_usage(self._usage))
        return self._name([chunk])

    def _read_further(self, event: Event) -> Sequence[Chunk]:
        told = read(members, event[1])
        try:
            return self._take(text_of(told["type"]), told)
        except (*UNREADABLE, KeyError) as error:
            raise Garbage(str(error)) from None

    def _take(self, kind: str, told: Members) -> Sequence[Chunk]:
        match kind:
            case "content_block_start":
                return self._open(members(told["content_block"]))
            case "content_block_delta":
                return (Chunk(delta=join({"content_block_delta": told["delta"]})),)
            case "content_block_stop":
                return self._close()
            case "message_start":
                self._start(members(told["message"]))
            case "message_delta":
                self._delta = members(told["delta"])
                self._usage.append(told.get("usage", _NULL))
            case "message_stop":
                self.done = True
            case "error":
                raise Failure(bytes(told["error"]))
        return ()

    def _start(self, message: Members) -> None:
        self.begun = True
        self._request_id = self._request_id or text_of(message.get("id", Raw(b'""')))
        self._usage.append(message.get("usage", _NOUGHT))

    def _open(self, block: Members) -> Sequence[Chunk]:
        before, self._kind = self._kind, text_of(block["type"])
        if self._kind == "tool_use":
            return self._call(block)
        if self._kind != "text":
            return (Chunk(delta=join({"content_block": packed(block)})),)
        text = text_of(block["text"])
        further = {name: raw for name, raw in block.items() if name != "text"}
        if before in ("", "thinking", "redacted_thinking") and len(packed(further)) == len(b'{"type":"text"}'):
            return (Chunk(text=text),) if text else ()
        opened = packed({**further, "text": Raw(b'""')})
        return (Chunk(text=text, delta=join({"content_block": opened})),)

    def _call(self, block: Members) -> Sequence[Chunk]:
        given = bytes(block.get("input", b"{}"))
        self._arguments = given.replace(b" ", b"") not in (b"{}", b"null")
        delta = ToolCallDelta(
            index=self._calls,
            id=text_of(block["id"]),
            name=text_of(block["name"]),
            type="function",
            arguments=given.decode() if self._arguments else "",
            extra=tool_extra(block),
        )
        return (Chunk(tool_calls=(delta,)),)

    def _argue(self, piece: str) -> Sequence[Chunk]:
        if not piece:
            return ()
        self._arguments = True
        return (Chunk(tool_calls=(ToolCallDelta(index=self._calls, arguments=piece),)),)

    def _close(self) -> Sequence[Chunk]:
        """A call without arguments is a call with an empty object of them."""
        if self._kind != "tool_use":
            return ()
        chunks = () if self._arguments else self._argue("{}")
        self._calls += 1
        return chunks

    def _name(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Puts the vendor's id on the first chunk there is."""
        if not chunks or self._named:
            return chunks
        self._named = True
        return (msgspec.structs.replace(chunks[0], provider_request_id=self._request_id), *chunks[1:])
