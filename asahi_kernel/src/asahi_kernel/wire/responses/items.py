"""The items of `input` as our messages: turns, calls of functions and their results.

A call joins the turn of the assistant before it. The id and status of an item say what the vendor's store knows of it,
and so say nothing here.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Message, Part, ToolCall
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.names import leftover, packed
from asahi_kernel.wire.openai.messages import is_address
from asahi_kernel.wire.strict import text_is_blank

Json: TypeAlias = dict[str, object]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]


class Turn(Struct, frozen=True):
    """A message as it is sent."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Json]


class Called(Struct, frozen=True):
    """A call of a function as it is sent."""

    call_id: Id
    name: Name
    arguments: str


class Returned(Struct, frozen=True):
    """The result of a function as it is sent."""

    call_id: Id
    output: str | list[Json]


#: What an item says of its place in a vendor's store, which is not here.
_STORED = frozenset({"id", "status"})
#: Where our own answers tell how the vendor ended them.
_ENDED = frozenset({"choice"})
_TURN = frozenset({"type", "role", "content"}) | _STORED
_CALLED = frozenset({"type", "call_id", "name", "arguments"}) | _STORED
_RETURNED = frozenset({"type", "call_id", "output"}) | _STORED
_NULLABLE = frozenset({"phase", "caller", "namespace", "async", "name", "prompt_cache_breakpoint"})
#: Members that only this wire knows. Others of the assistant's own items came from a vendor of the chat wire.
_HERE_ONLY = frozenset({"phase", "caller", "namespace", "async"})

_encode = msgspec.json.Encoder().encode


def read_items(items: list[Json], strict: bool) -> tuple[list[Message], bool, bool]:
    """The messages in order, whether any holds what only this wire has a word for, and whether nothing is asked."""
    reader = _Reader(strict)
    for at, item in enumerate(items):
        reader.read(item, f"input[{at}]")
    asked = [message for message in reader.messages if message.role == "user"] or reader.messages
    return reader.messages, reader.beyond, all(map(_blank, asked))


class _Reader:
    """Collects messages; `beyond` once something has no word on the chat wire."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self.messages: list[Message] = []
        self.beyond = False

    def read(self, item: Json, where: str) -> None:
        """Takes one item, or raises Invalid with the reason."""
        kind = item.get("type", "message")
        if kind == "message":
            self._turn(item, where)
        elif kind == "function_call":
            self._call(item, where)
        elif kind == "function_call_output":
            self._result(item, where)
        elif isinstance(kind, str):
            raise Invalid(f"`{where}` is of type {kind[:64]!r}: {_reason(kind)}", param=f"{where}.type")
        else:
            raise Invalid(f"`{where}.type` must be a string", param=f"{where}.type")

    def _turn(self, item: Json, where: str) -> None:
        turn = checked(item, Turn, where)
        extra = self._rest(item, _TURN, where, said=turn.role == "assistant")
        content: str | tuple[Part, ...]
        if isinstance(turn.content, str):
            content = turn.content
        else:
            content = self._content(turn.content, turn.role, extra, f"{where}.content")
        self.messages.append(Message(turn.role, content, extra=packed(extra)))

    def _content(self, parts: list[Json], role: str, extra: Json, where: str) -> str | tuple[Part, ...]:
        found: list[Part] = []
        for at, part in enumerate(parts):
            place = f"{where}[{at}]"
            if part.get("type") == "refusal" and role == "assistant":
                extra["refusal"] = _string(part, "refusal", place)
            else:
                found.append(self._part(part, role, extra, place))
        if len(found) == 1 and found[0].text is not None:
            return found[0].text
        return tuple(found) if found else ""

    def _part(self, part: Json, role: str, extra: Json, where: str) -> Part:
        match part.get("type"):
            case "input_text" | "output_text":
                taken = frozenset({"type", "text"})
                if role == "assistant":
                    taken |= {"annotations", "logprobs"}
                    if part.get("annotations"):
                        extra["annotations"] = part["annotations"]
                self._refuse_rest(part, taken, where)
                return Part("text", _string(part, "text", where))
            case "input_image" if role == "user":
                self._refuse_rest(part, frozenset({"type", "image_url", "detail"}), where)
                return _image(part, where)
            case "input_file" if role == "user":
                self._refuse_rest(part, frozenset({"type", "file_data", "filename", "detail"}), where)
                return _file(part, where)
            case kind:
                raise Invalid(
                    f"`{where}.type` {str(kind)[:64]!r} cannot be part of the {role}'s message", param=f"{where}.type"
                )

    def _call(self, item: Json, where: str) -> None:
        told = checked(item, Called, where)
        extra = packed(self._rest(item, _CALLED, where, said=True))
        call = ToolCall(id=told.call_id, name=told.name, arguments=told.arguments, extra=extra)
        last = self.messages[-1] if self.messages else None
        if last is not None and last.role == "assistant":
            self.messages[-1] = msgspec.structs.replace(last, tool_calls=(*last.tool_calls, call))
        else:
            self.messages.append(Message("assistant", None, tool_calls=(call,)))

    def _result(self, item: Json, where: str) -> None:
        told = checked(item, Returned, where)
        output = told.output
        if isinstance(output, list):
            texts = [self._text_of_result(part, f"{where}.output[{at}]") for at, part in enumerate(output)]
            output = "\n".join(texts)
        extra = packed(self._rest(item, _RETURNED, where, said=False))
        self.messages.append(Message("tool", output, tool_call_id=told.call_id, extra=extra))

    def _text_of_result(self, part: Json, where: str) -> str:
        if part.get("type") != "input_text":
            raise Invalid(
                f"`{where}` must be of type 'input_text': elsewhere results of functions are text", param=where
            )
        self._refuse_rest(part, frozenset({"type", "text"}), where)
        return _string(part, "text", where)

    def _rest(self, item: Json, taken: frozenset[str], where: str, *, said: bool) -> Json:
        """What is left of an item; `said` tells one that a model said before from one that the caller made."""
        taken = taken | _ENDED if said else taken
        rest = leftover(item, taken, taken | _NULLABLE, where, self._strict)
        self.beyond = self.beyond or bool(rest.keys() & _HERE_ONLY if said else rest)
        return rest

    def _refuse_rest(self, part: Json, taken: frozenset[str], where: str) -> None:
        """Parts are made anew for the chat wire, so that nothing else can come along."""
        for name in sorted(part.keys() - taken):
            if part[name] is not None:
                raise Invalid(
                    f"`{where}.{name[:64]}` has no counterpart elsewhere",
                    code="unknown_field",
                    param=f"{where}.{name[:64]}",
                )


def _image(part: Json, where: str) -> Part:
    url = part.get("image_url")
    if not isinstance(url, str) or not is_address(url, "image"):
        place = f"{where}.image_url"
        raise Invalid(f"`{place}` must be an http(s) address or `data:image/…;base64,…`", param=place)
    detail = part.get("detail")
    image: Json = {"url": url} if detail in (None, "auto") else {"url": url, "detail": detail}
    return Part("image_url", None, _encode({"type": "image_url", "image_url": image}))


def _file(part: Json, where: str) -> Part:
    if part.get("detail") not in (None, "auto"):
        raise Invalid(f"`{where}.detail` has no counterpart elsewhere", param=f"{where}.detail")
    told = {"file_data": _string(part, "file_data", where), "filename": part.get("filename") or "file"}
    return Part("file", None, _encode({"type": "file", "file": told}))


def _string(part: Json, name: str, where: str) -> str:
    text = part.get(name)
    if not isinstance(text, str):
        raise Invalid(f"`{where}.{name}` must be a string", param=f"{where}.{name}")
    return text


def _reason(kind: str) -> str:
    if kind == "item_reference":
        return "no item is kept; send the item itself"
    if kind == "reasoning":
        return "a vendor's reasoning means nothing to another model; leave the item out"
    return "only messages, function calls and their outputs are taken, since there are no built-in tools"


def _blank(message: Message) -> bool:
    content = message.content
    if isinstance(content, str):
        return text_is_blank(content) and not message.tool_calls
    return (
        all(part.type == "text" and text_is_blank(part.text or "") for part in content or ()) and not message.tool_calls
    )
