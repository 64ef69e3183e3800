"""Decodes the body of `POST /v1/chat/completions`; nothing that is sent is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid, TooLarge
from asahi_kernel.types import Message, Request, Terms, Tool
from asahi_kernel.wire.asked import Asked
from asahi_kernel.wire.fields import NAMES, AsahiFields, Bound, ModelName, Tags
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.names import refuse
from asahi_kernel.wire.openai.messages import Json, Turn, holds_vendor_fields, read_messages
from asahi_kernel.wire.openai.tools import Offer, read_tools
from asahi_kernel.wire.terms import document_of, examples_of, gather, idempotency_key, model_of, terms_of

MOST_MESSAGES = 10_000

Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
Bias: TypeAlias = Annotated[float, Meta(ge=-100, le=100)]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Stop: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1_000)]
EndUser: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[^\x00-\x1f\x7f-\x9f]{0,512}\Z",
        description="at most 512 characters without control characters",
    ),
]


class Typed(Struct, frozen=True):
    """An object of which only the type matters here."""

    type: Word


class Format(Struct, frozen=True):
    """The shape the answer must have; further members go on as they are."""

    type: Word
    json_schema: Json | None = None


class StreamOptions(Struct, frozen=True):
    """What a stream is to hold beside the answer; further members go on as they are."""

    include_usage: bool | None = None


class Body(AsahiFields, frozen=True, kw_only=True):
    """The whole body as it is sent; further members are found in the tree."""

    model: ModelName
    messages: Annotated[list[Turn], Meta(min_length=1)]
    audio: Json | None = None
    frequency_penalty: Penalty | None = None
    function_call: Word | Json | None = None
    functions: list[Json] | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Bound | None = None
    max_tokens: Bound | None = None
    metadata: Tags | None = None
    modalities: list[Word] | None = None
    moderation: Json | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: Typed | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=1_024)] | None = None
    prompt_cache_options: Json | None = None
    prompt_cache_retention: Word | None = None
    reasoning_effort: Word | None = None
    response_format: Format | None = None
    safety_identifier: Annotated[str, Meta(max_length=128)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    service_tier: Word | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tool_choice: Word | Json | None = None
    tools: list[Offer] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: EndUser | None = None
    verbosity: Word | None = None
    web_search_options: Json | None = None


# Fields that have a place of their own in the request; the others are its options.
PLACED = NAMES | {
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "n",
    "response_format",
    "seed",
    "stop",
    "stream",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
    "user",
}
_KNOWN = frozenset(Body.__struct_fields__)
# Options that other wires have a word of their own for.
_PORTABLE = frozenset({"parallel_tool_calls"})

_encode = msgspec.json.Encoder().encode


#: Fields by which some hosts of this wire let a caller name another model than the one that was admitted and priced.
STEERING = frozenset({"models", "route", "provider", "fallbacks"})


def decode(body: bytes, headers: Mapping[str, str], *, strict_fields: bool = False) -> Asked:
    """What is asked; header names are in lower case. Raises Invalid, InvalidJSON or TooLarge.

    A new vendor field is kept as an option unless `strict_fields`; a misspelt one is always refused.
    """
    tree = gather(body, headers)
    _count(tree.get("messages"))
    said = checked(tree, Body)
    options = tuple(_options(tree, strict_fields))
    messages = read_messages(said.messages, tree["messages"], strict_fields)
    tools = read_tools(said.tools, tree["tools"], strict_fields) if said.tools else ()
    return Asked(
        request=_request(said, tree, messages, tools, options, headers),
        user_id=said.user_id,
        organization_id=said.organization_id,
        end_user=said.user or None,
        idempotency_key=idempotency_key(headers),
        deadline_s=said.deadline_s,
        include_usage=said.stream_options is not None and said.stream_options.include_usage is True,
        mode_stated=said.routing_mode is not None,
    )


def _count(messages: object) -> None:
    if isinstance(messages, list) and len(messages) > MOST_MESSAGES:
        raise TooLarge(f"`messages` must be a list of at most {MOST_MESSAGES} items", param="messages")


def _request(
    said: Body,
    tree: Json,
    messages: tuple[Message, ...],
    tools: tuple[Tool, ...],
    options: tuple[tuple[str, bytes], ...],
    headers: Mapping[str, str],
) -> Request:
    model = model_of(said, said.model)
    return Request(
        messages=messages,
        model=model,
        max_tokens=_max_tokens(said),
        temperature=said.temperature,
        top_p=said.top_p,
        stop=_stop(said.stop),
        seed=said.seed,
        n=said.n or 1,
        tools=tools,
        tool_choice=b"" if said.tool_choice is None else _encode(said.tool_choice),
        response_format=_format(said, tree),
        document=document_of(said),
        examples=examples_of(said),
        wire="openai" if _beyond(options) or _is_ours_alone(tree, messages, tools) else "",
        options=options,
        optimize_tokens=said.optimize_tokens,
        enrich_with_features=said.enrich_with_features,
        allow_batching=said.allow_batching,
        terms=_terms(said, model, headers),
    )


def _beyond(options: tuple[tuple[str, bytes], ...]) -> bool:
    return any(name not in _PORTABLE for name, _ in options)


def _is_ours_alone(tree: Json, messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> bool:
    return any(tool.extra for tool in tools) or holds_vendor_fields(messages, tree["messages"])


def _terms(said: Body, model: str | None, headers: Mapping[str, str]) -> Terms:
    terms = terms_of(said, model, said.stream is True, headers)
    return msgspec.structs.replace(terms, tags=tags_of(said, said.metadata)) if said.metadata else terms


def tags_of(said: AsahiFields, metadata: Mapping[str, str]) -> Mapping[str, str]:
    """The vendor's `metadata` and our `tags` together, which must not differ."""
    tags = {**metadata, **said.tags}
    if any(tags[name] != value for name, value in metadata.items()):
        raise Invalid("`metadata` and `tags` differ", code="conflicting_fields", param="tags")
    if len(tags) > 16:
        raise Invalid("`metadata` and `tags` must be at most 16 together", param="metadata")
    return tags


def _max_tokens(said: Body) -> int | None:
    old, new = said.max_tokens, said.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise Invalid("`max_tokens` and `max_completion_tokens` differ", code="conflicting_fields", param="max_tokens")
    return old if new is None else new


def _format(said: Body, tree: Json) -> bytes:
    given = said.response_format
    if given is None:
        return b""
    if given.type == "json_schema" and given.json_schema is None:
        raise Invalid("`response_format.json_schema` is required", param="response_format.json_schema")
    return _encode(tree["response_format"])


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def _options(tree: Json, strict: bool) -> list[tuple[str, bytes]]:
    names = tree.keys() - PLACED
    if not names:
        return []
    if steering := names & STEERING:
        name = min(steering)
        hint = f"`{name}` would choose a model behind Asahi's back; use `model`"
        raise Invalid(hint, code="unknown_field", param=name)
    refuse(names, _KNOWN, NAMES, "", strict)
    pairs = [(name, _option(name, tree[name])) for name in sorted(names)]
    return [(name, value) for name, value in pairs if value]


def _option(name: str, value: object) -> bytes:
    """The option as JSON, or nothing where it says no more than its absence."""
    if name in _KNOWN and value is None:
        return b""
    if name == "stream_options" and isinstance(value, dict):
        rest = {inner: member for inner, member in value.items() if inner != "include_usage"}
        return _encode(rest) if rest else b""
    return _encode(value)
