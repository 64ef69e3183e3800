"""What a stream has said so far, and whether it has said all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from asahi_cohere.decode import Block, Call, failure, finish, read_usage, vendor_fields
from asahi_kernel import Chunk, ToolCallDelta
from asahi_kernel.http.failures import Garbage
from asahi_kernel.http.mending import read
from asahi_kernel.wire.sse import Event

_NOTHING = Raw(b"null")


class _Said(Struct, frozen=True):
    content: Block | None = None
    tool_plan: str | None = None
    tool_calls: Call | None = None
    citations: Raw = _NOTHING


class _Delta(Struct, frozen=True):
    message: Raw = _NOTHING
    finish_reason: str | None = None
    error: str | None = None
    usage: Raw = _NOTHING


class _Event(Struct, frozen=True):
    type: str = ""
    id: str | None = None
    index: int | None = None
    delta: _Delta = _Delta()
    message: str | None = None
    logprobs: Raw = _NOTHING


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Event).decode
_said = msgspec.json.Decoder(_Said).decode
#: The events that say a piece of the answer; others say lists of what is still to come.
_PIECES = frozenset(
    {"content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta", "citation-start"}
)


class Transcript:
    """Reads the events of one stream. Why it ended and what it cost is only told by `end`, after the last event."""

    __slots__ = ("_ended", "_named", "_request_id", "begun", "done")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._named = False
        self._ended: _Delta | None = None
        self.begun = False
        self.done = False

    def read(self, event: Event) -> Sequence[Chunk]:
        """The chunks in an event. Raises `Garbage`, or `Failure` for an error event."""
        if self.done:
            return ()
        told = read(_decode, event[1])
        if not told.type and told.message is not None:
            raise failure(told.message)
        said = read(_said, bytes(told.delta.message)) if told.type in _PIECES else _Said()
        chunk = self._take(told, said)
        self.begun = True
        return () if chunk is None else (self._name(chunk),)

    def end(self) -> Sequence[Chunk]:
        """The last chunk, once the stream is over. Raises `Garbage` or `Failure` if the answer is not whole."""
        if self._ended is None:
            raise Garbage("the stream ended before the answer did")
        reason = finish(self._ended.finish_reason or "", self._ended.error)
        return (self._name(Chunk(finish_reason=reason, usage=read_usage(self._ended.usage))),)

    def _take(self, told: _Event, said: _Said) -> Chunk | None:
        match told.type:
            case "content-delta" | "content-start":
                return _content(said.content or Block(), told.logprobs)
            case "tool-plan-delta":
                return Chunk(text=said.tool_plan) if said.tool_plan else None
            case "tool-call-start" | "tool-call-delta":
                return _call(told.index or 0, said.tool_calls or Call(), opening=told.type == "tool-call-start")
            case "citation-start":
                citation = bytes(said.citations)
                return Chunk(delta=b'{"citations":[%b]}' % citation) if citation[:1] == b"{" else None
            case "message-start":
                self._request_id = self._request_id or told.id or ""
            case "message-end":
                self._ended, self.done = told.delta, True
        return None

    def _name(self, chunk: Chunk) -> Chunk:
        """Puts the vendor's id on the first chunk there is."""
        if self._named:
            return chunk
        self._named = True
        return msgspec.structs.replace(chunk, provider_request_id=self._request_id)


def _content(block: Block, logprobs: Raw) -> Chunk | None:
    thought = vendor_fields(reasoning_content=_encode(block.thinking))
    chunk = Chunk(text=block.text or "", delta=thought, choice=vendor_fields(logprobs=logprobs))
    return chunk if chunk.text or chunk.delta or chunk.choice else None


def _call(index: int, call: Call, *, opening: bool) -> Chunk:
    delta = ToolCallDelta(
        index=index,
        id=call.id,
        name=call.function.name if opening else None,
        arguments=call.function.arguments or "",
        type="function" if opening else None,
    )
    return Chunk(tool_calls=(delta,))
