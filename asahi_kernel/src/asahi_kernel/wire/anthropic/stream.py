"""Encodes a streamed answer as Anthropic's server-sent events."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from asahi_kernel.answer import Answer
from asahi_kernel.errors import AsahiError
from asahi_kernel.types import Chunk, ToolCallDelta
from asahi_kernel.wire.account import account
from asahi_kernel.wire.anthropic import reply
from asahi_kernel.wire.anthropic.reply import Json, Members

_NOT_YET = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
_TEXT: Json = {"type": "text", "text": ""}
_AFTER = b"}}\n\n"
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(Members).decode
_list = msgspec.json.Decoder(list[Json]).decode
_text = msgspec.json.Decoder(str | None).decode


class StreamEncoder:
    """One stream: `role`, then any number of `chunk`, then `finish` or `error`.

    Blocks are opened and closed as the chunks want it; why the answer ended, what it took and the `asahi` object come
    with `finish`.
    """

    silence = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, request_id: str, model: str) -> None:
        self._request_id = request_id
        self._model = model
        self._index = -1
        self._kind = ""
        self._calls: dict[int, int] = {}
        self._before_text = b""

    def role(self) -> bytes:
        """The first event."""
        message: Json = {
            "id": f"msg_{self._request_id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _NOT_YET,
        }
        return _event("message_start", {"message": message})

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of one chunk; empty if there is nothing to tell yet."""
        if chunk.tool_calls or chunk.delta:
            return b"".join(self._rich(chunk))
        return self._say(chunk.text) if chunk.text else b""

    def finish(self, answer: Answer) -> bytes:
        """The last events."""
        told = {"usage": reply.tokens(answer.usage), "asahi": account(answer)}
        last = _event("message_delta", {"delta": reply.ending(answer.completion), **told})
        return self._close() + last + _STOP

    def error(self, error: AsahiError) -> bytes:
        """The last event of a failed stream."""
        return b"event: error\ndata: " + reply.error(error, self._request_id) + b"\n\n"

    def _rich(self, chunk: Chunk) -> Iterator[bytes]:
        delta = _members(chunk.delta) if chunk.delta else {}
        if "content_blocks" in delta:
            yield from self._replay(_list(delta["content_blocks"]))
        if "content_block" in delta:
            block = _members(delta["content_block"])
            yield self._open(block, msgspec.json.decode(block["type"], type=str))
        if "content_block_delta" in delta:
            yield self._go_on(self._index, delta["content_block_delta"])
        if refusal := _text(delta.get("refusal", b"null")):
            yield self._say(refusal)
        if chunk.text:
            yield self._say(chunk.text)
        for call in chunk.tool_calls:
            yield from self._call(call)

    def _say(self, text: str) -> bytes:
        if self._kind == "text":
            return self._before_text + _encode(text) + _AFTER
        return self._open(_TEXT, "text") + self._before_text + _encode(text) + _AFTER

    def _call(self, call: ToolCallDelta) -> Iterator[bytes]:
        at = self._calls.get(call.index)
        if at is None:
            name = call.id or f"toolu_{self._request_id}_{call.index}"
            block: Json = {"type": "tool_use", "id": name, "name": call.name or "", "input": {}}
            if call.extra:
                block |= _members(call.extra)
            yield self._open(block, "tool_use")
            at = self._calls[call.index] = self._index
        if call.arguments:
            yield self._go_on(at, {"type": "input_json_delta", "partial_json": call.arguments})

    def _replay(self, layout: list[Json]) -> Iterator[bytes]:
        """Blocks of a stored answer, all before its text; a text that is cited follows as text alone."""
        for block in layout:
            if block["type"] not in ("text", "tool_use"):
                yield self._open(block, "")

    def _open(self, block: Json | Members, kind: str) -> bytes:
        closed = self._close()
        self._index += 1
        self._kind = kind or "whole"
        if kind == "text":
            told = b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":' % self._index
            self._before_text = b"event: content_block_delta\ndata: " + told
        return closed + _event("content_block_start", {"index": self._index, "content_block": block})

    def _go_on(self, at: int, delta: Json | Raw) -> bytes:
        return _event("content_block_delta", {"index": at, "delta": delta})

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return _event("content_block_stop", {"index": self._index})


def _event(kind: str, told: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **told}))
