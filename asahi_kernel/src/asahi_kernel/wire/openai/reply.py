"""Encodes answers, errors and the list of models in OpenAI's shapes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from asahi_kernel.answer import Answer
from asahi_kernel.errors import AsahiError
from asahi_kernel.types import Choice, Completion, Model, ToolCall, Usage
from asahi_kernel.wire.account import account
from asahi_kernel.wire.openai.messages import Json

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(Json).decode


class InputDetails(Struct, frozen=True):
    """Parts of the input tokens."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(Struct, frozen=True):
    """Parts of the output tokens."""

    reasoning_tokens: int


class Tokens(Struct, frozen=True):
    """The `usage` object."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: InputDetails
    completion_tokens_details: OutputDetails


def encode(answer: Answer) -> bytes:
    """The `chat.completion` object; vendor fields of message and choice win over ours."""
    completion = answer.completion
    return _encode(
        {
            "id": f"chatcmpl-{answer.request_id}",
            "object": "chat.completion",
            "created": int(answer.timestamp.timestamp()),
            "model": completion.model,
            "choices": [_choice(at, given) for at, given in enumerate(choices_of(completion))],
            "usage": tokens(answer.usage),
            "asahi": account(answer),
        }
    )


def error(error: AsahiError) -> bytes:
    """The body of a failed call."""
    kind = _TYPES.get(error.status) or ("server_error" if error.status >= 500 else "invalid_request_error")
    return _encode({"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}})


def models(registered: Iterable[Model], created: int, aliases: Iterable[str] = ()) -> bytes:
    """The list of models: `auto`, the aliases, then the registered ones."""
    entries = [_entry(name, "asahi", created) for name in ("auto", *aliases)]
    entries += [_entry(model.name, model.provider, created) for model in registered]
    return _encode({"object": "list", "data": entries})


def model(name: str, owner: str, created: int) -> bytes:
    """One model, or an alias owned by `asahi`."""
    return _encode(_entry(name, owner, created))


def tokens(usage: Usage) -> Tokens:
    """Our usage in OpenAI's words."""
    return Tokens(
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        InputDetails(usage.cached_tokens, usage.cache_write_tokens),
        OutputDetails(usage.reasoning_tokens),
    )


def choices_of(completion: Completion) -> tuple[Completion | Choice, ...]:
    """All answers by index, the first being the completion itself."""
    return (completion, *completion.others)


def merge(ours: Json, extra: bytes) -> Json:
    """Our members and the vendor's, which win; objects on both sides are joined."""
    if not extra:
        return ours
    for name, value in _object(extra).items():
        inner = ours.get(name)
        ours[name] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    return ours


def _choice(at: int, given: Completion | Choice) -> Json:
    choice: Json = {
        "index": at,
        "message": _message(given),
        "logprobs": None,
        "finish_reason": given.finish_reason,
    }
    return merge(choice, given.choice)


def _message(given: Completion | Choice) -> Json:
    content = given.text if given.text or not given.tool_calls else None
    message: Json = {"role": "assistant", "content": content, "refusal": None}
    if given.tool_calls:
        message["tool_calls"] = [_call(call) for call in given.tool_calls]
    return merge(message, given.message)


def _call(call: ToolCall) -> Json:
    text = "input" if call.type == "custom" else "arguments"
    return merge({"id": call.id, "type": call.type, call.type: {"name": call.name, text: call.arguments}}, call.extra)


def _entry(name: str, owner: str, created: int) -> Json:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
