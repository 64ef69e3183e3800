"""Anthropic's tools, and which of them to call, as ours."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Tool
from asahi_kernel.wire.names import leftover, packed

Json: TypeAlias = dict[str, object]


class Offer(Struct, frozen=True):
    """One tool as it is sent; further members are found in the tree."""

    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    type: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    description: str | None = None
    input_schema: Json | None = None
    strict: bool | None = None


class Pick(Struct, frozen=True):
    """Which tools may or must be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


_OFFER = frozenset(Offer.__struct_fields__)
_MARKS = frozenset({"cache_control", "allowed_callers", "defer_loading", "eager_input_streaming", "input_examples"})
_PICK = frozenset(Pick.__struct_fields__)
_PICKS = {"auto": b'"auto"', "any": b'"required"', "none": b'"none"'}

_encode = msgspec.json.Encoder().encode


def read_tools(offers: list[Offer], tree: object, strict: bool) -> tuple[Tool, ...]:
    """All tools, in order. `extra` is what is left of a tool's object; a tool of the vendor's own is in `extra` whole
    but for its type."""
    pairs = enumerate(zip(offers, cast("list[Json]", tree), strict=True))
    return tuple(_tool(offer, raw, f"tools[{at}]", strict) for at, (offer, raw) in pairs)


def read_choice(pick: Pick, raw: object) -> tuple[bytes, bool, bytes]:
    """The choice in our words, whether calls may be parallel, and the choice as it came where we lack the words."""
    if cast("Json", raw).keys() - _PICK:
        return b"", True, _encode(raw)
    if pick.type == "tool" and not pick.name:
        raise Invalid("`tool_choice.name` is required", param="tool_choice.name")
    choice = _PICKS.get(pick.type) or _encode({"type": "function", "function": {"name": pick.name}})
    return choice, not pick.disable_parallel_tool_use or pick.type == "none", b""


def _tool(offer: Offer, raw: Json, where: str, strict: bool) -> Tool:
    if offer.type not in (None, "custom"):
        rest = {name: value for name, value in raw.items() if name != "type"}
        return Tool(type=offer.type or "", name=offer.name or "", extra=packed(rest))
    if offer.name is None or offer.input_schema is None:
        missing = f"{where}.{'name' if offer.name is None else 'input_schema'}"
        raise Invalid(f"`{missing}` is required", param=missing)
    return Tool(
        name=offer.name,
        description=offer.description,
        parameters=_encode(offer.input_schema),
        strict=offer.strict,
        extra=packed(leftover(raw, _OFFER, _OFFER | _MARKS, where, strict)),
    )
