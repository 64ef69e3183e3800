"""The body that goes to Cohere says all that was asked; what its wire has no word for is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.plugins.vendors import ask

from asahi_cohere.encode import encode
from asahi_cohere.refusals import refusal
from asahi_kernel import Message, Part, Request, Tool, ToolCall

IMAGE = b'{"type":"image_url","image_url":{"url":"https://host/cat.png","detail":"low"}}'
LOOK = Tool(name="look", description="Looks.", parameters=b'{"type":"object"}')
CALL = ToolCall(id="call_1", name="look", arguments='{"at":"sea"}')
SCHEMA = b'{"type":"json_schema","json_schema":{"name":"city","strict":true,"schema":{"type":"object"}}}'


def body(request: Request, *, stream: bool = False) -> Any:
    return json.loads(encode(request, "command-a-03-2025", stream=stream))


def test_a_plain_question_is_plain() -> None:
    told = body(ask("hi"))
    assert told == {
        "model": "command-a-03-2025",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
    }
    assert body(ask("hi"), stream=True)["stream"] is True


def test_sampling_has_this_wires_names() -> None:
    told = body(ask("hi", max_tokens=9, temperature=0.0, top_p=0.5, stop=("x", "y"), seed=0))
    names = ("max_tokens", "temperature", "p", "stop_sequences", "seed")
    assert [told[name] for name in names] == [9, 0.0, 0.5, ["x", "y"], 0]


def test_what_was_said_before_a_tool_was_called_is_the_plan() -> None:
    turns = (
        Message("developer", "Be brief."),
        Message("user", "Look."),
        Message("assistant", "I will look.", tool_calls=(CALL,)),
        Message("tool", "water", tool_call_id="call_1", name="look"),
        Message("assistant", "It is wet."),
        Message("user", (Part("text", "And here?"), Part("image_url", raw=IMAGE))),
    )
    request = Request(messages=turns, tools=(LOOK,))
    assert refusal(request) == ""
    function = {"name": "look", "arguments": '{"at":"sea"}'}
    assert body(request)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look."},
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            "tool_plan": "I will look.",
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "water"},
        {"role": "assistant", "content": "It is wet."},
        {"role": "user", "content": [{"type": "text", "text": "And here?"}, json.loads(IMAGE)]},
    ]


@pytest.mark.parametrize(
    ("choice", "told"), [(b"", None), (b'"auto"', None), (b'"required"', "REQUIRED"), (b'"none"', "NONE")]
)
def test_a_choice_of_tools_has_this_wires_name(choice: bytes, told: str | None) -> None:
    request = ask("Look.", tools=(LOOK,), tool_choice=choice)
    assert refusal(request) == ""
    sent = body(request)
    assert sent.get("tool_choice") == told
    assert "strict_tools" not in sent
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    assert sent["tools"] == [{"type": "function", "function": function}]


def test_tools_that_are_all_strict_are_held_to_their_schemas() -> None:
    tool = Tool(name="look", strict=True)
    sent = body(ask("Look.", tools=(tool,)))
    assert sent["strict_tools"] is True
    assert sent["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (b'{"type":"text"}', None),
        (b'{"type":"json_object"}', {"type": "json_object"}),
        (SCHEMA, {"type": "json_object", "json_schema": {"type": "object"}}),
    ],
)
def test_a_format_is_told_in_this_wires_words(asked: bytes, told: Any) -> None:
    request = ask("JSON, please.", response_format=asked)
    assert refusal(request) == ""
    assert body(request).get("response_format") == told


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ask("x", n=2), "one answer"),
        (ask("x", top_p=1.0), "top_p"),
        (ask("x", top_p=0.0), "top_p"),
        (ask("x", stop=tuple("abcdef")), "stop"),
        (ask("x", options=(("logit_bias", b"{}"),)), "logit_bias"),
        (ask("x", options=(("parallel_tool_calls", b"false"),)), "parallel_tool_calls"),
        (ask("x", tools=(Tool(type="custom", extra=b'{"name":"y"}'),)), "function tools"),
        (ask("x", tools=(LOOK, Tool(name="see", strict=True))), "all tools"),
        (ask("x", tools=(LOOK,), tool_choice=b'{"type":"function","function":{"name":"look"}}'), "which tool"),
        (ask("x", tools=(LOOK,), response_format=SCHEMA), "not both"),
        (ask("x", response_format=b'{"type":"grammar"}'), "plain text"),
        (ask("x", response_format=SCHEMA.replace(b'"name"', b'"description":"d","name"')), "description"),
        (Request(messages=(Message("user", "x", name="ann"),)), "names"),
        (Request(messages=(Message("user", "x", extra=b'{"a":1}'),)), "further fields"),
        (Request(messages=(Message("assistant", tool_calls=(ToolCall(id="1", name="x", type="custom"),)),)), "calls"),
        (Request(messages=(Message("user", (Part("text", "x", b'{"cache":1}'),)),)), "fields of a text"),
        (Request(messages=(Message("user", (Part("input_audio", raw=b"{}"),)),)), "input_audio"),
        (Request(messages=(Message("system", (Part("image_url", raw=IMAGE),)),)), "images"),
    ],
)
def test_what_would_be_lost_is_refused(request_: Request, reason: str) -> None:
    assert reason in refusal(request_)


def test_calls_one_after_the_other_are_no_more_than_it_does_anyway() -> None:
    assert refusal(ask("x", options=(("parallel_tool_calls", b"true"),))) == ""
