"""Decodes the body of `POST /v1/responses` into the same request that the chat wire makes; nothing sent is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid, TooLarge
from asahi_kernel.types import Message, Request, Terms
from asahi_kernel.wire.asked import Asked
from asahi_kernel.wire.fields import NAMES, AsahiFields, Bound, ModelName, Tags
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.names import refuse
from asahi_kernel.wire.openai.messages import Json
from asahi_kernel.wire.openai.request import MOST_MESSAGES, STEERING, EndUser, Word, tags_of
from asahi_kernel.wire.responses.items import read_items
from asahi_kernel.wire.responses.tools import read_choice, read_tools
from asahi_kernel.wire.strict import text_is_blank
from asahi_kernel.wire.terms import document_of, examples_of, gather, idempotency_key, model_of, terms_of

WIRE = "responses"
LOGPROBS = "message.output_text.logprobs"
Options: TypeAlias = dict[str, bytes]


class Format(Struct, frozen=True, forbid_unknown_fields=True):
    """The shape that the text must have."""

    type: Word
    name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    schema: Json | None = None
    description: str | None = None
    strict: bool | None = None


class Text(Struct, frozen=True, forbid_unknown_fields=True):
    """What the text is to be like."""

    format: Format | None = None
    verbosity: Word | None = None


class Reasoning(Struct, frozen=True, forbid_unknown_fields=True):
    """How hard the model is to think; of what it thinks nothing is told."""

    effort: Word | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Padding of a stream's events, which Asahi never adds."""

    include_obfuscation: bool | None = None


class Body(AsahiFields, frozen=True, kw_only=True):
    """The whole body as it is sent; further members are found in the tree."""

    model: ModelName
    input: str | Annotated[list[Json], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Bound | None = None
    metadata: Tags | None = None
    moderation: Json | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=1_024)] | None = None
    prompt_cache_options: Json | None = None
    prompt_cache_retention: Word | None = None
    reasoning: Reasoning | None = None
    safety_identifier: Annotated[str, Meta(max_length=128)] | None = None
    service_tier: Word | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: Text | None = None
    tool_choice: Word | Json | None = None
    tools: list[Json] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: EndUser | None = None
    background: bool | None = None
    include: list[Word] | None = None
    store: bool | None = None
    truncation: Word | None = None


#: Fields that want what a stateless gateway does not have, or an ability that the chat wire has no word for.
REFUSED: Mapping[str, str] = {
    "access_programs": "vendors' access programmes belong to the credential in the configuration",
    "background_options": "nothing runs in the background",
    "context_management": "nothing is kept from one request to the next; send what the model is to see",
    "conversation": "no conversation is kept; send its items as `input`",
    "image": "no image is made here",
    "max_tool_calls": "it bounds built-in tools, and there are none",
    "previous_response_id": "no response is kept; send the earlier items as `input`",
    "prompt": "no prompt template is kept; send `instructions` and `input`",
}
#: Options of the chat wire that have the same name and meaning here.
_SAME = (
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
)
#: What is told again in the answer, as the caller said it.
_ECHOED = frozenset(
    {"instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "prompt_cache_key", "reasoning"}
    | {
        "safety_identifier",
        "service_tier",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)
_UNSAID: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
_FIELDS = frozenset(Body.__struct_fields__)
_KNOWN = _FIELDS | frozenset(REFUSED)

_encode = msgspec.json.Encoder().encode


def decode(body: bytes, headers: Mapping[str, str], *, strict_fields: bool = False) -> Asked:
    """What is asked; header names are in lower case. Raises Invalid, InvalidJSON or TooLarge.

    A new vendor field is kept as an option for a provider that speaks this very wire unless `strict_fields`; a misspelt
    one, and one that needs a state of the vendor's, are always refused.
    """
    tree = gather(body, headers)
    further = _further(tree, strict_fields)
    _count(tree.get("input"))
    said = checked(tree, Body)
    _refuse_state(said)
    messages, beyond = _messages(said, strict_fields)
    tools = read_tools(said.tools or [])
    options = _options(said)
    wire = WIRE if further or beyond else "openai" if options.keys() - {"parallel_tool_calls"} else ""
    if not wire and any(message.extra or any(call.extra for call in message.tool_calls) for message in messages):
        wire = "openai"
    model = model_of(said, said.model)
    request = Request(
        messages=messages,
        model=model,
        max_tokens=said.max_output_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        tools=tools,
        tool_choice=read_choice(said.tool_choice),
        response_format=_format(said.text),
        document=document_of(said),
        examples=examples_of(said),
        wire=wire,
        options=tuple(sorted({**options, **further}.items())),
        optimize_tokens=said.optimize_tokens,
        enrich_with_features=said.enrich_with_features,
        allow_batching=said.allow_batching,
        terms=_terms(said, model, headers),
    )
    return Asked(
        request=request,
        user_id=said.user_id,
        organization_id=said.organization_id,
        end_user=said.user or None,
        idempotency_key=idempotency_key(headers),
        deadline_s=said.deadline_s,
        mode_stated=said.routing_mode is not None,
        echo=_echo(tree),
    )


def _further(tree: Json, strict: bool) -> Options:
    names = tree.keys() - _FIELDS
    if steering := names & STEERING:
        name = min(steering)
        hint = f"`{name}` would choose a model behind Asahi's back; use `model`"
        raise Invalid(hint, code="unknown_field", param=name)
    for name in sorted(names & REFUSED.keys()):
        if tree[name] is not None:
            raise Invalid(f"`{name}` is not taken here: {REFUSED[name]}", param=name)
    names -= REFUSED.keys()
    refuse(names, _KNOWN, NAMES, "", strict)
    return {name: _encode(tree[name]) for name in names}


def _count(given: object) -> None:
    if isinstance(given, list) and len(given) > MOST_MESSAGES:
        raise TooLarge(f"`input` must be a list of at most {MOST_MESSAGES} items", param="input")


def _refuse_state(said: Body) -> None:
    """What would need a state of ours, or promise something that is not done."""
    if said.store:
        raise Invalid("`store` must be false or absent: no response is kept here", param="store")
    if said.background:
        raise Invalid("`background` must be false or absent: nothing runs in the background", param="background")
    if other := next((name for name in said.include or () if name != LOGPROBS), None):
        raise Invalid(f"`include` {other!r} cannot be told: there are no built-in tools", param="include")
    if said.truncation not in (None, "disabled"):
        raise Invalid("`truncation` must be 'disabled' or absent: no item is left out in silence", param="truncation")
    if said.stream_options is not None and said.stream_options.include_obfuscation:
        place = "stream_options.include_obfuscation"
        raise Invalid(f"`{place}` must be false or absent: events are not padded", param=place)
    thinking = said.reasoning or Reasoning()
    for name, default in (("summary", None), ("generate_summary", None), ("context", "auto"), ("mode", "standard")):
        if getattr(thinking, name) not in (None, default):
            raise Invalid(
                f"`reasoning.{name}` is not taken: of reasoning only the effort has a word elsewhere",
                param=f"reasoning.{name}",
            )


def _messages(said: Body, strict: bool) -> tuple[tuple[Message, ...], bool]:
    """All turns, and whether any holds what only this wire has a word for."""
    beyond = False
    if isinstance(said.input, str):
        messages = [Message("user", said.input)]
        blank = text_is_blank(said.input)
    else:
        messages, beyond, blank = read_items(said.input, strict)
    if blank:
        raise Invalid("`input` must hold a question that is not blank", param="input")
    if said.instructions:
        messages.insert(0, Message("system", said.instructions))
    return tuple(messages), beyond


def _options(said: Body) -> Options:
    """The rest of what is said, in the chat wire's words."""
    found: Options = {}
    if said.parallel_tool_calls is not None:
        found["parallel_tool_calls"] = _encode(said.parallel_tool_calls)
    if said.reasoning is not None and said.reasoning.effort is not None:
        found["reasoning_effort"] = _encode(said.reasoning.effort)
    if said.text is not None and said.text.verbosity is not None:
        found["verbosity"] = _encode(said.text.verbosity)
    if said.top_logprobs is not None or LOGPROBS in (said.include or ()):
        found["logprobs"] = b"true"
    if said.top_logprobs is not None:
        found["top_logprobs"] = _encode(said.top_logprobs)
    same = {name: getattr(said, name) for name in _SAME}
    return found | {name: _encode(value) for name, value in same.items() if value is not None}


def _format(text: Text | None) -> bytes:
    given = None if text is None else text.format
    if given is None or given.type == "text":
        return b""
    if given.type == "json_object":
        return b'{"type":"json_object"}'
    if given.type != "json_schema":
        raise Invalid(
            "`text.format.type` must be one of 'text', 'json_object', 'json_schema'", param="text.format.type"
        )
    for name in ("name", "schema"):
        if getattr(given, name) is None:
            raise Invalid(f"`text.format.{name}` is required", param=f"text.format.{name}")
    told = {"name": given.name, "schema": given.schema, "description": given.description, "strict": given.strict}
    inner = {name: value for name, value in told.items() if value is not None}
    return _encode({"type": "json_schema", "json_schema": inner})


def _terms(said: Body, model: str | None, headers: Mapping[str, str]) -> Terms:
    terms = terms_of(said, model, said.stream is True, headers)
    return msgspec.structs.replace(terms, tags=tags_of(said, said.metadata)) if said.metadata else terms


def _echo(tree: Json) -> bytes:
    said = {name: tree[name] for name in sorted(_ECHOED) if tree.get(name) is not None}
    return _encode({**_UNSAID, **said})
