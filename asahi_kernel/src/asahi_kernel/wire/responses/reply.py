"""Encodes an answer as a `response` object."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from asahi_kernel.answer import Answer
from asahi_kernel.types import Completion, ToolCall, Usage
from asahi_kernel.wire.account import account
from asahi_kernel.wire.openai.reply import InputDetails, OutputDetails

Json: TypeAlias = dict[str, object]

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Members of a vendor's message that have a place of their own here.
_PLACED = frozenset({"refusal", "annotations", "content", "role"})

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(Json).decode


class Tokens(Struct, frozen=True):
    """The `usage` object."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


def encode(answer: Answer, echo: bytes) -> bytes:
    """The `response` object; `echo` is a JSON object of what the caller said."""
    return _encode(response(answer.request_id, int(answer.timestamp.timestamp()), echo) | finished(answer))


def response(request_id: str, created: int, echo: bytes) -> Json:
    """The object before there is an answer."""
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": "",
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **_object(echo or b"{}"),
    }


def finished(answer: Answer, output: list[Json] | None = None) -> Json:
    """The members of the object that an answer fills in."""
    completion = answer.completion
    reason = _REASONS.get(completion.finish_reason)
    return {
        "status": state_of(completion),
        "incomplete_details": {"reason": reason} if reason else None,
        "model": completion.model,
        "output": items(completion, answer.request_id) if output is None else output,
        "usage": tokens(answer.usage),
        "asahi": account(answer),
    }


def state_of(completion: Completion) -> str:
    """Whether the answer is whole."""
    return "incomplete" if completion.finish_reason in _REASONS else "completed"


def items(completion: Completion, request_id: str) -> list[Json]:
    """The items of an answer: its message, then its calls."""
    vendor = _object(completion.message) if completion.message else {}
    choice = _object(completion.choice) if completion.choice else {}
    state = state_of(completion)
    odds = pop_logprobs(choice)
    found: list[Json] = []
    if completion.text or vendor or not completion.tool_calls:
        content = contents(completion.text, vendor, odds)
        found.append(message(f"msg_{request_id}", state, content) | further(vendor, choice))
    calls = enumerate(completion.tool_calls)
    return found + [call(f"fc_{request_id}_{at}", each, state) for at, each in calls]


def message(item_id: str, state: str, content: list[Json]) -> Json:
    """A message of the assistant."""
    return {"type": "message", "id": item_id, "status": state, "role": "assistant", "content": content}


def pop_logprobs(choice: Json) -> list[object]:
    """The log probabilities of the text, which have a place of their own here; what else there is of them stays."""
    told = choice.pop("logprobs", None)
    if not isinstance(told, dict):
        return []
    rest = {name: value for name, value in told.items() if name != "content" and value is not None}
    if rest:
        choice["logprobs"] = rest
    return told.get("content") or []


def contents(text: str, vendor: Json, odds: list[object]) -> list[Json]:
    """The parts of a message: its text, and a refusal if there is one."""
    refused = vendor.get("refusal")
    annotations = vendor.get("annotations") or []
    whole = text_part(text) | {"annotations": annotations, "logprobs": odds}
    parts: list[Json] = [whole] if text or annotations or not refused else []
    return [*parts, {"type": "refusal", "refusal": refused}] if refused else parts


def text_part(text: str) -> Json:
    """A text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call(item_id: str, told: ToolCall, state: str) -> Json:
    """A call of a function, with the vendor's further members if there are any."""
    item: Json = {
        "type": "function_call",
        "id": item_id,
        "call_id": told.id,
        "name": told.name,
        "arguments": told.arguments,
        "status": state,
    }
    return {**_object(told.extra), **item} if told.extra else item


def further(vendor: Json, choice: Json) -> Json:
    """What else the vendor said of the message and of why it ended; nothing of it is lost."""
    rest = {name: value for name, value in vendor.items() if name not in _PLACED}
    ends = {name: value for name, value in choice.items() if value is not None}
    return {**rest, **({"choice": ends} if ends else {})}


def tokens(usage: Usage) -> Tokens:
    """Our usage in this wire's words."""
    return Tokens(
        usage.input_tokens,
        InputDetails(usage.cached_tokens, usage.cache_write_tokens),
        usage.output_tokens,
        OutputDetails(usage.reasoning_tokens),
        usage.total_tokens,
    )
