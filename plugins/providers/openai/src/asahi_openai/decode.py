"""OpenAI's replies and stream events as ours. Lenient where hosts differ, strict about what is money."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from asahi_kernel import Chunk, Completion, ToolCall, ToolCallDelta, Usage
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import UNREADABLE, read
from asahi_kernel.types import Choice, FinishReason

Members: TypeAlias = dict[str, Raw]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_NOTHING = Raw(b"null")
_MOST_TOKENS = 1 << 31
#: The index of a piece of a tool call that its host has not numbered.
UNNUMBERED = -1


class _Details(Struct, frozen=True):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Reply(Struct, frozen=True):
    id: str | None = None
    choices: list[Members] | None = None
    usage: Raw = _NOTHING
    error: Raw = _NOTHING
    object: Raw = _NOTHING


class _PlainDelta(Struct, frozen=True, forbid_unknown_fields=True):
    role: str | None = None
    content: str | None = None
    refusal: None = None


class _PlainChoice(Struct, frozen=True, forbid_unknown_fields=True):
    delta: _PlainDelta
    index: int = 0
    finish_reason: str | None = None
    logprobs: None = None


class PlainEvent(Struct, frozen=True):
    """A stream event as nearly all are: text and nothing else. Others fail to decode, and go the long way."""

    choices: list[_PlainChoice]
    id: str | None = None
    usage: None = None
    error: None = None


class _Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Custom(Struct, frozen=True):
    name: str | None = None
    input: str | None = None


class _Call(Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None


_encode = msgspec.json.Encoder().encode
_reply = msgspec.json.Decoder(_Reply).decode
_usage = msgspec.json.Decoder(_Usage).decode
_members = msgspec.json.Decoder(Members).decode
_text = msgspec.json.Decoder(str).decode
_parts = msgspec.json.Decoder(list[Members]).decode
_calls = msgspec.json.Decoder(list[Raw]).decode
_call = msgspec.json.Decoder(_Call).decode
_index = msgspec.json.Decoder(int).decode
decode_plain = msgspec.json.Decoder(PlainEvent).decode


def decode_reply(body: bytes, model: str, request_id: str) -> Completion:
    """The completion in a reply. Raises `Garbage`, or `Failure` for an error object."""
    reply = _read(body)
    if not reply.choices:
        raise Garbage("no choices")
    try:
        first, *others = (_choice(members) for members in reply.choices)
    except UNREADABLE as error:
        raise Garbage(str(error)) from None
    return Completion(
        text=first.text,
        model=model,
        usage=read_usage(reply.usage),
        finish_reason=first.finish_reason,
        tool_calls=first.tool_calls,
        provider_request_id=request_id or reply.id or "",
        message=first.message,
        choice=first.choice,
        others=tuple(others),
    )


def decode_event(data: bytes) -> tuple[str, list[Chunk], Usage | None]:
    """The id, chunks and usage in a stream event, whatever is in it. Raises as `decode_reply` does."""
    reply = _read(data)
    try:
        chunks = [chunk for members in reply.choices or () for chunk in _chunks(members)]
    except UNREADABLE as error:
        raise Garbage(str(error)) from None
    return reply.id or "", chunks, read_usage(reply.usage)


def finish(reason: str, *, called: bool = False) -> FinishReason:
    """The vendor's finish reason in our words. An unknown one counts as `length`: whether the answer is whole is not
    known then, and it is not kept. Some hosts call it a stop where a tool was `called`."""
    if reason == "error":
        raise Garbage("the host ended the answer with an error")
    ours = _FINISH.get(reason, "length")
    return "tool_calls" if called and ours == "stop" else ours


def new_id() -> str:
    """An id for a tool call that its host gave none: the answer to the call must name it."""
    return f"call_{secrets.token_hex(12)}"


def read_usage(raw: Raw) -> Usage | None:
    """The usage, or None when it is absent or cannot be true: money is never computed from it then."""
    try:
        told = _usage(raw)
    except msgspec.DecodeError:
        return None
    cached = (told.prompt_tokens_details or _Details()).cached_tokens or 0
    reasoning = (told.completion_tokens_details or _Details()).reasoning_tokens or 0
    if not 0 <= cached <= told.prompt_tokens < _MOST_TOKENS or not 0 <= reasoning <= told.completion_tokens:
        return None
    if told.completion_tokens >= _MOST_TOKENS:
        return None
    return Usage(told.prompt_tokens, told.completion_tokens, cached_tokens=cached, reasoning_tokens=reasoning)


def _read(body: bytes) -> _Reply:
    reply = read(_reply, body)
    if bytes(reply.error) != b"null":
        raise Failure(bytes(reply.error))
    if bytes(reply.object) == b'"error"':
        raise Failure(body)
    return reply


def _choice(members: Members) -> Choice:
    message = _pop_object(members, "message")
    reason = _pop_reason(members) or "none"
    members.pop("index", None)
    content = message.get("content")
    text = _pop_content(message)
    calls = tuple(_tool_call(raw) for raw in _pop_calls(message))
    if not text and not calls and content is not None and bytes(content) == b"null":
        message["content"] = content
    if bytes(message.get("role", b"")) == b'"assistant"':
        del message["role"]
    if reason == "function_call":
        members["finish_reason"] = Raw(b'"function_call"')
    return Choice(
        text=text,
        finish_reason=finish(reason, called=bool(calls)),
        tool_calls=calls,
        message=_rest(message),
        choice=_rest(members),
    )


def _chunks(members: Members) -> Iterator[Chunk]:
    delta = _pop_object(members, "delta")
    reason = _pop_reason(members)
    index = members.pop("index", None)
    delta.pop("role", None)
    text = _pop_content(delta)
    calls = tuple(_tool_call_delta(raw) for raw in _pop_calls(delta))
    if reason == "function_call":
        members["finish_reason"] = Raw(b'"function_call"')
    chunk = Chunk(
        text=text,
        index=0 if index is None else _index(index),
        tool_calls=calls,
        finish_reason=finish(reason) if reason else None,
        delta=_rest(delta),
        choice=_rest(members),
    )
    if text or calls or reason or chunk.delta or chunk.choice:
        yield chunk


def _tool_call(raw: Raw) -> ToolCall:
    call, kind, name, text, extra = _read_call(raw)
    return ToolCall(id=call.id or new_id(), name=name or "", arguments=text, type=kind or "function", extra=extra)


def _tool_call_delta(raw: Raw) -> ToolCallDelta:
    call, kind, name, text, extra = _read_call(raw)
    index = UNNUMBERED if call.index is None else call.index
    return ToolCallDelta(
        index=index, id=call.id or None, name=name or None, arguments=text, type=kind or None, extra=extra
    )


def _read_call(raw: Raw) -> tuple[_Call, str | None, str | None, str, bytes]:
    call, members = _call(raw), _members(raw)
    for name in ("index", "id", "type"):
        members.pop(name, None)
    inner, told = ("custom", call.custom) if call.custom is not None else ("function", call.function)
    function = _pop_object(members, inner)
    function.pop("name", None)
    function.pop("input" if inner == "custom" else "arguments", None)
    left = _rest(function)
    if left:
        members[inner] = Raw(left)
    text = told.input if isinstance(told, _Custom) else told.arguments if told is not None else None
    return call, call.type, None if told is None else told.name, text or "", _rest(members)


def _pop_object(members: Members, name: str) -> Members:
    raw = members.pop(name, None)
    return {} if raw is None or bytes(raw) == b"null" else _members(raw)


def _pop_text(members: Members, name: str) -> str:
    raw = members.pop(name, None)
    return "" if raw is None or bytes(raw) == b"null" else _text(raw)


def _pop_reason(members: Members) -> str:
    """The finish reason. Raises `Failure` for an answer that ends with an error which the host describes."""
    reason = _pop_text(members, "finish_reason")
    if reason == "error" and "error" in members:
        raise Failure(bytes(members["error"]))
    return reason


def _pop_calls(members: Members) -> list[Raw]:
    raw = members.pop("tool_calls", None)
    return [] if raw is None or bytes(raw) == b"null" else _calls(raw)


def _pop_content(members: Members) -> str:
    """The text of a message. Some hosts send a list of parts: their texts are joined, the list stays in the rest."""
    raw = members.get("content")
    if raw is None or bytes(raw)[:1] != b"[":
        return _pop_text(members, "content")
    return "".join(_text(part["text"]) for part in _parts(raw) if "text" in part)


def _rest(members: Members) -> bytes:
    """What is left, as an object, without the nulls; empty if nothing is."""
    left = {name: raw for name, raw in members.items() if bytes(raw) != b"null" or name == "content"}
    return _encode(left) if left else b""
