"""Our request Structs against the parameter types of the pinned SDKs: a field that only one side knows fails here.

The tables name each field that differs on purpose, and why. An entry that no longer differs fails too.
"""

import typing
from importlib.metadata import version

import anthropic.types as claude
import msgspec
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from openai.types import chat, embedding_create_params, responses, shared_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params, response_input_item_param
from openai.types.shared_params import response_format_json_schema

from asahi_kernel.errors import Invalid
from asahi_kernel.wire.anthropic import messages as anthropic_messages
from asahi_kernel.wire.anthropic import request as anthropic_request
from asahi_kernel.wire.anthropic import tools as anthropic_tools
from asahi_kernel.wire.fields import NAMES, AsahiFields
from asahi_kernel.wire.openai import embeddings as openai_embeddings
from asahi_kernel.wire.openai import messages as openai_messages
from asahi_kernel.wire.openai import request as openai_request
from asahi_kernel.wire.openai import tools as openai_tools
from asahi_kernel.wire.responses import items as responses_items
from asahi_kernel.wire.responses import request as responses_request
from asahi_kernel.wire.responses import tools as responses_tools


def told(*kinds):
    """The members of TypedDicts, also inside unions."""
    found = set()
    for kind in kinds:
        if hasattr(kind, "__required_keys__"):
            found |= set(typing.get_type_hints(kind))
        else:
            found |= told(*typing.get_args(kind))
    return found


def fields(*structs):
    """The fields of Structs as they are sent, without Asahi's own."""
    found = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}
    return found - NAMES if issubclass(structs[0], AsahiFields) else found


STEERING = "would name another account than the one of the configuration"
ACCOUNT = {"user_profile_id": STEERING, "workspace_id": STEERING}
NOT_IN_SDK = "taken from callers of other hosts of the wire, which send it still"
COUNTED = "shapes the answer, not the count; callers send the body they are about to send"
KEPT_RAW = "has no field in the Struct: it is kept whole in `extra`, and goes to a provider of this wire"
STORED = "says what a store at the vendor knows of an item, and there is none here"
NO_COUNTERPART = "no other wire has a word for it: refused with 400"

#: what is compared: ours, the SDK's, fields that only the SDK has, fields that only we have; each with the reason.
PAIRS = {
    "chat": (
        fields(openai_request.Body),
        told(
            completion_create_params.CompletionCreateParamsNonStreaming,
            completion_create_params.CompletionCreateParamsStreaming,
        ),
        {},
        {},
    ),
    "chat, a message": (
        fields(openai_messages.Turn),
        told(chat.ChatCompletionMessageParam),
        dict.fromkeys(("audio", "function_call", "refusal"), KEPT_RAW),
        {},
    ),
    "chat, a tool": (
        fields(openai_tools.Offer),
        told(chat.ChatCompletionToolUnionParam),
        {"custom": KEPT_RAW},
        {},
    ),
    "chat, a function": (fields(openai_tools.Function), told(shared_params.FunctionDefinition), {}, {}),
    "chat, a tool call": (
        fields(openai_messages.Call),
        told(chat.ChatCompletionMessageToolCallUnionParam),
        {},
        {},
    ),
    "chat, stream_options": (
        fields(openai_request.StreamOptions),
        told(chat.ChatCompletionStreamOptionsParam),
        {"include_obfuscation": "goes to the vendor as an option"},
        {},
    ),
    "chat, response_format": (
        fields(openai_request.Format),
        told(completion_create_params.ResponseFormat),
        {},
        {},
    ),
    "embeddings": (fields(openai_embeddings.Body), told(embedding_create_params.EmbeddingCreateParams), {}, {}),
    "responses": (
        fields(responses_request.Body),
        told(
            response_create_params.ResponseCreateParamsNonStreaming,
            response_create_params.ResponseCreateParamsStreaming,
        ),
        responses_request.REFUSED,
        {},
    ),
    "responses, text": (fields(responses_request.Text), told(responses.ResponseTextConfigParam), {}, {}),
    "responses, a format": (fields(responses_request.Format), told(responses.ResponseFormatTextConfigParam), {}, {}),
    "responses, reasoning": (fields(responses_request.Reasoning), told(shared_params.Reasoning), {}, {}),
    "responses, stream_options": (
        fields(responses_request.StreamOptions),
        told(response_create_params.StreamOptions),
        {},
        {},
    ),
    "responses, a function": (
        fields(responses_tools.Function) | {"type"},
        told(responses.FunctionToolParam),
        dict.fromkeys(("allowed_callers", "async", "defer_loading", "output_schema"), NO_COUNTERPART),
        {},
    ),
    "responses, the named function": (
        fields(responses_tools.Named),
        told(responses.ToolChoiceFunctionParam),
        {},
        {},
    ),
    "responses, a message": (
        fields(responses_items.Turn) | {"type"},
        told(responses.EasyInputMessageParam, response_input_item_param.Message, responses.ResponseOutputMessageParam),
        {"id": STORED, "status": STORED, "phase": KEPT_RAW},
        {},
    ),
    "responses, a function call": (
        fields(responses_items.Called) | {"type"},
        told(responses.ResponseFunctionToolCallParam),
        {"id": STORED, "status": STORED, **dict.fromkeys(("async", "caller", "namespace"), KEPT_RAW)},
        {},
    ),
    "responses, a result": (
        fields(responses_items.Returned) | {"type"},
        told(response_input_item_param.FunctionCallOutput),
        {"id": STORED, "status": STORED, **dict.fromkeys(("caller", "name", "namespace"), KEPT_RAW)},
        {},
    ),
    "messages": (
        fields(anthropic_request.Body),
        told(message_create_params.MessageCreateParamsNonStreaming, message_create_params.MessageCreateParamsStreaming),
        ACCOUNT,
        dict.fromkeys(("temperature", "top_k", "top_p"), NOT_IN_SDK),
    ),
    "messages, a message": (fields(anthropic_messages.Turn), told(claude.MessageParam), {}, {}),
    "messages, metadata": (fields(anthropic_request.Metadata), told(claude.MetadataParam), {}, {}),
    "messages, a tool call": (
        fields(anthropic_messages.ToolUse) | {"type"},
        told(claude.ToolUseBlockParam),
        dict.fromkeys(("cache_control", "caller", "toolset_name"), KEPT_RAW),
        {},
    ),
    "messages, a result": (
        fields(anthropic_messages.ToolResult) | {"type"},
        told(claude.ToolResultBlockParam),
        {"cache_control": KEPT_RAW, "toolset_name": KEPT_RAW},
        {},
    ),
    "messages, an image": (
        fields(anthropic_messages.Base64Source, anthropic_messages.UrlSource) | {"type"},
        told(claude.Base64ImageSourceParam, claude.URLImageSourceParam),
        {},
        {},
    ),
    "messages, the choice of tools": (
        fields(anthropic_tools.Pick),
        told(claude.ToolChoiceParam),
        {},
        {},
    ),
    "count_tokens": (
        fields(anthropic_request.Body),
        told(message_count_tokens_params.MessageCountTokensParams),
        ACCOUNT,
        dict.fromkeys(
            (
                "container",
                "diagnostics",
                "inference_geo",
                "max_tokens",
                "metadata",
                "service_tier",
                "stop_sequences",
                "stream",
                "temperature",
                "top_k",
                "top_p",
            ),
            COUNTED,
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_both_sides_know_the_same_fields(name):
    ours, sdk, theirs_alone, ours_alone = PAIRS[name]
    pinned = f"openai {version('openai')}, anthropic {version('anthropic')}"
    new, gone = sorted(sdk - ours - theirs_alone.keys()), sorted(ours - sdk - ours_alone.keys())
    assert not new, f"{name}: the SDK ({pinned}) has {new}; decode them, or refuse them here with a reason"
    assert not gone, f"{name}: the SDK ({pinned}) has no {gone} any more; say here why they stay"
    stale = sorted((theirs_alone.keys() - sdk) | (theirs_alone.keys() & ours))
    stale += sorted((ours_alone.keys() & sdk) | (ours_alone.keys() - ours))
    assert not stale, f"{name}: {stale} do not differ any more; take them from the table"


@pytest.mark.parametrize("name", PAIRS)
def test_each_difference_has_a_reason(name):
    assert all(len(reason) > 10 for table in PAIRS[name][2:] for reason in table.values())


def test_a_type_that_is_no_typed_dict_is_noticed():
    """Should an SDK turn its parameters into something else, an empty set must not pass for agreement."""
    assert all(len(sdk) > 0 and len(ours) > 0 for ours, sdk, _, _ in PAIRS.values())
    assert told(str) == set()


def test_a_json_schema_keeps_its_members():
    """`json_schema` travels as it came, so that its members need no Struct; this is what it holds today."""
    known = told(response_format_json_schema.JSONSchema)
    assert known == {"name", "description", "schema", "strict"}


@pytest.mark.parametrize("name", sorted(ACCOUNT))
def test_what_is_told_to_be_refused_is(name):
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], name: "x"}
    with pytest.raises(Invalid, match=name):
        anthropic_request.decode(msgspec.json.encode(body), {})
