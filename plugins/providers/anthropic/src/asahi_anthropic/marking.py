"""Markers for the vendor's prompt cache, which keeps a beginning only where it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from asahi_anthropic.objects import join, members
from asahi_kernel import Message, Part, Request
from asahi_kernel.types import Place

#: In seconds, since a beginning was last read or written.
KEPT_S = 300.0
MOST = 4
_MARKER = b'{"cache_control":{"type":"ephemeral"}}'
_LEAST = 1_024
#: The models that keep nothing shorter than so many tokens, by what their names begin with.
_LEAST_OF: Mapping[str, int] = {
    "claude-opus-4-5": 4_096,
    "claude-opus-4-6": 4_096,
    "claude-haiku-4-5": 4_096,
    "claude-sonnet-4-6": 2_048,
    "claude-3-haiku": 2_048,
    "claude-3-5-haiku": 2_048,
}

_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace


def least_tokens(api_model: str) -> int:
    """The shortest beginning that the model keeps; a marker on a shorter one does nothing and costs nothing."""
    return next((least for name, least in _LEAST_OF.items() if api_model.startswith(name)), _LEAST)


def mark(request: Request, places: Sequence[Place]) -> Request:
    """The request with a marker at each place that can bear one."""
    tools, messages = list(request.tools), list(request.messages)
    for place in sorted(places, key=lambda each: (each.messages, each.characters), reverse=True):
        if place.characters:
            messages[place.messages] = _split(messages[place.messages], place.characters)
        elif place.messages:
            messages[place.messages - 1] = _marked(messages[place.messages - 1], request.wire)
        elif tools:
            tools[-1] = _replace(tools[-1], extra=_joined(tools[-1].extra))
    return _replace(request, tools=tuple(tools), messages=tuple(messages))


def _split(message: Message, characters: int) -> Message:
    assert isinstance(message.content, str)
    head, tail = message.content[:characters], message.content[characters:]
    return _replace(message, content=(_text(head), Part("text", tail)))


def _marked(message: Message, wire: str) -> Message:
    """The marker goes on the message's last block."""
    if message.role == "tool":
        return _replace(message, extra=_joined(message.extra))
    if message.tool_calls:
        last = _replace(message.tool_calls[-1], extra=_joined(message.tool_calls[-1].extra))
        return _replace(message, tool_calls=(*message.tool_calls[:-1], last))
    if isinstance(message.content, str):
        return _replace(message, content=(_text(message.content),)) if message.content else message
    parts = message.content or ()
    if not parts or not _bears(parts[-1], wire):
        return message
    last_part = parts[-1]
    if last_part.raw:
        return _replace(message, content=(*parts[:-1], _replace(last_part, raw=_joined(last_part.raw))))
    return _replace(message, content=(*parts[:-1], _text(last_part.text or "")))


def _bears(part: Part, wire: str) -> bool:
    if part.type == "text":
        return bool(part.raw or part.text)
    return wire == "anthropic" and bool(part.raw) and part.type not in ("thinking", "redacted_thinking")


def _text(text: str) -> Part:
    return Part("text", text, join({"type": b'"text"', "text": _encode(text)}, _MARKER))


def _joined(extra: bytes) -> bytes:
    return join(members(extra) if extra else {}, _MARKER)
