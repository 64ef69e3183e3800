"""`POST /v1/chat/completions` decoded: what is kept, what is refused, and in which words."""

import json
import time

import pytest
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from asahi_kernel.errors import AsahiError, Invalid, TooLarge
from asahi_kernel.types import Message, Part, Tool, ToolCall
from asahi_kernel.wire import openai
from asahi_kernel.wire.fields import NAMES
from asahi_kernel.wire.openai.request import PLACED, Body

HELLO = [{"role": "user", "content": "hello"}]
LIMIT = 2**31 - 1


def decode(headers=None, /, *, strict_fields=False, **fields):
    body = json.dumps({"model": "gpt-4o", "messages": HELLO, **fields}).encode()
    return openai.decode(body, headers or {}, strict_fields=strict_fields)


def refusal(*, strict_fields=False, **fields) -> AsahiError:
    with pytest.raises(AsahiError) as caught:
        decode(strict_fields=strict_fields, **fields)
    return caught.value


def test_the_struct_has_the_fields_of_the_sdk_and_ours():
    sdk = set(CompletionCreateParamsBase.__annotations__) | {"stream"}
    assert set(Body.__struct_fields__) - NAMES == sdk


def test_a_plain_question_holds_no_vendor_fields():
    request = decode(temperature=0, top_p=1, seed=5, max_completion_tokens=9, stop="x").request
    assert request.messages == (Message("user", "hello"),)
    assert (request.temperature, request.top_p, request.seed, request.max_tokens) == (0.0, 1.0, 5, 9)
    assert (request.stop, request.wire, request.options) == (("x",), "", ())


@pytest.mark.parametrize(
    ("fields", "mode", "model"),
    [
        ({"model": "auto"}, "autopilot", None),
        ({"model": "auto", "quality_preference": "high"}, "guided", None),
        ({"model": "gpt-4o"}, "explicit", "gpt-4o"),
        ({"model": "gpt-4o", "routing_mode": "autopilot"}, "autopilot", "gpt-4o"),
    ],
)
def test_the_mode_follows_from_the_model_unless_stated(fields, mode, model):
    request = decode(**fields).request
    assert (request.terms.mode, request.model) == (mode, model)


def test_options_are_sorted_json_of_this_wire():
    request = decode(verbosity="low", logit_bias={"50256": -100}, top_k=40, functions=[{"name": "f"}]).request
    assert request.wire == "openai"
    assert request.options == (
        ("functions", b'[{"name":"f"}]'),
        ("logit_bias", b'{"50256":-100}'),
        ("top_k", b"40"),
        ("verbosity", b'"low"'),
    )


def test_an_option_that_every_wire_has_a_word_for_is_neutral():
    request = decode(parallel_tool_calls=False).request
    assert (request.options, request.wire) == ((("parallel_tool_calls", b"false"),), "")
    assert decode(parallel_tool_calls=False, verbosity="low").request.wire == "openai"


def test_null_for_a_known_field_is_none_and_for_an_unknown_one_is_kept():
    nothing = dict.fromkeys(set(Body.__struct_fields__) - NAMES - {"model", "messages"})
    assert decode(**nothing) == decode()
    assert decode(top_k=None).request.options == (("top_k", b"null"),)


def test_metadata_becomes_tags_and_user_the_end_user():
    asked = decode(metadata={"team": "a", "note": '{"why": "x?"}'}, tags={"team": "a", "b": "c"}, user="Ana Ü")
    assert asked.request.terms.tags == {"team": "a", "note": '{"why": "x?"}', "b": "c"}
    assert (asked.end_user, asked.user_id) == ("Ana Ü", None)


def test_usage_in_the_stream_is_asked_for_and_the_other_stream_options_are_kept():
    assert not decode(stream=True).include_usage
    asked = decode(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})
    assert asked.include_usage
    assert asked.request.terms.stream
    assert asked.request.options == (("stream_options", b'{"include_obfuscation":false}'),)


PICTURE = {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}}


def test_parts_are_kept_whole():
    parts = [{"type": "text", "text": "what?"}, PICTURE, {"type": "text", "text": "a", "cache_control": {"type": "x"}}]
    (message,) = decode(messages=[{"role": "user", "content": parts}]).request.messages
    assert message.content[0] == Part("text", "what?")
    assert (message.content[1].type, message.content[1].text) == ("image_url", None)
    assert json.loads(message.content[1].raw) == PICTURE
    assert (message.content[2].text, json.loads(message.content[2].raw)) == ("a", parts[2])


def test_a_picture_alone_is_no_vendor_field():
    content = [{"type": "text", "text": "what?"}, PICTURE]
    assert decode(messages=[{"role": "user", "content": content}]).request.wire == ""
    marked = [{**PICTURE, "cache_control": {}}]
    assert decode(messages=[{"role": "user", "content": marked}]).request.wire == "openai"


def test_a_conversation_with_tools_keeps_its_calls():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{not json", "x": 1}, "y": 2}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "text"}}
    turns = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call, custom], "refusal": None, "audio": {"id": "a"}},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
        {"role": "function", "name": "f", "content": "6"},
    ]
    _, said, result, old = decode(messages=turns).request.messages
    assert said.tool_calls == (
        ToolCall(id="c1", name="f", arguments="{not json", extra=b'{"y":2,"function":{"x":1}}'),
        ToolCall(id="c2", name="g", arguments="text", type="custom"),
    )
    assert said.extra == b'{"audio":{"id":"a"}}'
    assert result == Message("tool", "5", tool_call_id="c1")
    assert old == Message("tool", "6", name="f", extra=b'{"role":"function"}')


def test_tools_keep_what_we_do_not_know():
    known = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    custom = {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}}
    first, second, third = decode(
        tools=[
            {"type": "function", "function": known},
            {"type": "function", "function": {"name": "f", "x": 1}, "cache_control": {}},
            custom,
        ],
        tool_choice={"type": "function", "function": {"name": "f"}},
    ).request.tools
    assert first == Tool(name="f", description="d", parameters=b'{"type":"object"}', strict=True)
    assert second.extra == b'{"cache_control":{},"function":{"x":1}}'
    assert (third.type, third.name, json.loads(third.extra)) == ("custom", "g", {"custom": custom["custom"]})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_tokens", 0, "an integer from 1 to 2147483647"),
        ("max_tokens", LIMIT + 1, "an integer from 1"),
        ("max_tokens", 2**200, "an integer from 1"),
        ("max_tokens", 1.0, "an integer"),
        ("max_completion_tokens", True, "an integer"),
        ("n", 0, "from 1 to 8"),
        ("n", 9, "from 1 to 8"),
        ("temperature", 2.1, "a number from 0 to 2"),
        ("temperature", "1", "a number"),
        ("top_p", -0.1, "from 0 to 1"),
        ("presence_penalty", -2.1, "from -2 to 2"),
        ("frequency_penalty", 2.1, "from -2 to 2"),
        ("logit_bias", {"1": 101}, "from -100 to 100"),
        ("top_logprobs", 21, "from 0 to 20"),
        ("seed", 2**63, "an integer"),
        ("stop", ["a"] * 5, "a list of at most 4"),
        ("stop", 5, "a string of 1 to 1000 characters or a list"),
        ("stream", "true", "true or false"),
        ("stream_options", {"include_usage": 1}, "true or false"),
        ("metadata", {"k": 1}, "at most 512"),
        ("metadata", {str(n): "" for n in range(17)}, "at most 16 members"),
        ("tools", {}, "a list"),
        ("tools", [{"type": "function"}], "is required"),
        ("tools", [{"type": "function", "function": {}}], "is required"),
        ("response_format", {"type": "json_schema"}, "is required"),
        ("response_format", "json_object", "an object"),
        ("quality_threshold", 5.1, "from 0 to 5"),
        ("user", "x\n", "without control characters"),
        ("user_id", "../x", "an id"),
        ("messages", [], "a list of at least 1 items"),
        ("messages", "hello", "a list"),
        ("messages", [{"content": "x"}], "is required"),
        ("messages", [{"role": "robot", "content": "x"}], "one of 'assistant'"),
        ("messages", [{"role": "user"}], "is required"),
        ("messages", [{"role": "user", "content": 5}], "a string or a list"),
        ("messages", [{"role": "user", "content": ["x"]}], "an object"),
        ("messages", [{"role": "user", "content": [{"text": "x"}]}], "type"),
        ("messages", [{"role": "user", "content": [{"type": "text"}]}], "a string"),
        ("messages", [{"role": "tool", "content": "x"}], "is required"),
        ("messages", [*HELLO, {"role": "assistant"}], "is required"),
        ("messages", [*HELLO, {"role": "assistant", "tool_calls": [{"id": "x"}]}], "of type 'function'"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_allowed_range(field, value, words):
    error = refusal(**{field: value})
    assert (error.status, error.code) == (400, "invalid_request")
    assert words in error.message
    assert error.param.startswith(field)


@pytest.mark.parametrize("value", ["", "a\n", "a\0b", "../x", "*", "a?", "<script>", "a b", "${x}", None, 5])
def test_an_odd_model_name_is_refused(value):
    assert refusal(model=value).status == 400


@pytest.mark.parametrize("name", ["model", "messages"])
def test_model_and_messages_are_required(name):
    body = {"model": "auto", "messages": HELLO}
    del body[name]
    with pytest.raises(Invalid, match=f"`{name}` is required"):
        openai.decode(json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": " \n\u200b"}],
        [{"role": "system", "content": "be brief"}, {"role": "user", "content": " "}],
        [{"role": "user", "content": [{"type": "text", "text": " "}]}],
        [{"role": "user", "content": []}],
        [{"role": "system", "content": " "}],
    ],
)
def test_a_blank_question_is_refused(turns):
    assert refusal(messages=turns).code == "invalid_request"


def test_a_picture_without_words_is_a_question():
    decode(messages=[{"role": "user", "content": [PICTURE]}])


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://x/a",
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        "gopher://x",
        "javascript:alert(1)",
        "https://",
        "https:///a",
        "http://x/\na",
        "//x/a",
        "",
        None,
    ],
)
def test_an_address_that_is_no_picture_of_the_web_is_refused(url):
    error = refusal(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert error.param == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    "url", ["https://x.org/a.png?b#c", "HTTP://X/a", "http://10.0.0.1/a", "data:image/png;base64,AA"]
)
def test_an_address_is_passed_on_and_never_fetched(url):
    decode(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])


@pytest.mark.parametrize(
    ("fields", "param", "meant"),
    [
        ({"Messages": []}, "Messages", "messages"),
        ({"maxTokens": 5}, "maxTokens", "max_tokens"),
        ({"quality_treshold": 5}, "quality_treshold", "quality_threshold"),
        ({"Cost-Budget": 5}, "Cost-Budget", "cost_budget"),
        ({"asahi": {}}, "asahi", None),
        ({"messages": [{"role": "user", "content": "x", "Name": "y"}]}, "messages[0].Name", "name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "Parameters": {}}}]},
            "tools[0].function.Parameters",
            "parameters",
        ),
        ({"examples": [{"input": "a", "output": "b", "c": "d"}]}, "examples[0].c", None),
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_name(fields, param, meant):
    error = refusal(**fields)
    assert (error.code, error.param) == ("unknown_field", param)
    assert meant is None or f"`{meant}`" in error.message


@pytest.mark.parametrize("fields", [{"api_base": "x"}, {"base_url": "x"}, {"metadata": {"api_key": "x"}},
    {"x_new": [{"extra_headers": {}}]}, {"web_search_options": {"proxy": "x"}}])  # fmt: skip
def test_a_steering_name_is_refused_at_every_depth(fields):
    assert refusal(**fields).code == "unknown_field"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_k": 1}, "top_k"),
        ({"messages": [{"role": "user", "content": "x", "mood": 1}]}, "messages[0].mood"),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "x": 1}]}, "tools[0].x"),
    ],
)
def test_strict_fields_refuse_what_is_new(fields, param):
    error = refusal(strict_fields=True, **fields)
    assert (error.code, error.param) == ("unknown_field", param)
    decode(**fields)


def test_a_flood_of_unknown_fields_is_refused_at_once():
    started = time.process_time()
    error = refusal(**{f"quality_{n}_threshol": 1 for n in range(50_000)})
    assert error.code == "unknown_field"
    assert time.process_time() - started < 2


def test_what_the_sdk_answers_may_be_sent_back():
    said = ChatCompletionMessage(role="assistant", content="Paris", refusal=None)
    turns = [*HELLO, said.model_dump(), {"role": "user", "content": "why?"}]
    request = decode(messages=turns).request
    assert request.messages[1] == Message("assistant", "Paris")
    assert request.wire == ""


def test_strict_fields_accept_what_the_sdk_knows():
    decode(strict_fields=True, verbosity="low", store=True, functions=[{"name": "f"}])


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"metadata": {"a": "b"}, "tags": {"a": "c"}},
        {"model_override": "other"},
    ],
)
def test_two_places_of_one_thing_must_agree(fields):
    assert refusal(**fields).code == "conflicting_fields"
    assert decode(max_tokens=5, max_completion_tokens=5).request.max_tokens == 5


def test_too_many_messages_are_too_large():
    with pytest.raises(TooLarge):
        decode(messages=HELLO * 10_001)


def test_asahi_fields_are_taken_at_the_top_level():
    asked = decode(
        document="d", document_id="d-1", cost_budget=0.01, user_id="ana", organization_id="acme", dry_run=True
    )
    assert asked.request.document.id == "d-1"
    assert (asked.request.terms.cost_budget, asked.request.terms.dry_run) == (10_000_000, True)
    assert (asked.user_id, asked.organization_id, asked.request.options) == ("ana", "acme", ())


def test_placed_fields_are_fields():
    assert set(Body.__struct_fields__) > PLACED
