"""OpenAI's messages as ours: a part we do not understand is kept whole in `raw`, the rest of a turn in `extra`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Message, Part, ToolCall
from asahi_kernel.wire.names import leftover, packed
from asahi_kernel.wire.strict import text_is_blank

Json: TypeAlias = dict[str, object]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]


class CalledFunction(Struct, frozen=True):
    """The function of a tool call as it is sent."""

    name: Name
    arguments: str = ""


class CalledCustom(Struct, frozen=True):
    """The free-form tool of a tool call as it is sent."""

    name: Name
    input: str = ""


class Call(Struct, frozen=True):
    """One tool call as it is sent."""

    id: Annotated[str, Meta(max_length=1024)]
    type: str = "function"
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class Turn(Struct, frozen=True):
    """One message as it is sent; further members are found in the tree."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Json] | None = None
    name: Name | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: Annotated[str, Meta(max_length=1024)] | None = None


_TAKEN = frozenset(Turn.__struct_fields__)
_KNOWN = _TAKEN | {"refusal", "audio", "function_call", "annotations"}
_PLAIN = frozenset({"role", "content", "name"})
_CALL = frozenset({"id", "type", "function", "custom"})
# Parts that every wire can say in its own way, as long as they hold nothing else.
_PORTABLE = frozenset({"text", "image_url", "input_audio", "file"})
_FUNCTION = frozenset(CalledFunction.__struct_fields__)
_CUSTOM = frozenset(CalledCustom.__struct_fields__)
_WEB = re.compile(r"https?://[^\x00-\x20/?#\\]+[^\x00-\x20]*\Z", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode


def read_messages(turns: list[Turn], tree: object, strict: bool) -> tuple[Message, ...]:
    """All messages, in order; `tree` is the list the turns were made of."""
    raws = cast("list[Json]", tree)
    messages = tuple(_message(turn, raw, at, strict) for at, (turn, raw) in enumerate(zip(turns, raws, strict=True)))
    asked = [message for message in messages if message.role == "user"] or messages
    if all(_blank(message) for message in asked):
        raise Invalid("`messages` must hold a question that is not blank", param="messages")
    return messages


def holds_vendor_fields(messages: tuple[Message, ...], tree: object) -> bool:
    """Whether any message holds what only a provider of this wire can be told."""
    return any(_beyond(message, raw) for message, raw in zip(messages, cast("list[Json]", tree), strict=True))


def _message(turn: Turn, raw: Json, at: int, strict: bool) -> Message:
    role, content = turn.role, turn.content
    if len(raw) == 2 and isinstance(content, str) and role != "tool" and role != "function":
        return Message(role, content)
    where = f"messages[{at}]"
    _require(turn, raw, where)
    extra = leftover(raw, _TAKEN, _KNOWN, where, strict)
    if role == "function":
        extra["role"] = role
    return Message(
        "tool" if role == "function" else role,
        tuple(_parts(content, f"{where}.content")) if isinstance(content, list) else content,
        turn.name,
        tuple(_calls(turn.tool_calls, raw["tool_calls"], where, strict)) if turn.tool_calls else (),
        turn.tool_call_id,
        packed(extra),
    )


def _beyond(message: Message, raw: Json) -> bool:
    if message.extra or any(call.extra for call in message.tool_calls):
        return True
    if not isinstance(message.content, tuple):
        return False
    return any(len(part) > 2 or part["type"] not in _PORTABLE for part in cast("list[Json]", raw["content"]))


def _require(turn: Turn, raw: Json, where: str) -> None:
    silent = turn.role == "function" or (turn.role == "assistant" and not raw.keys() <= _PLAIN)
    if turn.content is None and not silent:
        raise Invalid(f"`{where}.content` is required", param=f"{where}.content")
    if turn.role == "tool" and turn.tool_call_id is None:
        raise Invalid(f"`{where}.tool_call_id` is required", param=f"{where}.tool_call_id")


def _parts(parts: list[Json], where: str) -> Iterator[Part]:
    for at, part in enumerate(parts):
        kind = part.get("type")
        if not isinstance(kind, str):
            raise Invalid(f"`{where}[{at}].type` must be a string", param=f"{where}[{at}].type")
        if kind == "text":
            yield _text(part, f"{where}[{at}]")
        else:
            _check_address(kind, part, f"{where}[{at}]")
            yield Part(kind, None, _encode(part))


def _text(part: Json, where: str) -> Part:
    text = part.get("text")
    if not isinstance(text, str):
        raise Invalid(f"`{where}.text` must be a string", param=f"{where}.text")
    return Part("text", text, _encode(part) if len(part) > 2 else b"")


def _check_address(kind: str, part: Json, where: str) -> None:
    """A part such as `image_url` holds an address of the web or data of its own kind; it is never fetched here."""
    if not kind.endswith("_url"):
        return
    holder = part.get(kind)
    url = holder.get("url") if isinstance(holder, dict) else None
    medium = kind.removesuffix("_url")
    if isinstance(url, str) and is_address(url, medium):
        return
    place = f"{where}.{kind}.url"
    raise Invalid(f"`{place}` must be an http(s) address or `data:{medium}/…;base64,…`", param=place)


def is_address(url: str, medium: str) -> bool:
    """Whether it is an address of the web, or data of this medium such as `image`."""
    return bool(_WEB.match(url)) or _is_data(url, medium)


def _is_data(url: str, medium: str) -> bool:
    head = url[:256].lower()
    return head.startswith(f"data:{medium}/") and ";base64," in head


def _calls(calls: list[Call], tree: object, where: str, strict: bool) -> Iterator[ToolCall]:
    for at, (call, raw) in enumerate(zip(calls, cast("list[Json]", tree), strict=True)):
        yield _call(call, raw, f"{where}.tool_calls[{at}]", strict)


def _call(call: Call, raw: Json, where: str, strict: bool) -> ToolCall:
    if call.type == "function" and call.function is not None:
        name, arguments, taken = call.function.name, call.function.arguments, _FUNCTION
    elif call.type == "custom" and call.custom is not None:
        name, arguments, taken = call.custom.name, call.custom.input, _CUSTOM
    else:
        raise Invalid(f"`{where}` must be of type 'function' or 'custom', with an object of that name", param=where)
    extra = leftover(raw, _CALL, _CALL, where, strict)
    inner = leftover(cast("Json", raw[call.type]), taken, taken, f"{where}.{call.type}", strict)
    if inner:
        extra[call.type] = inner
    return ToolCall(id=call.id, name=name, arguments=arguments, type=call.type, extra=packed(extra))


def _blank(message: Message) -> bool:
    content = message.content
    if isinstance(content, str):
        return text_is_blank(content)
    return all(part.type == "text" and text_is_blank(part.text or "") for part in content or ())
