"""Anthropic's replies as ours. Lenient about what is new, strict about what is money.

What is neither text nor a tool call (thinking, citations, tools that run at the vendor) is kept in the completion's
`message` as `content_blocks`: the blocks in their order, where a text is only told by its `length` in characters and a
call of ours only by its type, because both are in the completion already. The same wire makes the same blocks of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from asahi_anthropic.objects import Members, join, members, packed
from asahi_kernel import Completion, ToolCall, Usage
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import UNREADABLE, read
from asahi_kernel.types import FinishReason

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",
    "model_context_window_exceeded": "length",
}
_PLAIN = frozenset({"", "end_turn", "max_tokens", "tool_use", "refusal"})
_NOTHING = Raw(b"null")
_MOST_TOKENS = 1 << 31


class _Creation(Struct, frozen=True):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(Struct, frozen=True):
    thinking_tokens: int | None = None


class _Usage(Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _Creation | None = None
    output_tokens_details: _OutputDetails | None = None


class _Reply(Struct, frozen=True):
    id: str | None = None
    content: list[Members] | None = None
    stop_reason: str | None = None
    stop_sequence: Raw = _NOTHING
    stop_details: Raw = _NOTHING
    container: Raw = _NOTHING
    usage: Raw = _NOTHING
    error: Raw = _NOTHING


class _Count(Struct, frozen=True):
    input_tokens: int


_encode = msgspec.json.Encoder().encode
_reply = msgspec.json.Decoder(_Reply).decode
_usage = msgspec.json.Decoder(_Usage).decode
_count = msgspec.json.Decoder(_Count).decode
text_of = msgspec.json.Decoder(str).decode


def decode_reply(body: bytes, model: str, request_id: str) -> Completion:
    """The completion in a reply. Raises `Garbage`, or `Failure` for an error object."""
    reply = _read(body)
    if reply.content is None:
        raise Garbage("no content")
    content = _Content()
    try:
        for block in reply.content:
            content.add(block)
    except (*UNREADABLE, KeyError) as error:
        raise Garbage(str(error)) from None
    return Completion(
        text="".join(content.texts),
        model=model,
        usage=read_usage((reply.usage,)),
        finish_reason=finish(reply.stop_reason or ""),
        tool_calls=tuple(content.calls),
        provider_request_id=request_id or reply.id or "",
        message=content.message(),
        choice=ending(reply.stop_reason or "", reply.stop_sequence, reply.stop_details, reply.container),
    )


def decode_count(body: bytes, request_id: str) -> int:
    """The number in the answer to a question for a count. Raises `Garbage`."""
    try:
        return _count(body).input_tokens
    except UNREADABLE as error:
        raise Garbage(str(error)) from None


def finish(reason: str) -> FinishReason:
    """The vendor's reason in our words. A turn that pauses is not whole; an unknown reason counts as `stop`."""
    return _FINISH.get(reason, "stop")


def ending(reason: str, sequence: Raw, details: Raw, container: Raw) -> bytes:
    """What our finish reason does not tell, as a JSON object; mostly nothing."""
    told = {"stop_sequence": sequence, "stop_details": details, "container": container}
    if reason not in _PLAIN:
        told["stop_reason"] = Raw(_encode(reason))
    return packed(told)


def read_usage(told: Sequence[Raw]) -> Usage | None:
    """The usage as it was told, later numbers replacing earlier ones; None when the last time tells no output, or when
    it cannot be true. This wire's input tokens leave out those that the cache read or wrote, ours are all of them.
    """
    numbers: dict[str, int] = {}
    usage: _Usage | None = None
    try:
        for raw in told:
            usage = _usage(raw)
            numbers |= {name: value for name, value in _numbers(usage).items() if value is not None}
    except UNREADABLE:
        return None
    if "input_tokens" not in numbers or usage is None or usage.output_tokens is None:
        return None
    if min(numbers.values()) < 0 or max(numbers.values()) >= _MOST_TOKENS:
        return None
    read, written = numbers.get("read", 0), numbers.get("written", 0)
    total, output = numbers["input_tokens"] + read + written, numbers["output_tokens"]
    hour, thought = numbers.get("hour", 0), numbers.get("thought", 0)
    if total >= _MOST_TOKENS or hour > written or thought > output:
        return None
    return Usage(
        total,
        output,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thought,
    )


def tool_extra(block: Members) -> bytes:
    """Further members of a tool call; being called by the model itself is what a call means anyway."""
    left = {name: raw for name, raw in block.items() if name not in ("type", "id", "name", "input")}
    if bytes(left.get("caller", b"")).replace(b" ", b"") == b'{"type":"direct"}':
        del left["caller"]
    return packed(left)


class _Content:
    """The blocks of a reply, taken apart."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []
        self._blocks: list[bytes] = []
        self._odd = False

    def add(self, block: Members) -> None:
        kind = text_of(block["type"])
        if kind == "text":
            self._add_text(block)
        elif kind == "tool_use":
            self._blocks.append(b'{"type":"tool_use"}')
            self.calls.append(_tool_call(block))
        else:
            self._odd = True
            self._blocks.append(_encode(block))

    def message(self) -> bytes:
        """The layout of the blocks, unless it is the usual one: text, then calls."""
        return b'{"content_blocks":[' + b",".join(self._blocks) + b"]}" if self._odd else b""

    def _add_text(self, block: Members) -> None:
        text = text_of(block["text"])
        further = packed({name: raw for name, raw in block.items() if name not in ("type", "text")})
        self._odd = self._odd or bool(further) or bool(self.calls)
        self._blocks.append(join({"type": b'"text"', "length": b"%d" % len(text)}, further))
        self.texts.append(text)


def _tool_call(block: Members) -> ToolCall:
    members(block["input"])
    arguments = bytes(block["input"]).decode()
    return ToolCall(id=text_of(block["id"]), name=text_of(block["name"]), arguments=arguments, extra=tool_extra(block))


def _numbers(usage: _Usage) -> dict[str, int | None]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "read": usage.cache_read_input_tokens,
        "written": usage.cache_creation_input_tokens,
        "hour": usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation else None,
        "thought": usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else None,
    }


def _read(body: bytes) -> _Reply:
    reply = read(_reply, body)
    if bytes(reply.error) != b"null":
        raise Failure(bytes(reply.error))
    return reply
