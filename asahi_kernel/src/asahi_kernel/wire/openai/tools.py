"""OpenAI's tools as ours."""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Tool
from asahi_kernel.wire.names import leftover, packed

Json: TypeAlias = dict[str, object]


class Function(Struct, frozen=True):
    """The function of a tool as it is sent."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class Offer(Struct, frozen=True):
    """One tool as it is sent; further members are found in the tree."""

    type: Annotated[str, Meta(min_length=1, max_length=64)]
    function: Function | None = None


_OFFER = frozenset(Offer.__struct_fields__)
_FUNCTION = frozenset(Function.__struct_fields__)

_encode = msgspec.json.Encoder().encode


def read_tools(offers: list[Offer], tree: object, strict: bool) -> tuple[Tool, ...]:
    """All tools, in order. `extra` is what is left of a tool's object, and of its function under `function`; a tool of
    another type is in `extra` whole but for its type."""
    pairs = enumerate(zip(offers, cast("list[Json]", tree), strict=True))
    return tuple(_tool(offer, raw, f"tools[{at}]", strict) for at, (offer, raw) in pairs)


def _tool(offer: Offer, raw: Json, where: str, strict: bool) -> Tool:
    if offer.type != "function":
        return Tool(type=offer.type, name=_name(raw, offer.type), extra=packed(_without_type(raw)))
    function = offer.function
    if function is None:
        raise Invalid(f"`{where}.function` is required", param=f"{where}.function")
    extra = leftover(raw, _OFFER, _OFFER, where, strict)
    inner = leftover(cast("Json", raw["function"]), _FUNCTION, _FUNCTION, f"{where}.function", strict)
    if inner:
        extra["function"] = inner
    return Tool(
        name=function.name,
        description=function.description,
        parameters=b"" if function.parameters is None else _encode(function.parameters),
        strict=function.strict,
        extra=packed(extra),
    )


def _without_type(raw: Json) -> Json:
    return {name: value for name, value in raw.items() if name != "type"}


def _name(raw: Json, kind: str) -> str:
    holder = raw.get(kind)
    name = holder.get("name") if isinstance(holder, dict) else raw.get("name")
    return name if isinstance(name, str) else ""
