"""Decodes the body of `POST /infer`; unknown fields are refused at every depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.types import Message, Request
from asahi_kernel.wire.asked import Asked
from asahi_kernel.wire.fields import AsahiFields, Bound, ModelName
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import text_is_blank
from asahi_kernel.wire.terms import document_of, examples_of, gather, idempotency_key, model_of, terms_of

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100_000)]
Stop: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]


class Turn(Struct, frozen=True, forbid_unknown_fields=True):
    """One earlier turn as it is sent."""

    role: Literal["user", "assistant"]
    content: Text


class Format(Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON Schema to answer by, bare or in OpenAI's wrapper of name, schema and strictness."""

    json_schema: dict[str, object]
    type: Literal["json_schema"] = "json_schema"


class Body(AsahiFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole body as it is sent."""

    prompt: Text
    system_prompt: Annotated[str, Meta(max_length=50_000)] | None = None
    history: Annotated[tuple[Turn, ...], Meta(max_length=200)] = ()
    model: ModelName | None = None
    max_tokens: Bound = 1024
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: Annotated[tuple[Stop, ...], Meta(max_length=4)] = ()
    response_format: Literal["text", "json_object"] | Format | None = None
    stream: bool = False


def decode(body: bytes, headers: Mapping[str, str]) -> Asked:
    """What is asked; header names are in lower case. Raises Invalid, InvalidJSON or TooLarge."""
    said = checked(gather(body, headers), Body)
    if text_is_blank(said.prompt):
        raise Invalid("`prompt` must not be blank", param="prompt")
    return Asked(
        request=_request(said, headers),
        user_id=said.user_id,
        organization_id=said.organization_id,
        idempotency_key=idempotency_key(headers),
        deadline_s=said.deadline_s,
        mode_stated=said.routing_mode is not None,
    )


def _request(said: Body, headers: Mapping[str, str]) -> Request:
    model = model_of(said, said.model)
    return Request(
        messages=tuple(_messages(said)),
        model=model,
        max_tokens=said.max_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        stop=said.stop,
        response_format=_format(said.response_format),
        document=document_of(said),
        examples=examples_of(said),
        optimize_tokens=said.optimize_tokens,
        enrich_with_features=said.enrich_with_features,
        allow_batching=said.allow_batching,
        terms=terms_of(said, model, said.stream, headers),
    )


def _messages(said: Body) -> list[Message]:
    messages = [Message(turn.role, turn.content) for turn in said.history]
    if said.system_prompt:
        messages.insert(0, Message("system", said.system_prompt))
    messages.append(Message("user", said.prompt))
    return messages


def _format(given: str | Format | None) -> bytes:
    if given is None or given == "text":
        return b""
    if isinstance(given, str):
        return msgspec.json.encode({"type": given})
    wrapped = given.json_schema if "schema" in given.json_schema else {"schema": given.json_schema}
    return msgspec.json.encode({"type": "json_schema", "json_schema": {"name": "answer", **wrapped}})
