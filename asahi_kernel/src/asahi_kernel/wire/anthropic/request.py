"""Decodes the bodies of `POST /v1/messages` and of its count of tokens; nothing that is sent is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid, TooLarge
from asahi_kernel.types import Request
from asahi_kernel.wire.anthropic.messages import Turn, beyond, read_messages, read_system
from asahi_kernel.wire.anthropic.tools import Offer, Pick, read_choice, read_tools
from asahi_kernel.wire.asked import Asked
from asahi_kernel.wire.fields import NAMES, AsahiFields, ModelName
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.names import refuse
from asahi_kernel.wire.terms import document_of, examples_of, gather, idempotency_key, model_of, terms_of

MOST_MESSAGES = 10_000
#: The most stop sequences that every wire takes.
_MOST_STOPS = 4

Json: TypeAlias = dict[str, object]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Stop: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1_000)]
Bound: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
EndUser: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[^\x00-\x1f\x7f-\x9f]{0,512}\Z",
        description="at most 512 characters without control characters",
    ),
]


class Metadata(Struct, frozen=True):
    """Labels of the request; further members go on as they are."""

    user_id: EndUser | None = None


class Body(AsahiFields, frozen=True, kw_only=True):
    """The whole body as it is sent; further members are found in the tree."""

    model: ModelName
    messages: Annotated[list[Turn], Meta(min_length=1)]
    max_tokens: Bound
    cache_control: Json | None = None
    container: str | Json | None = None
    diagnostics: Json | None = None
    inference_geo: Word | None = None
    metadata: Metadata | None = None
    output_config: Json | None = None
    service_tier: Word | None = None
    speed: Word | None = None
    stop_sequences: Annotated[list[Stop], Meta(max_length=8_192)] | None = None
    stream: bool | None = None
    system: str | list[Json] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    thinking: Json | None = None
    tool_choice: Pick | None = None
    tools: list[Offer] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None


#: Fields by which a caller would name another model, account or credential than those that were admitted and priced.
STEERING = frozenset({"models", "route", "provider", "fallbacks", "workspace_id", "user_profile_id"})
#: Fields that have a place of their own in the request; the others are its options.
PLACED = NAMES | {
    "model",
    "messages",
    "max_tokens",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
}
_KNOWN = frozenset(Body.__struct_fields__)

_encode = msgspec.json.Encoder().encode


def decode(body: bytes, headers: Mapping[str, str], *, strict_fields: bool = False) -> Asked:
    """What is asked; header names are in lower case. Raises Invalid, InvalidJSON or TooLarge.

    A new vendor field is kept as an option unless `strict_fields`; a misspelt one is always refused.
    """
    return _asked(gather(body, headers), headers, strict_fields)


def decode_count(body: bytes, headers: Mapping[str, str], *, strict_fields: bool = False) -> Asked:
    """The same for a count of input tokens, which needs no `max_tokens`."""
    return _asked({"max_tokens": 1, **gather(body, headers)}, headers, strict_fields)


def _asked(tree: Json, headers: Mapping[str, str], strict: bool) -> Asked:
    turns = tree.get("messages")
    if isinstance(turns, list) and len(turns) > MOST_MESSAGES:
        raise TooLarge(f"`messages` must be a list of at most {MOST_MESSAGES} items", param="messages")
    said = checked(tree, Body)
    return Asked(
        request=_request(said, tree, headers, strict),
        user_id=said.user_id,
        organization_id=said.organization_id,
        end_user=(said.metadata.user_id if said.metadata else None) or None,
        idempotency_key=idempotency_key(headers),
        deadline_s=said.deadline_s,
        mode_stated=said.routing_mode is not None,
    )


def _request(said: Body, tree: Json, headers: Mapping[str, str], strict: bool) -> Request:
    model = model_of(said, said.model)
    options = _options(tree, strict)
    messages = read_system(said.system) + read_messages(said.messages, tree["messages"], strict)
    tools = read_tools(said.tools, tree["tools"], strict) if said.tools else ()
    choice, parallel = _choice(said, tree, options)
    response_format = _format(said, options)
    stop = tuple(said.stop_sequences or ())
    alone = bool(options) or beyond(messages) or any(tool.extra for tool in tools)
    alone = alone or said.max_tokens == 0 or len(stop) > _MOST_STOPS
    if not parallel:
        options["parallel_tool_calls"] = b"false"
    return Request(
        messages=messages,
        model=model,
        max_tokens=said.max_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        stop=stop,
        tools=tools,
        tool_choice=choice,
        response_format=response_format,
        document=document_of(said),
        examples=examples_of(said),
        wire="anthropic" if alone else "",
        options=tuple(sorted(options.items())),
        optimize_tokens=said.optimize_tokens,
        enrich_with_features=said.enrich_with_features,
        allow_batching=said.allow_batching,
        terms=terms_of(said, model, said.stream is True, headers),
    )


def _options(tree: Json, strict: bool) -> dict[str, bytes]:
    names = tree.keys() - PLACED
    if not names:
        return {}
    if steering := names & STEERING:
        name = min(steering)
        hint = f"`{name}` would choose a model or an account behind Asahi's back"
        raise Invalid(hint, code="unknown_field", param=name)
    refuse(names, _KNOWN, NAMES, "", strict)
    pairs = {name: _option(name, tree[name]) for name in names}
    return {name: value for name, value in pairs.items() if value}


def _option(name: str, value: object) -> bytes:
    """The option as JSON, or nothing where it says no more than its absence."""
    if name in _KNOWN and value is None:
        return b""
    if name == "metadata" and isinstance(value, dict):
        rest = {inner: member for inner, member in value.items() if inner != "user_id"}
        return _encode(rest) if rest else b""
    return _encode(value)


def _choice(said: Body, tree: Json, options: dict[str, bytes]) -> tuple[bytes, bool]:
    if said.tool_choice is None:
        return b"", True
    choice, parallel, raw = read_choice(said.tool_choice, tree["tool_choice"])
    if raw:
        options["tool_choice"] = raw
    return choice, parallel


def _format(said: Body, options: dict[str, bytes]) -> bytes:
    """A JSON Schema in our words; the rest of the output's configuration stays an option."""
    config = said.output_config
    wanted = config.get("format") if config else None
    if not isinstance(wanted, dict) or wanted.keys() != {"type", "schema"} or wanted["type"] != "json_schema":
        return b""
    rest = {name: value for name, value in (config or {}).items() if name != "format" and value is not None}
    del options["output_config"]
    if rest:
        options["output_config"] = _encode(rest)
    named = {"name": "answer", "schema": wanted["schema"], "strict": True}
    return _encode({"type": "json_schema", "json_schema": named})
