"""What Cohere's chat wire has no word for: such a request goes to another provider rather than lose something."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from asahi_kernel import Message, Part, Request

_MOST_STOPS = 5
_CHOICES = frozenset({b"", b'"auto"', b'"required"', b'"none"'})
_SCHEMA = frozenset({"name", "schema", "strict"})
_PARALLEL = {"parallel_tool_calls": b"true"}

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_text = msgspec.json.Decoder(str).decode


def refusal(request: Request) -> str:
    """The first thing in the request that would be lost, in a few words; nothing if all arrives."""
    return next(_sampling(request), "") or next(_shape(request), "") or next(_messages(request), "")


def _sampling(request: Request) -> Iterator[str]:
    if request.n > 1:
        yield "gives one answer, not n"
    if request.top_p is not None and not 0.01 <= request.top_p <= 0.99:
        yield "takes a top_p from 0.01 to 0.99"
    if len(request.stop) > _MOST_STOPS:
        yield f"takes at most {_MOST_STOPS} stop sequences"
    if other := next((name for name, value in request.options if _PARALLEL.get(name) != value), None):
        yield f"knows no {other}"


def _shape(request: Request) -> Iterator[str]:
    if any(tool.type != "function" or tool.extra for tool in request.tools):
        yield "takes function tools only"
    if len({bool(tool.strict) for tool in request.tools}) > 1:
        yield "holds all tools to their schemas or none"
    if request.tool_choice not in _CHOICES:
        yield "cannot be told which tool to call"
    if request.response_format and (reason := _format(request)):
        yield reason


def _format(request: Request) -> str:
    told = _members(request.response_format)
    kind = _text(told["type"])
    if kind == "text":
        return "" if len(told) == 1 else "knows no such response_format"
    if request.tools:
        return "takes a response_format or tools, not both"
    if kind == "json_object":
        return "" if len(told) == 1 else "knows no such response_format"
    whole = kind == "json_schema" and len(told) == 2 and _members(told["json_schema"]).keys() <= _SCHEMA
    return "" if whole else "answers in plain text, JSON, or by a JSON Schema without a description"


def _messages(request: Request) -> Iterator[str]:
    for message in request.messages:
        if message.name is not None and message.role != "tool":
            yield "has no names of speakers"
        if message.extra:
            yield "takes no further fields of messages"
        if any(call.type != "function" or call.extra for call in message.tool_calls):
            yield "takes calls of functions only"
        if isinstance(message.content, tuple):
            for part in message.content:
                yield from _part(message, part)


def _part(message: Message, part: Part) -> Iterator[str]:
    if part.type == "text":
        if part.raw:
            yield "takes no further fields of a text"
    elif part.type != "image_url":
        yield f"takes no {part.type} parts"
    elif message.role != "user":
        yield "takes images of the user only"
