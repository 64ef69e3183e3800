"""The matrix as data: which vendors there are, what each SDK is asked for, which cells are refused, for what reason.

A further vendor is one more entry of `VENDORS`, and an entry of `REFUSED` for each feature that it has no word for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
PDF = "JVBERi0xLjQKJWNhbmFyeQo="
CAPABILITIES = ["tools", "vision", "json_schema", "streaming", "file", "thinking"]
SCHEMA = {
    "type": "object",
    "properties": {"canary_member": {"type": "string"}},
    "required": ["canary_member"],
    "additionalProperties": False,
}
FUNCTION = {"name": "canary_tool", "description": "canary description", "parameters": SCHEMA}


@dataclass(frozen=True)
class Vendor:
    """How the gateway reaches a vendor. `provider` makes its table from the scripted upstream's address. `chat`,
    `embed` and `count` are the paths where questions, texts and counts must arrive there: nothing for a vendor inside
    the gateway, or for what it cannot do."""

    provider: Callable[[str], dict[str, Any]]
    chat: str = ""
    embed: str = ""
    count: str = ""
    embeds: bool = True


VENDORS = {
    "openai": Vendor(
        lambda url: {
            "type": "openai",
            "api_key": "sk-vendor",
            "base_url": f"{url}/v1",
            "max_tokens_parameter": "max_completion_tokens",
        },
        chat="/v1/chat/completions",
        embed="/v1/embeddings",
    ),
    "anthropic": Vendor(
        lambda url: {"type": "anthropic", "api_key": "sk-vendor", "base_url": url},
        chat="/v1/messages",
        count="/v1/messages/count_tokens",
        embeds=False,
    ),
    "cohere": Vendor(
        lambda url: {"type": "cohere", "api_key": "sk-vendor", "base_url": url},
        chat="/v2/chat",
        embed="/v2/embed",
    ),
    "compatible": Vendor(
        lambda url: {"type": "openai", "api_key": "", "base_url": f"{url}/v1"},
        chat="/v1/chat/completions",
        embed="/v1/embeddings",
    ),
    "mock": Vendor(lambda url: {"type": "mock"}),
}


@dataclass(frozen=True)
class Feature:
    """Something to ask for. `call` names the SDK's method, `more` is laid over the plain question; `needles` must all
    be in what the vendor is sent. `check` looks at the answer."""

    sdk: str
    call: str
    more: dict[str, Any] = field(default_factory=dict)
    needles: tuple[str, ...] = ()
    check: str = "text"


def _image(kind: str) -> dict[str, Any]:
    url = f"data:image/png;base64,{PNG}"
    return {
        "chat": {"type": "image_url", "image_url": {"url": url}},
        "responses": {"type": "input_image", "image_url": url, "detail": "auto"},
        "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    }[kind]


_SYSTEM = "canary system prompt"
_CHAT_TOOL = {"type": "function", "function": FUNCTION}
_RESPONSES_TOOL = {"type": "function", **FUNCTION, "strict": False}
_MESSAGES_TOOL = {"name": "canary_tool", "description": "canary description", "input_schema": SCHEMA}
_TOOL_NEEDLES = ("canary_tool", "canary description", "canary_member")
_FORMAT = {"type": "json_schema", "json_schema": {"name": "canary", "schema": SCHEMA, "strict": True}}
_PDF_BLOCK = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}

FEATURES = {
    "openai chat": Feature(
        "openai",
        "chat",
        {"system": _SYSTEM, "temperature": 0.25, "top_p": 0.75, "max_tokens": 77, "stop": ["CANARY"]},
        (_SYSTEM, "0.25", "0.75", "77", "CANARY"),
    ),
    "openai stream": Feature("openai", "chat stream", {"system": _SYSTEM}, (_SYSTEM,), "stream"),
    "openai tools": Feature("openai", "chat", {"tools": [_CHAT_TOOL]}, _TOOL_NEEDLES, "tool"),
    "openai forced tool": Feature(
        "openai",
        "chat",
        {"tools": [_CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "canary_tool"}}},
        _TOOL_NEEDLES,
        "tool",
    ),
    "openai vision": Feature("openai", "chat", {"part": _image("chat")}, (PNG,)),
    "openai file": Feature(
        "openai",
        "chat",
        {"part": {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}}},
        (PDF,),
    ),
    "openai json schema": Feature("openai", "chat", {"response_format": _FORMAT}, ("canary_member",)),
    "openai seed": Feature("openai", "chat", {"seed": 424_242}, ("424242",)),
    "openai n=2": Feature("openai", "chat", {"n": 2}, ('"n":2',), "two"),
    "openai logit_bias": Feature("openai", "chat", {"logit_bias": {"4242": 5}}, ("4242",)),
    "openai reasoning_effort": Feature("openai", "chat", {"reasoning_effort": "low"}, ("reasoning_effort",)),
    "openai embeddings": Feature("openai", "embeddings", {"dimensions": 256}, ("256",), "vectors"),
    "openai responses": Feature(
        "openai",
        "responses",
        {"instructions": _SYSTEM, "temperature": 0.25, "top_p": 0.75, "max_output_tokens": 77},
        (_SYSTEM, "0.25", "0.75", "77"),
    ),
    "openai responses stream": Feature("openai", "responses stream", {"instructions": _SYSTEM}, (_SYSTEM,), "stream"),
    "openai responses tools": Feature("openai", "responses", {"tools": [_RESPONSES_TOOL]}, _TOOL_NEEDLES, "tool"),
    "openai responses vision": Feature("openai", "responses", {"part": _image("responses")}, (PNG,)),
    "openai responses json schema": Feature(
        "openai",
        "responses",
        {"text": {"format": {"type": "json_schema", "name": "canary", "schema": SCHEMA, "strict": True}}},
        ("canary_member",),
    ),
    "openai responses effort": Feature("openai", "responses", {"reasoning": {"effort": "low"}}, ("reasoning_effort",)),
    "openai responses web_search": Feature("openai", "responses", {"tools": [{"type": "web_search"}]}),
    "openai responses state": Feature("openai", "responses", {"previous_response_id": "resp_1"}),
    "anthropic messages": Feature(
        "anthropic",
        "messages",
        {"system": _SYSTEM, "max_tokens": 77, "stop_sequences": ["CANARY"], "extra_body": {"temperature": 0.25}},
        (_SYSTEM, "0.25", "77", "CANARY"),
    ),
    "anthropic stream": Feature("anthropic", "messages stream", {"system": _SYSTEM}, (_SYSTEM,), "stream"),
    "anthropic tools": Feature("anthropic", "messages", {"tools": [_MESSAGES_TOOL]}, _TOOL_NEEDLES, "tool"),
    "anthropic vision": Feature("anthropic", "messages", {"part": _image("messages")}, (PNG,)),
    "anthropic document": Feature("anthropic", "messages", {"part": _PDF_BLOCK}, (PDF,)),
    "anthropic json schema": Feature(
        "anthropic",
        "messages",
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ("canary_member",),
    ),
    "anthropic thinking": Feature(
        "anthropic",
        "messages",
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        ("budget_tokens",),
    ),
    "anthropic cache_control": Feature(
        "anthropic",
        "messages",
        {"system": [{"type": "text", "text": _SYSTEM, "cache_control": {"type": "ephemeral"}}]},
        (_SYSTEM, "ephemeral"),
    ),
    "anthropic count_tokens": Feature("anthropic", "count", {"system": _SYSTEM}, (_SYSTEM,), "count"),
}

_OPENAI_WIRE = (422, "does not speak the openai wire")
_ANTHROPIC_WIRE = (422, "does not speak the anthropic wire")

#: What is refused, with the status and a part of the reason. Every other cell must be answered.
REFUSED: dict[tuple[str, str], tuple[int, str]] = {
    ("openai seed", "anthropic"): (422, "knows no seed"),
    ("openai forced tool", "cohere"): (422, "cannot be told which tool to call"),
    **{("openai n=2", vendor): (422, "gives one answer, not n") for vendor in ("anthropic", "cohere")},
    **{("openai file", vendor): (422, "takes no file parts") for vendor in ("anthropic", "cohere")},
    **{
        (f"openai {feature}", vendor): _OPENAI_WIRE
        for feature in ("logit_bias", "reasoning_effort", "responses effort")
        for vendor in ("anthropic", "cohere")
    },
    ("openai embeddings", "anthropic"): (400, "does not embed"),
    **{("openai responses web_search", vendor): (400, "built-in tools") for vendor in VENDORS},
    **{("openai responses state", vendor): (400, "no response is kept") for vendor in VENDORS},
    **{
        (f"anthropic {feature}", vendor): _ANTHROPIC_WIRE
        for feature in ("document", "thinking", "cache_control")
        for vendor in ("openai", "cohere", "compatible")
    },
}
