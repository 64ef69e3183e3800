"""Anthropic's turns as our messages: what every wire can say becomes neutral, any other block is kept whole.

A turn of the user with results of tools becomes one `tool` message for each and a `user` message for the rest. Calls at
the end of a turn of the assistant become its `tool_calls`. `Message.extra` of a `tool` message holds further members of
the result's block, else of the turn; `ToolCall.extra` those of the call's block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Message, Part, ToolCall
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.names import leftover, packed
from asahi_kernel.wire.strict import text_is_blank

Json: TypeAlias = dict[str, object]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]


class Turn(Struct, frozen=True):
    """One message as it is sent; further members are found in the tree."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Json]


class TextBlock(Struct, frozen=True):
    """A text as it is sent."""

    text: str


class ToolUse(Struct, frozen=True):
    """A call of a tool as it is sent."""

    id: Id
    name: Name
    input: Json


class ToolResult(Struct, frozen=True):
    """The result of a tool as it is sent."""

    tool_use_id: Id
    content: str | list[Json] | None = None
    is_error: bool | None = None


class Base64Source(Struct, frozen=True, tag_field="type", tag="base64", forbid_unknown_fields=True):
    """An image in the request itself."""

    media_type: str
    data: str


class UrlSource(Struct, frozen=True, tag_field="type", tag="url", forbid_unknown_fields=True):
    """An image at an address, which only the provider fetches."""

    url: str


_PLAIN = frozenset({"role", "content"})
_MARKS = frozenset({"cache_control", "caller", "citations", "toolset_name"})
_TEXT = frozenset({"type", "text"})
_IMAGE = frozenset({"type", "source"})
_CALL = frozenset({"type", "id", "name", "input"})
_RESULT = frozenset({"type", "tool_use_id", "content"})
_MEDIUM = re.compile(r"image/[a-z0-9.+-]{1,32}", re.IGNORECASE)
_WEB = re.compile(r"https?://[^\x00-\x20/?#\\]+[^\x00-\x20]*\Z", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode


def read_messages(turns: list[Turn], tree: object, strict: bool) -> tuple[Message, ...]:
    """All messages, in order; `tree` is the list the turns were made of."""
    raws = cast("list[Json]", tree)
    messages: list[Message] = []
    for at, (turn, raw) in enumerate(zip(turns, raws, strict=True)):
        if len(raw) == 2 and isinstance(turn.content, str):
            messages.append(Message(turn.role, turn.content))
        else:
            messages += _read(turn, raw, f"messages[{at}]", strict)
    asked = [message for message in messages if message.role == "user"] or messages
    if all(_blank(message) for message in asked):
        raise Invalid("`messages` must hold a question that is not blank", param="messages")
    return tuple(messages)


def read_system(system: str | list[Json] | None) -> tuple[Message, ...]:
    """The system prompt as the first message, if there is one."""
    if not system:
        return ()
    return (Message("system", system if isinstance(system, str) else _content(system, "system")),)


def beyond(messages: tuple[Message, ...]) -> bool:
    """Whether any message holds what only a provider of this wire can be told; such as an answer that is begun."""
    return messages[-1].role == "assistant" or any(_is_beyond(message) for message in messages)


def _read(turn: Turn, raw: Json, where: str, strict: bool) -> Iterator[Message]:
    extra = packed(leftover(raw, _PLAIN, _PLAIN, where, strict)) if len(raw) > 2 else b""
    content = turn.content
    if isinstance(content, str):
        yield Message(turn.role, content, extra=extra)
    elif turn.role == "assistant":
        start = _first_call(content)
        calls = tuple(_call(block, f"{where}.content[{at}]") for at, block in enumerate(content[start:], start))
        yield Message(turn.role, _content(content[:start], f"{where}.content"), tool_calls=calls, extra=extra)
    else:
        yield from _split(turn, content, extra, f"{where}.content")


def _split(turn: Turn, content: list[Json], extra: bytes, where: str) -> Iterator[Message]:
    said: list[Part] = []
    messages: list[Message] = []
    for at, block in enumerate(content):
        if block.get("type") == "tool_result" and turn.role == "user":
            if said:
                messages.append(Message("user", _joined(said)))
                said = []
            messages.append(_result(block, f"{where}[{at}]"))
        else:
            said.append(_part(block, f"{where}[{at}]"))
    if said or not messages:
        yield from messages
        yield Message(turn.role, _joined(said), extra=extra)
        return
    if extra:
        raise Invalid(f"`{where}` holds results of tools, whose turn takes no further fields", param=where)
    yield from messages


def _first_call(content: list[Json]) -> int:
    start = len(content)
    while start and content[start - 1].get("type") == "tool_use":
        start -= 1
    return start


def _content(blocks: list[Json], where: str) -> str | tuple[Part, ...]:
    return _joined([_part(block, f"{where}[{at}]") for at, block in enumerate(blocks)])


def _joined(parts: list[Part]) -> str | tuple[Part, ...]:
    """A single plain text is the same as the text alone."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].text is not None and not parts[0].raw:
        return parts[0].text
    return tuple(parts)


def _part(block: Json, where: str) -> Part:
    kind = block.get("type")
    if kind == "text":
        text = checked(block, TextBlock, where).text
        return Part("text", text) if _is_plain(block, _TEXT) else Part("text", text, _encode(block))
    if not isinstance(kind, str):
        raise Invalid(f"`{where}.type` must be a string", param=f"{where}.type")
    if kind == "image" and (address := _address(block, where)) and _is_plain(block, _IMAGE):
        return Part("image_url", None, _encode({"type": "image_url", "image_url": {"url": address}}))
    return Part(kind, None, _encode(block))


def _is_plain(block: Json, taken: frozenset[str]) -> bool:
    """Whether nothing else is said; a mark that is null says nothing."""
    return len(block) == len(taken) or not any(_says(name, block[name]) for name in block.keys() - taken)


def _address(block: Json, where: str) -> str:
    """The image as an address, or nothing for a source that only this wire knows."""
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if kind == "url":
        url = checked(source, UrlSource, f"{where}.source").url
        if not _WEB.match(url):
            raise Invalid(f"`{where}.source.url` must be an http(s) address", param=f"{where}.source.url")
        return url
    if kind != "base64":
        return ""
    image = checked(source, Base64Source, f"{where}.source")
    if not _MEDIUM.fullmatch(image.media_type):
        place = f"{where}.source.media_type"
        raise Invalid(f"`{place}` must be an image type such as 'image/png'", param=place)
    return f"data:{image.media_type};base64,{image.data}"


def _call(block: Json, where: str) -> ToolCall:
    told = checked(block, ToolUse, where)
    arguments = _encode(told.input).decode()
    return ToolCall(id=told.id, name=told.name, arguments=arguments, extra=_further(block, _CALL))


def _result(block: Json, where: str) -> Message:
    told = checked(block, ToolResult, where)
    content: str | tuple[Part, ...] = told.content if isinstance(told.content, str) else ""
    if isinstance(told.content, list):
        content = _joined([_result_part(each, f"{where}.content[{at}]") for at, each in enumerate(told.content)])
    taken = _RESULT if told.is_error else _RESULT | {"is_error"}
    return Message("tool", content, tool_call_id=told.tool_use_id, extra=_further(block, taken))


def _result_part(block: Json, where: str) -> Part:
    """Other wires take results of tools as text only, so an image in one stays what it is."""
    part = _part(block, where)
    return Part("image", None, _encode(block)) if part.type == "image_url" else part


def _further(block: Json, taken: frozenset[str]) -> bytes:
    if len(block) <= len(taken) and block.keys() <= taken:
        return b""
    left = block.keys() - taken
    return packed({name: block[name] for name in block if name in left and _says(name, block[name])})


def _says(name: str, value: object) -> bool:
    return value is not None or name not in _MARKS


def _is_beyond(message: Message) -> bool:
    if message.extra or any(call.extra for call in message.tool_calls):
        return True
    if not isinstance(message.content, tuple):
        return False
    return any(part.raw and part.type != "image_url" for part in message.content)


def _blank(message: Message) -> bool:
    content = message.content
    if isinstance(content, str):
        return text_is_blank(content)
    return all(part.type == "text" and text_is_blank(part.text or "") for part in content or ())
