"""Nothing a caller said is lost on the way to the vendor: what arrives is what the vendor documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types.message_count_tokens_params import MessageCountTokensParams

from asahi_anthropic.encode import encode, encode_count
from asahi_kernel import Message, Part, Request, Tool, ToolCall

HELLO = (Message("user", "x"),)
IMAGE = Part("image_url", None, b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}')
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def sent(request: Request, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(request, "m", stream=stream, default_max_tokens=4096))
    return body


def turns(*messages: Message) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = sent(Request(messages=messages))["messages"]
    return listed


def test_a_plain_question_is_sent_as_compact_json() -> None:
    body = encode(Request(messages=(Message("user", 'hi "日本"'),)), "m", stream=False, default_max_tokens=7)
    assert body == '{"model":"m","messages":[{"role":"user","content":"hi \\"日本\\""}],"max_tokens":7}'.encode()


def test_every_field_is_sent() -> None:
    request = Request(
        messages=HELLO,
        max_tokens=7,
        temperature=0.0,
        top_p=0.5,
        stop=("a", "b"),
        wire="anthropic",
        options=(("cache_control", b'{"type":"ephemeral"}'), ("thinking", b'{"type":"adaptive"}'), ("top_k", b"4")),
    )
    assert sent(request, stream=True) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop_sequences": ["a", "b"],
        "cache_control": {"type": "ephemeral"},
        "thinking": {"type": "adaptive"},
        "top_k": 4,
        "stream": True,
    }


@pytest.mark.parametrize("name", ["model", "stream", "messages", "max_tokens", "system", "parallel_tool_calls"])
def test_an_option_cannot_decide_what_the_gateway_decides(name: str) -> None:
    request = Request(messages=HELLO, options=((name, b'"evil"'),))
    assert sent(request) == {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4096}


def test_system_prompts_go_to_their_own_field() -> None:
    assert sent(Request(messages=(Message("system", "s"), *HELLO)))["system"] == "s"
    both = sent(Request(messages=(Message("system", "s"), Message("developer", "d"), *HELLO)))
    assert both["system"] == [{"type": "text", "text": "s"}, {"type": "text", "text": "d"}]
    assert both["messages"] == [{"role": "user", "content": "x"}]


def test_a_later_system_message_stays_in_its_place() -> None:
    assert [turn["role"] for turn in turns(*HELLO, Message("system", "now briefly"))] == ["user", "system"]


def test_images_go_out_as_data_or_by_address() -> None:
    far = Part("image_url", None, b'{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}')
    (turn,) = turns(Message("user", (Part("text", "look"), IMAGE, far)))
    url = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    assert turn["content"] == [{"type": "text", "text": "look"}, PICTURE, url]


def test_calls_and_results_become_blocks_and_results_one_turn() -> None:
    calls = (ToolCall(id="c1", name="look", arguments='{"a": 1}'), ToolCall(id="c2", name="run"))
    assert turns(
        Message("user", "go"),
        Message("assistant", "", tool_calls=calls),
        Message("tool", "seen", name="look", tool_call_id="c1"),
        Message("tool", (Part("text", "shown"), IMAGE), tool_call_id="c2"),
        Message("user", "and?"),
        Message("user", "well?"),
    ) == [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "run", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "seen"},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "shown"}, PICTURE]},
                {"type": "text", "text": "and?"},
                {"type": "text", "text": "well?"},
            ],
        },
    ]


def test_blocks_of_the_same_wire_go_out_as_they_came() -> None:
    marked = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    call = ToolCall(id="c", name="f", arguments="{}", extra=b'{"cache_control":{"type":"ephemeral","ttl":"1h"}}')
    answered = Message("tool", "no", tool_call_id="c", extra=b'{"is_error":true}')
    listed = turns(
        Message("user", (Part("text", "long", json.dumps(marked).encode()),)),
        Message("assistant", (Part("thinking", None, json.dumps(thought).encode()),), tool_calls=(call,)),
        answered,
    )
    use = {"type": "tool_use", "id": "c", "name": "f", "input": {}, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert [turn["content"] for turn in listed] == [
        [marked],
        [thought, use],
        [{"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}],
    ]


def test_tools_go_out_whole() -> None:
    tools = (
        Tool(name="look", description="d", parameters=b'{"type":"object"}', strict=True),
        Tool(name="bare", extra=b'{"cache_control":{"type":"ephemeral"}}'),
        Tool(type="web_search_20250305", name="web_search", extra=b'{"name":"web_search","max_uses":5}'),
    )
    assert sent(Request(messages=HELLO, tools=tools))["tools"] == [
        {"name": "look", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {
            "name": "bare",
            "input_schema": {"type": "object", "properties": {}},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    ]


SINGLE = (("parallel_tool_calls", b"false"),)


@pytest.mark.parametrize(
    ("choice", "options", "told"),
    [
        (b"", (), None),
        (b"", (("parallel_tool_calls", b"true"),), None),
        (b'"auto"', (), {"type": "auto"}),
        (b'"required"', (), {"type": "any"}),
        (b'"none"', SINGLE, {"type": "none"}),
        (b"", SINGLE, {"type": "auto", "disable_parallel_tool_use": True}),
        (b'"required"', SINGLE, {"type": "any", "disable_parallel_tool_use": True}),
        (b'{"type":"function","function":{"name":"f"}}', (), {"type": "tool", "name": "f"}),
    ],
)
def test_which_tool_to_call_is_said_in_the_vendors_words(choice: bytes, options: Any, told: object) -> None:
    assert sent(Request(messages=HELLO, tool_choice=choice, options=options)).get("tool_choice") == told


def test_a_schema_for_the_answer_joins_the_output_configuration() -> None:
    schema = b'{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"},"strict":true}}'
    told = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert sent(Request(messages=HELLO, response_format=schema))["output_config"] == told
    effort = (("output_config", b'{"effort":"low"}'),)
    both = sent(Request(messages=HELLO, response_format=schema, options=effort))["output_config"]
    assert both == {**told, "effort": "low"}
    assert "output_config" not in sent(Request(messages=HELLO, response_format=b'{"type":"text"}'))


def test_a_count_is_asked_for_the_same_input_and_nothing_else() -> None:
    request = Request(
        messages=(Message("system", "s"), *HELLO),
        max_tokens=5,
        temperature=1.0,
        tools=(Tool(name="look"),),
        options=(("service_tier", b'"auto"'), ("thinking", b'{"type":"adaptive"}')),
    )
    body = json.loads(encode_count(request, "m"))
    assert body.keys() == {"model", "system", "messages", "tools", "thinking"}
    assert body.keys() <= MessageCountTokensParams.__annotations__.keys()
