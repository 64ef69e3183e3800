"""`POST /v1/messages` decoded: what becomes neutral, what is kept for its own wire, what is refused."""

import json
import time

import pytest
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase

from asahi_kernel.errors import AsahiError, TooLarge
from asahi_kernel.types import Message, Part, Tool, ToolCall
from asahi_kernel.wire import anthropic
from asahi_kernel.wire.anthropic.request import STEERING, Body
from asahi_kernel.wire.fields import NAMES

HELLO = [{"role": "user", "content": "hello"}]
MARK = {"cache_control": {"type": "ephemeral"}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"host": "a", "n": [1]}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
#: The SDK has dropped these, the API and other clients have not.
RETIRED = {"temperature", "top_p", "top_k"}


def decode(headers=None, /, *, strict_fields=False, **fields):
    body = json.dumps({"model": "claude", "max_tokens": 9, "messages": HELLO, **fields}).encode()
    return anthropic.decode(body, headers or {}, strict_fields=strict_fields)


def turns(*content, role="user", **fields):
    return decode(messages=[{"role": role, "content": list(content)}, *fields.pop("after", [])], **fields).request


def refusal(*, strict_fields=False, **fields) -> AsahiError:
    with pytest.raises(AsahiError) as caught:
        decode(strict_fields=strict_fields, **fields)
    return caught.value


def test_the_struct_has_the_fields_of_the_sdk_and_ours():
    """What the SDK sends as a header chooses an account, and so is refused in a body."""
    sdk = set(MessageCreateParamsBase.__annotations__) | {"stream"}
    assert set(Body.__struct_fields__) - NAMES - RETIRED == sdk - STEERING
    assert set(MessageCountTokensParams.__annotations__) <= sdk


def test_a_plain_question_is_neutral():
    request = decode(system="be brief", temperature=0, top_p=1, stop_sequences=["x"]).request
    assert request.messages == (Message("system", "be brief"), Message("user", "hello"))
    assert (request.temperature, request.top_p, request.max_tokens, request.stop) == (0.0, 1.0, 9, ("x",))
    assert (request.wire, request.options, request.terms.mode) == ("", (), "explicit")


def test_a_lone_text_is_the_same_as_the_text():
    assert turns({"type": "text", "text": "hello"}) == decode().request
    assert turns({"type": "text", "text": "hello", "cache_control": None, "citations": None}) == decode().request
    assert decode(system=[{"type": "text", "text": "s"}]) == decode(system="s")


def test_several_texts_and_images_are_neutral_parts():
    far = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    request = turns({"type": "text", "text": "a"}, {"type": "text", "text": "b"}, PNG, far)
    assert request.messages[0].content == (
        Part("text", "a"),
        Part("text", "b"),
        Part("image_url", None, b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}'),
        Part("image_url", None, b'{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}'),
    )
    assert request.wire == ""


def test_calls_and_results_are_neutral():
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen", "is_error": False}
    said = [{"type": "text", "text": "let me see"}, USE]
    request = turns(
        {"type": "text", "text": "go"},
        after=[
            {"role": "assistant", "content": said},
            {"role": "user", "content": [result, {"type": "text", "text": "and?"}]},
        ],
    )
    call = ToolCall(id="toolu_1", name="look", arguments='{"host":"a","n":[1]}')
    assert request.messages == (
        Message("user", "go"),
        Message("assistant", "let me see", tool_calls=(call,)),
        Message("tool", "seen", tool_call_id="toolu_1"),
        Message("user", "and?"),
    )
    assert request.wire == ""


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "long", **MARK},
        {"type": "text", "text": "long", "new_field": None},
        {**PNG, **MARK},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "t"},
        {"type": "search_result", "source": "s", "title": "t", "content": []},
        {"type": "brand_new", "x": [1]},
    ],
)
def test_a_block_of_this_wire_alone_is_kept_whole(block):
    request = turns(block, {"type": "text", "text": "what is it?"})
    part = request.messages[0].content[0]
    assert (json.loads(part.raw), part.type, part.text) == (block, block["type"], block.get("text"))
    assert request.wire == "anthropic"


@pytest.mark.parametrize(
    ("content", "calls"),
    [([THOUGHT, {"type": "text", "text": "so"}, USE], 1), ([USE, {"type": "text", "text": "so"}], 0), ([THOUGHT], 0)],
)
def test_a_turn_of_the_assistant_keeps_its_order(content, calls):
    request = turns(
        {"type": "text", "text": "go"},
        after=[{"role": "assistant", "content": content}, {"role": "user", "content": "ok"}],
    )
    message = request.messages[1]
    kept = [part.type for part in message.content] + ["tool_use"] * len(message.tool_calls)
    assert kept == [block["type"] for block in content]
    assert (len(message.tool_calls), request.wire) == (calls, "anthropic")


def test_marks_on_calls_results_and_tools_are_kept():
    result = {"type": "tool_result", "tool_use_id": "t", "content": [PNG], "is_error": True, **MARK}
    request = turns(
        {"type": "text", "text": "go"},
        after=[{"role": "assistant", "content": [{**USE, **MARK}]}, {"role": "user", "content": [result]}],
        tools=[{"name": "look", "input_schema": {}, **MARK}],
    )
    _, asked, answered = request.messages
    assert json.loads(asked.tool_calls[0].extra) == MARK
    assert json.loads(answered.extra) == {"is_error": True, **MARK}
    assert json.loads(answered.content[0].raw) == PNG
    assert json.loads(request.tools[0].extra) == MARK
    assert request.wire == "anthropic"


def test_tools_become_functions_and_the_vendors_own_stay_whole():
    custom = {"name": "look", "description": "d", "input_schema": {"type": "object"}, "strict": True, "type": "custom"}
    neutral = Tool(name="look", description="d", parameters=b'{"type":"object"}', strict=True)
    assert decode(tools=[custom]).request.tools == (neutral,)
    assert decode(tools=[custom]).request.wire == ""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    request = decode(tools=[search]).request
    kept = Tool(type=search["type"], name="web_search", extra=b'{"name":"web_search","max_uses":5}')
    assert (request.tools, request.wire) == ((kept,), "anthropic")


@pytest.mark.parametrize(
    ("told", "choice", "options"),
    [
        ({"type": "auto"}, b'"auto"', ()),
        ({"type": "any"}, b'"required"', ()),
        ({"type": "none"}, b'"none"', ()),
        ({"type": "tool", "name": "f"}, b'{"type":"function","function":{"name":"f"}}', ()),
        ({"type": "any", "disable_parallel_tool_use": True}, b'"required"', (("parallel_tool_calls", b"false"),)),
    ],
)
def test_which_tool_to_call_is_neutral(told, choice, options):
    request = decode(tool_choice=told).request
    assert (request.tool_choice, request.options, request.wire) == (choice, options, "")


def test_a_choice_with_further_fields_stays_what_it_is():
    told = {"type": "auto", "brand_new": 1}
    request = decode(tool_choice=told).request
    assert (json.loads(dict(request.options)["tool_choice"]), request.wire) == (told, "anthropic")


def test_a_schema_alone_is_neutral_and_the_rest_of_the_configuration_an_option():
    told = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    request = decode(output_config=told).request
    named = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert json.loads(request.response_format) == {"type": "json_schema", "json_schema": named}
    assert (request.wire, request.options) == ("", ())
    both = decode(output_config={**told, "effort": "low"}).request
    assert (both.wire, both.options) == ("anthropic", (("output_config", b'{"effort":"low"}'),))


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        {"top_k": 5},
        {"service_tier": "auto"},
        {"cache_control": {"type": "ephemeral"}},
        {"container": "c"},
        {"inference_geo": "us"},
        {"speed": "fast"},
        {"diagnostics": {"previous_message_id": "m"}},
        {"brand_new": [1]},
    ],
)
def test_further_fields_are_options_of_this_wire(fields):
    request = decode(**fields).request
    assert {name: json.loads(value) for name, value in request.options} == fields
    assert request.wire == "anthropic"


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [*HELLO, {"role": "assistant", "content": "The answer is ("}]},
        {"max_tokens": 0},
        {"stop_sequences": ["a", "b", "c", "d", "e"]},
    ],
)
def test_what_means_something_here_alone_goes_nowhere_else(fields):
    assert decode(**fields).request.wire == "anthropic"


def test_the_end_user_is_a_label_and_no_option():
    asked = decode(metadata={"user_id": "u-1"})
    assert (asked.end_user, asked.user_id, asked.request.options) == ("u-1", None, ())
    assert decode(metadata={"user_id": "u", "more": 1}).request.options == (("metadata", b'{"more":1}'),)


def test_null_for_a_known_field_is_none():
    nothing = dict.fromkeys(set(Body.__struct_fields__) - NAMES - {"model", "messages", "max_tokens"})
    assert decode(**nothing) == decode()


def test_asahi_fields_come_in_the_body_or_as_headers():
    in_body = decode(quality_threshold=4, model="auto").request.terms
    assert in_body == decode({"x-asahi-quality-threshold": "4"}, model="auto").request.terms
    assert (in_body.mode, in_body.quality_threshold) == ("autopilot", 4.0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": [{**USE, "input": "x"}]}]},
            "messages[1].content[0].input",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "file:///"}}]}
                ]
            },
            "messages[0].content[0].source.url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{**PNG, "source": {"type": "base64", "media_type": "text/html", "data": ""}}],
                    }
                ]
            },
            "messages[0].content[0].source.media_type",
        ),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"maxTokens": 5}, "maxTokens"),
        ({"x_asahi_cost": 1}, "x_asahi_cost"),
        ({"fallbacks": []}, "fallbacks"),
        ({"workspace_id": "w"}, "workspace_id"),
        ({"base_url": "http://evil"}, "base_url"),
        ({"routing_mode": "explicit", "model": "auto"}, "model"),
    ],
)
def test_a_mistake_is_named(fields, param):
    error = refusal(**fields)
    assert (error.status, error.param) == (400, param)


def test_steering_names_are_refused_at_any_depth_but_a_tool_may_take_a_host():
    assert refusal(thinking={"deep": {"api_key": "k"}}).code == "unknown_field"
    schema = {"type": "object", "properties": {"host": {"type": "string"}}}
    assert decode(tools=[{"name": "f", "input_schema": schema}]).request.tools
    assert (
        turns(
            {"type": "text", "text": "go"},
            after=[{"role": "assistant", "content": [USE]}, {"role": "user", "content": "and?"}],
        )
        .messages[1]
        .tool_calls
    )


def test_strict_fields_refuse_what_is_new_and_take_what_the_sdk_knows():
    assert refusal(brand_new=1, strict_fields=True).param == "brand_new"
    assert decode(strict_fields=True, thinking={"type": "adaptive"}, metadata={"user_id": "u"}).request.wire


def test_too_many_messages_are_too_large():
    with pytest.raises(TooLarge):
        decode(messages=HELLO * 10_001)


def test_a_count_needs_no_bound():
    asked = anthropic.decode_count(json.dumps({"model": "claude", "messages": HELLO}).encode(), {})
    assert asked.request.messages == (Message("user", "hello"),)


def test_a_body_of_many_blocks_takes_no_more_than_its_length():
    """Ten times the blocks would be a hundred times the work if each were held against the others."""
    content = [{"type": "text", "text": "x" * 100}] * 20_000
    began = time.process_time()
    turns(*content)
    assert time.process_time() - began < 2
