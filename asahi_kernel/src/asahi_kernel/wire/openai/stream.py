"""Encodes a streamed answer as OpenAI's server-sent events."""

from __future__ import annotations

import msgspec

from asahi_kernel.answer import Answer
from asahi_kernel.errors import AsahiError
from asahi_kernel.types import Chunk, ToolCallDelta
from asahi_kernel.wire.account import account
from asahi_kernel.wire.openai import reply
from asahi_kernel.wire.openai.messages import Json

_END = b"}\n\n"
_DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(Json).decode


class StreamEncoder:
    """One stream: `role`, then any number of `chunk`, then `finish` or `error`.

    Finish reasons are held back until `finish`, so that the `asahi` object rides on the last chunk, and a chunk without
    choices comes only when the caller asked for usage.
    """

    silence = b""

    def __init__(self, request_id: str, model: str, created: int, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._seen = {0}
        self._ends: dict[int, Json] = {}
        identity = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._head = b"data: " + _encode(identity)[:-1] + b',"choices":['
        self._tail = (b'],"usage":null' if include_usage else b"]") + _END
        self._before_text = self._head + b'{"index":0,"delta":{"content":'
        self._after_text = b'},"logprobs":null,"finish_reason":null}' + self._tail

    def role(self) -> bytes:
        """The first chunk."""
        return self._frame(_choice(0, {"role": "assistant", "content": "", "refusal": None}))

    def chunk(self, chunk: Chunk) -> bytes:
        """The event of one chunk; empty if there is nothing to tell yet."""
        if chunk.index or chunk.tool_calls or chunk.finish_reason or chunk.delta or chunk.choice:
            return self._rich(chunk)
        return self._before_text + _encode(chunk.text) + self._after_text if chunk.text else b""

    def finish(self, answer: Answer) -> bytes:
        """The last events: a finish reason for each choice, usage if it was asked for, and the terminator."""
        given = enumerate(reply.choices_of(answer.completion))
        ends = {at: _choice(at, {}, choice.finish_reason) for at, choice in given}
        ends |= self._ends
        bill = b',"asahi":' + _encode(account(answer))
        *earlier, last = (self._frame(ends[at]) for at in sorted(ends))
        if not self._include_usage:
            return b"".join(earlier) + last[: -len(_END)] + bill + _END + _DONE
        usage = self._head + b'],"usage":' + _encode(reply.tokens(answer.usage)) + bill + _END
        return b"".join(earlier) + last + usage + _DONE

    def error(self, error: AsahiError) -> bytes:
        """The last event of a failed stream; no terminator follows."""
        return b"data: " + reply.error(error) + b"\n\n"

    def _rich(self, chunk: Chunk) -> bytes:
        delta = _delta(chunk)
        choice = _object(chunk.choice) if chunk.choice else {}
        if chunk.finish_reason:
            reason = choice.pop("finish_reason", chunk.finish_reason)
            self._ends[chunk.index] = _choice(chunk.index, {}, reason)
            if not delta:
                self._ends[chunk.index] |= choice
                return b""
        if not delta and not choice:
            return b""
        if chunk.index not in self._seen:
            self._seen.add(chunk.index)
            delta = {"role": "assistant", **delta}
        return self._frame(_choice(chunk.index, delta) | choice)

    def _frame(self, choice: Json) -> bytes:
        return self._head + _encode(choice) + self._tail


def _choice(at: int, delta: Json, reason: object = None) -> Json:
    return {"index": at, "delta": delta, "logprobs": None, "finish_reason": reason}


def _delta(chunk: Chunk) -> Json:
    delta: Json = {"content": chunk.text} if chunk.text else {}
    if chunk.tool_calls:
        delta["tool_calls"] = [_call(call) for call in chunk.tool_calls]
    return reply.merge(delta, chunk.delta)


def _call(call: ToolCallDelta) -> Json:
    named: Json = {} if call.name is None else {"name": call.name}
    kind = call.type or "function"
    told: Json = {"index": call.index}
    if call.id is not None:
        told["id"] = call.id
    if call.type is not None:
        told["type"] = call.type
    told[kind] = {**named, "input" if kind == "custom" else "arguments": call.arguments}
    return reply.merge(told, call.extra)
