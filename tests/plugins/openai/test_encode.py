"""Nothing a caller said is lost on the way to the vendor, and nothing is added but the count of tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asahi_kernel import Message, Part, Request, Tool, ToolCall
from asahi_kernel.types import Document, Example
from asahi_openai.encode import encode


def sent(request: Request, *, stream: bool = False, parameter: str = "max_tokens") -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(request, "m", stream=stream, max_tokens_parameter=parameter))
    return body


def turns(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = sent(Request(messages=messages, **fields))["messages"]
    return listed


def test_a_plain_question_is_sent_as_compact_json() -> None:
    body = encode(
        Request(messages=(Message("user", 'hi "日本"'),)), "m", stream=False, max_tokens_parameter="max_tokens"
    )
    assert body == '{"model":"m","messages":[{"role":"user","content":"hi \\"日本\\""}]}'.encode()


def test_every_field_is_sent() -> None:
    request = Request(
        messages=(Message("user", "x"),),
        max_tokens=7,
        temperature=0.0,
        top_p=0.5,
        stop=("a", "b"),
        seed=0,
        n=2,
        tool_choice=b'"auto"',
        response_format=b'{"type":"json_object"}',
        options=(("logit_bias", b'{"1":-100}'), ("reasoning_effort", b'"low"')),
    )
    assert sent(request) == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["a", "b"],
        "seed": 0,
        "n": 2,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "logit_bias": {"1": -100},
        "reasoning_effort": "low",
    }


def test_the_bound_goes_by_the_name_the_host_knows() -> None:
    request = Request(messages=(Message("user", "x"),), max_tokens=7)
    assert sent(request, parameter="max_completion_tokens")["max_completion_tokens"] == 7


@pytest.mark.parametrize("name", ["store", "model", "stream", "messages", "max_tokens"])
def test_an_option_cannot_decide_what_the_gateway_decides(name: str) -> None:
    request = Request(messages=(Message("user", "x"),), options=((name, b'"evil"'),))
    assert sent(request) == {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def test_a_stream_always_asks_for_usage() -> None:
    request = Request(messages=(Message("user", "x"),))
    assert sent(request, stream=True)["stream_options"] == {"include_usage": True}
    further = Request(messages=(Message("user", "x"),), options=(("stream_options", b'{"include_obfuscation":false}'),))
    assert sent(further, stream=True)["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert "stream_options" not in sent(further)


def test_parts_go_out_as_they_came() -> None:
    image = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="},"odd":1}'
    (turn,) = turns(Message("user", (Part("text", "look"), Part("image_url", None, image))))
    assert turn["content"] == [{"type": "text", "text": "look"}, json.loads(image)]


def test_a_conversation_with_tools_goes_out_whole() -> None:
    call = ToolCall(id="c1", name="look", arguments='{"a": 1}', extra=b'{"function":{"odd":1},"more":2}')
    odd = ToolCall(id="c2", name="run", arguments="text", type="custom")
    assert turns(
        Message("assistant", None, tool_calls=(call, odd), extra=b'{"refusal":null,"audio":{"id":"a"}}'),
        Message("tool", "seen", tool_call_id="c1"),
        Message("user", "and?", name="ann"),
    ) == [
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"a": 1}', "odd": 1},
                    "more": 2,
                },
                {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "text"}},
            ],
            "refusal": None,
            "audio": {"id": "a"},
        },
        {"role": "tool", "content": "seen", "tool_call_id": "c1"},
        {"role": "user", "content": "and?", "name": "ann"},
    ]


def test_tools_go_out_whole() -> None:
    tools = (
        Tool(
            name="look", description="d", parameters=b'{"type":"object"}', strict=True, extra=b'{"function":{"odd":1}}'
        ),
        Tool(type="custom", name="run", extra=b'{"custom":{"name":"run","format":{"type":"text"}}}'),
    )
    assert sent(Request(messages=(Message("user", "x"),), tools=tools))["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "d",
                "parameters": {"type": "object"},
                "strict": True,
                "odd": 1,
            },
        },
        {"type": "custom", "custom": {"name": "run", "format": {"type": "text"}}},
    ]


def test_a_document_comes_before_the_question_and_examples_after_the_system_prompt() -> None:
    listed = turns(
        Message("system", "s"),
        Message("user", "earlier"),
        Message("assistant", "said"),
        Message("user", "question"),
        document=Document("text"),
        examples=(Example("in", "out"),),
    )
    assert [turn["content"] for turn in listed] == ["s", "in", "out", "earlier", "said", "text", "question"]


def test_a_document_without_a_question_is_still_sent() -> None:
    assert [turn["content"] for turn in turns(Message("system", "s"), document=Document("text"))] == ["s", "text"]
