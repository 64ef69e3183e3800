"""What the messages wire has no word for: such a request goes to another provider rather than lose something."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from asahi_anthropic.objects import members
from asahi_anthropic.turns import image_of, split_system
from asahi_kernel import Message, Part, Request, ToolCall

_IMAGES = ("data:image/jpeg;base64,", "data:image/png;base64,", "data:image/gif;base64,", "data:image/webp;base64,")
_LONGEST_HEAD = 64
_ID = re.compile(r"[A-Za-z0-9_-]+")
_CHOICES = frozenset({b"", b'"auto"', b'"required"', b'"none"'})
_FUNCTION = frozenset({"type", "function"})
_SCHEMA = frozenset({"name", "schema", "strict"})
_FURTHER = frozenset({"parallel_tool_calls"})

_text = msgspec.json.Decoder(str).decode


def refusal(request: Request) -> str:
    """The first thing in the request that would be lost, in a few words; nothing if all arrives."""
    if request.wire == "anthropic":
        return ""
    return next(_sampling(request), "") or next(_shape(request), "") or next(_messages(request), "")


def _sampling(request: Request) -> Iterator[str]:
    if request.n > 1:
        yield "gives one answer, not n"
    if request.seed is not None:
        yield "knows no seed"
    if request.temperature is not None and request.temperature > 1:
        yield "takes a temperature of at most 1"
    if any(not stop.strip() for stop in request.stop):
        yield "takes no blank stop sequence"
    if other := next((name for name, _ in request.options if name not in _FURTHER), None):
        yield f"knows no {other}"


def _shape(request: Request) -> Iterator[str]:
    if any(tool.type != "function" or tool.extra for tool in request.tools):
        yield "takes function tools only"
    if request.tool_choice not in _CHOICES and not _names_a_function(request.tool_choice):
        yield "knows no such tool_choice"
    if request.response_format and not _is_schema_alone(request.response_format):
        yield "answers in plain text or by a JSON Schema without a description"


def _messages(request: Request) -> Iterator[str]:
    _, turns = split_system(request.messages)
    if not any(turn.role in ("user", "tool") for turn in turns):
        yield "needs a turn of the user"
    elif turns[-1].role == "assistant":
        yield "would go on with the last turn of the assistant rather than answer it"
    for message in request.messages:
        yield from _message(message)


def _message(message: Message) -> Iterator[str]:
    if message.name is not None and message.role != "tool":
        yield "has no names of speakers"
    if message.extra:
        yield "takes no further fields of messages"
    if message.tool_calls and not all(map(_callable, message.tool_calls)):
        yield "takes tool calls with a JSON object as arguments only"
    if isinstance(message.content, tuple):
        for part in message.content:
            yield from _part(part, message.role)


def _part(part: Part, role: str) -> Iterator[str]:
    if part.type == "text":
        if part.raw:
            yield "takes no further fields of a text"
    elif part.type != "image_url":
        yield f"takes no {part.type} parts"
    elif role not in ("user", "tool"):
        yield "takes images of the user only"
    else:
        url, detail = image_of(part)
        if detail != "auto":
            yield "knows no detail of an image"
        if url[:5].lower() == "data:" and not url[:_LONGEST_HEAD].lower().startswith(_IMAGES):
            yield "takes images as JPEG, PNG, GIF or WebP only"


def _callable(call: ToolCall) -> bool:
    if call.type != "function" or call.extra or not _ID.fullmatch(call.id):
        return False
    if not call.arguments.strip():
        return True
    try:
        members(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _names_a_function(choice: bytes) -> bool:
    told = members(choice) if choice[:1] == b"{" else {}
    return told.keys() == _FUNCTION and bytes(told["type"]) == b'"function"'


def _is_schema_alone(response_format: bytes) -> bool:
    told = members(response_format)
    kind = _text(told["type"])
    if kind == "text":
        return len(told) == 1
    return kind == "json_schema" and len(told) == 2 and members(told["json_schema"]).keys() <= _SCHEMA
