"""Encodes answers and errors in Anthropic's shapes.

A completion's `message` may hold `content_blocks`, the order of what is neither text nor a tool call: any other block
whole, a text by its `length` in characters, a call by its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from asahi_kernel.answer import Answer
from asahi_kernel.errors import AsahiError
from asahi_kernel.types import Completion, ToolCall, Usage
from asahi_kernel.wire.account import account

Json: TypeAlias = dict[str, object]
Members: TypeAlias = dict[str, Raw]

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_ENDING = ("stop_reason", "stop_sequence", "stop_details", "container")
_NOT_TOLD = frozenset({"content_blocks", "content", "refusal"})

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(Members).decode
_object = msgspec.json.Decoder(Json).decode
_text = msgspec.json.Decoder(str | None).decode


class Creation(Struct, frozen=True):
    """Parts of what was written to the provider's cache, by how long it is kept."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class OutputDetails(Struct, frozen=True):
    """Parts of the output tokens."""

    thinking_tokens: int


class Tokens(Struct, frozen=True):
    """The `usage` object: on this wire `input_tokens` leaves out what the cache read or wrote."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    cache_creation: Creation | UnsetType = UNSET
    output_tokens_details: OutputDetails | UnsetType = UNSET


def encode(answer: Answer) -> bytes:
    """The `message` object; the vendor's further members come with it where they take no place of ours."""
    completion = answer.completion
    vendor = _object(completion.message) if completion.message else {}
    ours = {
        "id": f"msg_{answer.request_id}",
        "type": "message",
        "role": "assistant",
        "model": completion.model,
        "content": list(blocks(completion)),
        **ending(completion),
        "usage": tokens(answer.usage),
        "asahi": account(answer),
    }
    return _encode({**{name: value for name, value in vendor.items() if name not in _NOT_TOLD}, **ours})


def error(error: AsahiError, request_id: str) -> bytes:
    """The body of a failed call."""
    kind = _TYPES.get(error.status) or ("api_error" if error.status >= 500 else "invalid_request_error")
    told = {"type": kind, "message": error.message, "code": error.code}
    return _encode({"type": "error", "error": told, "request_id": request_id})


def tokens(usage: Usage) -> Tokens:
    """Our usage in Anthropic's words."""
    written, hour = usage.cache_write_tokens, usage.cache_write_1h_tokens
    thought = usage.reasoning_tokens
    return Tokens(
        usage.input_tokens - usage.cached_tokens - written,
        written,
        usage.cached_tokens,
        usage.output_tokens,
        Creation(written - hour, hour) if written else UNSET,
        OutputDetails(thought) if thought else UNSET,
    )


def ending(completion: Completion) -> Mapping[str, object]:
    """Why the answer ended, as the vendor put it if it was one of this wire."""
    told = _members(completion.choice) if completion.choice else {}
    further = {name: told[name] for name in _ENDING if name in told}
    return {"stop_reason": STOP_REASONS[completion.finish_reason], "stop_sequence": None, **further}


def blocks(completion: Completion) -> Iterator[object]:
    """The content of an answer."""
    vendor = _members(completion.message) if completion.message else {}
    if "content_blocks" in vendor:
        yield from _laid_out(completion, msgspec.json.decode(vendor["content_blocks"], type=list[Json]))
        return
    if text := completion.text or _text(vendor.get("refusal", b"null")):
        yield {"type": "text", "text": text}
    yield from map(tool_use, completion.tool_calls)


def tool_use(call: ToolCall) -> object:
    """A call as a block. What a model wrote that is no JSON object cannot be an input, and so becomes a member of
    one."""
    told = {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)}
    return {**told, **_members(call.extra)} if call.extra else told


def _input(arguments: str) -> object:
    if not arguments.strip():
        return {}
    try:
        _members(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {"invalid_json": arguments}
    return Raw(arguments)


def _laid_out(completion: Completion, layout: list[Json]) -> Iterator[object]:
    """The blocks by their layout. A text that was changed since goes whole to the place of the first."""
    text, calls = completion.text, list(completion.tool_calls)
    if sum(_length(block) for block in layout) != len(text):
        first = next((at for at, block in enumerate(layout) if "length" in block), len(layout))
        layout = [block for at, block in enumerate(layout) if at == first or "length" not in block]
        layout[first : first + 1] = [{"type": "text", "length": len(text)}]
    for block in layout:
        if block["type"] == "text":
            length = _length(block)
            further = {name: value for name, value in block.items() if name != "length"}
            yield {**further, "text": text[:length]}
            text = text[length:]
        elif block["type"] == "tool_use":
            if calls:
                yield tool_use(calls.pop(0))
        else:
            yield block
    yield from map(tool_use, calls)


def _length(block: Json) -> int:
    length = block.get("length")
    return length if isinstance(length, int) else 0
