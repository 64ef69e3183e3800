"""What this wire has no word for is said beforehand; what it has a word for is taken."""

from __future__ import annotations

from typing import Any

import pytest

from asahi_anthropic.refusals import refusal
from asahi_kernel import Message, Part, Request, Tool, ToolCall

HELLO = (Message("user", "x"),)


def part(kind: str, told: bytes) -> tuple[Message, ...]:
    return (Message("user", (Part(kind, None, b'{"type":"%b","%b":%b}' % (kind.encode(), kind.encode(), told)),)),)


def called(**fields: Any) -> tuple[Message, ...]:
    call = ToolCall(**{"id": "c1", "name": "f", "arguments": "{}", **fields})
    return (*HELLO, Message("assistant", None, tool_calls=(call,)), Message("tool", "y", tool_call_id="c1"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"n": 2}, "one answer"),
        ({"seed": 0}, "seed"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop": ("a", "\n")}, "stop"),
        ({"options": (("logit_bias", b"{}"),)}, "logit_bias"),
        ({"tools": (Tool(type="custom", name="f"),)}, "function tools"),
        ({"tool_choice": b'{"type":"allowed_tools","allowed_tools":{}}'}, "tool_choice"),
        ({"response_format": b'{"type":"json_object"}'}, "Schema"),
        (
            {"response_format": b'{"type":"json_schema","json_schema":{"name":"a","description":"d","schema":{}}}'},
            "description",
        ),
        ({"messages": (Message("system", "s"),)}, "turn of the user"),
        ({"messages": (*HELLO, Message("assistant", "so far"))}, "last turn"),
        ({"messages": (Message("user", "x", "ann"),)}, "names"),
        ({"messages": part("input_audio", b'{"data":"AA==","format":"wav"}')}, "input_audio"),
        ({"messages": part("file", b'{"file_id":"f"}')}, "file"),
        ({"messages": part("image_url", b'{"url":"https://a.example/b","detail":"high"}')}, "detail"),
        ({"messages": part("image_url", b'{"url":"data:image/svg+xml;base64,AA=="}')}, "JPEG"),
        ({"messages": called(arguments="not json")}, "arguments"),
        ({"messages": called(arguments="[1]")}, "arguments"),
        ({"messages": called(type="custom", arguments="{}")}, "arguments"),
        ({"messages": called(id="call.1")}, "arguments"),
    ],
)
def test_what_would_be_lost_is_refused_with_a_reason(fields: dict[str, Any], reason: str) -> None:
    assert reason in refusal(Request(**{"messages": HELLO, **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1.0, "top_p": 0.5, "stop": ("END",), "max_tokens": 5},
        {"options": (("parallel_tool_calls", b"false"),)},
        {"tools": (Tool(name="f"),), "tool_choice": b'{"type":"function","function":{"name":"f"}}'},
        {"response_format": b'{"type":"text"}'},
        {"response_format": b'{"type":"json_schema","json_schema":{"name":"a","schema":{},"strict":true}}'},
        {"messages": part("image_url", b'{"url":"https://a.example/b","detail":"auto"}')},
        {"messages": part("image_url", b'{"url":"data:image/PNG;base64,AA=="}')},
        {"messages": called()},
        {"messages": called(arguments="")},
        {"messages": (Message("developer", "d"), *HELLO)},
        {"wire": "anthropic", "messages": (*HELLO, Message("assistant", "so far"))},
    ],
)
def test_what_arrives_whole_is_taken(fields: dict[str, Any]) -> None:
    assert refusal(Request(**{"messages": HELLO, **fields})) == ""
