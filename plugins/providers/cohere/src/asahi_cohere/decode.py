"""Cohere's replies as ours. Lenient about what is new, strict about what is money.

The plan that a model tells before it calls tools is text. Its thoughts and citations are kept in the completion's
`message`, as `reasoning_content` and `citations`.
"""

from __future__ import annotations

import math

import msgspec
from msgspec import Raw, Struct

from asahi_kernel import Completion, Embedded, ToolCall, Usage, Vector
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import UNREADABLE, read
from asahi_kernel.types import FinishReason

_FINISH: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
_NOTHING = Raw(b"null")
_MOST_TOKENS = 1 << 31


class _Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class Call(Struct, frozen=True):
    """A tool call, whole or the beginning of one."""

    id: str | None = None
    function: _Function = _Function()


class Block(Struct, frozen=True):
    """A piece of content, whole or in part."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class _Message(Struct, frozen=True):
    content: list[Block] | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    citations: Raw = _NOTHING


class _Reply(Struct, frozen=True):
    id: str = ""
    message: _Message | str | None = None
    finish_reason: str = ""
    usage: Raw = _NOTHING
    logprobs: Raw = _NOTHING


class _Tokens(Struct, frozen=True):
    input_tokens: float | None = None
    output_tokens: float | None = None


class _Usage(Struct, frozen=True):
    billed_units: _Tokens | None = None
    tokens: _Tokens | None = None
    cached_tokens: float | None = None


class _Vectors(Struct, frozen=True, rename={"floats": "float"}):
    floats: list[list[float]]


class _Meta(Struct, frozen=True):
    billed_units: _Tokens | None = None


class _Embeddings(Struct, frozen=True):
    embeddings: _Vectors
    id: str = ""
    meta: _Meta | None = None


_encode = msgspec.json.Encoder().encode
_reply = msgspec.json.Decoder(_Reply).decode
_usage = msgspec.json.Decoder(_Usage).decode
_embeddings = msgspec.json.Decoder(_Embeddings).decode


def decode_reply(body: bytes, model: str, request_id: str) -> Completion:
    """The completion in a reply. Raises `Garbage`, or `Failure` for an error in its place."""
    reply = read(_reply, body)
    if isinstance(reply.message, str):
        raise failure(reply.message)
    if reply.message is None:
        raise Garbage("no message")
    blocks, calls = reply.message.content or [], reply.message.tool_calls or []
    thought = _encode("".join(block.thinking or "" for block in blocks))
    return Completion(
        text=(reply.message.tool_plan or "") + "".join(block.text or "" for block in blocks),
        model=model,
        usage=read_usage(reply.usage),
        finish_reason=finish(reply.finish_reason, None),
        tool_calls=tuple(_tool_call(call) for call in calls),
        provider_request_id=request_id or reply.id,
        message=vendor_fields(reasoning_content=thought, citations=reply.message.citations),
        choice=vendor_fields(logprobs=reply.logprobs),
    )


def decode_embeddings(body: bytes, request_id: str) -> Embedded:
    """The vectors in a reply, made unit length. Raises `Garbage`."""
    reply = read(_embeddings, body)
    billed = reply.meta.billed_units.input_tokens if reply.meta and reply.meta.billed_units else None
    vectors = tuple(map(_unit, reply.embeddings.floats))
    return Embedded(vectors, _whole(billed), request_id or reply.id)


def finish(reason: str, error: str | None) -> FinishReason:
    """The vendor's reason in our words. Raises `Failure` for an answer that broke off; an unknown reason counts as
    `length`: whether the answer is whole is not known then, and it is not kept."""
    if reason.startswith("ERROR") or error:
        raise failure(error or "the generation failed")
    if reason == "TIMEOUT":
        raise failure(error or "the generation took too long", 504)
    if not reason:
        raise Garbage("no finish_reason")
    return _FINISH.get(reason, "length")


def failure(message: str, code: int | None = None) -> Failure:
    """An error where an answer was due."""
    return Failure(_encode({"message": message, "code": code}))


def read_usage(raw: Raw) -> Usage | None:
    """The billed tokens, or None when they are absent or cannot be true. The vendor also tells all `tokens`, with those
    of its own preamble, which it does not charge: they count only where nothing is said of the bill."""
    try:
        told = _usage(raw)
    except UNREADABLE:
        return None
    tokens = told.billed_units or told.tokens
    if tokens is None:
        return None
    read_in, written, cached = (
        _whole(tokens.input_tokens),
        _whole(tokens.output_tokens),
        _whole(told.cached_tokens or 0),
    )
    if read_in is None or written is None or cached is None:
        return None
    if cached > max(read_in, _whole(told.tokens.input_tokens if told.tokens else None) or 0):
        return None
    return Usage(read_in, written, cached_tokens=min(cached, read_in))


def vendor_fields(**told: Raw | bytes) -> bytes:
    """The fields that say something, as a JSON object; nothing if none does."""
    left = {name: Raw(bytes(raw)) for name, raw in told.items() if bytes(raw) not in (b"", b"null", b"[]", b'""')}
    return _encode(left) if left else b""


def _tool_call(call: Call) -> ToolCall:
    return ToolCall(id=call.id or "", name=call.function.name or "", arguments=call.function.arguments or "")


def _whole(number: float | None) -> int | None:
    if number is None or not math.isfinite(number) or number != int(number) or not 0 <= number < _MOST_TOKENS:
        return None
    return int(number)


def _unit(vector: list[float]) -> Vector:
    length = math.sqrt(math.fsum(number * number for number in vector))
    if not math.isfinite(length) or length == 0:
        raise Garbage("a vector without a direction")
    return tuple(number / length for number in vector)
