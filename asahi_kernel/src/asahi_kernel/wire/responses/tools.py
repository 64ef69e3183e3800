"""Tools and the choice among them, in the chat wire's shapes. Functions are the only tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Tool
from asahi_kernel.wire.mistakes import checked

Json: TypeAlias = dict[str, object]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]


class Function(Struct, frozen=True):
    """A function as it is sent."""

    name: Name
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Named(Struct, frozen=True, forbid_unknown_fields=True):
    """The one function that must be called."""

    type: str
    name: Name


_TAKEN = frozenset({"type", *Function.__struct_fields__})
_MODES = frozenset({"auto", "none", "required"})

_encode = msgspec.json.Encoder().encode


def read_tools(offers: list[Json]) -> tuple[Tool, ...]:
    """All tools, in order. A tool of the vendor's own is refused: it would run with a state that is not here."""
    return tuple(_tools(offers))


def read_choice(choice: object) -> bytes:
    """The choice of tools as JSON of the chat wire, or nothing."""
    if choice is None:
        return b""
    if isinstance(choice, str):
        if choice not in _MODES:
            raise Invalid(
                "`tool_choice` must be one of 'auto', 'none', 'required', or name a function", param="tool_choice"
            )
        return _encode(choice)
    if cast("Json", choice).get("type") != "function":
        raise Invalid("`tool_choice.type` must be 'function': there are no other tools", param="tool_choice.type")
    return _encode({"type": "function", "function": {"name": checked(choice, Named, "tool_choice").name}})


def _tools(offers: list[Json]) -> Iterator[Tool]:
    for at, offer in enumerate(offers):
        where, kind = f"tools[{at}]", offer.get("type")
        if kind != "function":
            raise Invalid(
                f"`{where}.type` {str(kind)[:64]!r} is not taken: built-in tools run with the vendor's state, and only "
                "functions, which the caller runs, can be offered to any model",
                param=f"{where}.type",
            )
        for name in sorted(offer.keys() - _TAKEN):
            if offer[name] is not None and offer[name] is not False:
                place = f"{where}.{name[:64]}"
                raise Invalid(f"`{place}` has no counterpart elsewhere", code="unknown_field", param=place)
        function = checked(offer, Function, where)
        yield Tool(
            name=function.name,
            description=function.description,
            parameters=b"" if function.parameters is None else _encode(function.parameters),
            strict=function.strict,
        )
