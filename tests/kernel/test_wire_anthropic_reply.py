"""Answers, errors and streams in Anthropic's shapes, read by the official SDK."""

import json
from datetime import UTC, datetime

import anthropic as sdk
import httpx2
import msgspec
import pytest
from anthropic.types import Message

from asahi_kernel.answer import Answer, Bill, Route
from asahi_kernel.draft import Draft
from asahi_kernel.errors import Denied, Exhausted, Invalid, NotFound, ProviderFailed, TooLarge, Unavailable
from asahi_kernel.relay import Relay
from asahi_kernel.types import Chunk, Completion, ToolCall, ToolCallDelta, Usage
from asahi_kernel.wire import anthropic

THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
CALL = ToolCall(id="toolu_1", name="look", arguments='{"a": 1}')


def answer(**fields) -> Answer:
    completion = Completion(**{"text": "Paris.", "model": "claude", "usage": Usage(8, 2), **fields})
    return Answer(
        request_id="01REQUEST",
        timestamp=datetime.now(UTC),
        completion=completion,
        usage=completion.usage,
        bill=Bill(cost=1_500, baseline_cost=2_000, saved=500),
        route=Route(mode="explicit", reason="claude was named by the caller"),
    )


def encoded(**fields) -> dict:
    return json.loads(anthropic.encode(answer(**fields)))


def read(body: bytes) -> Message:
    """As the official client reads it."""

    def respond(request):
        kind = "text/event-stream" if body.startswith(b"event:") else "application/json"
        return httpx2.Response(200, content=body, headers={"content-type": kind})

    http = sdk.DefaultHttpxClient(transport=httpx2.MockTransport(respond))
    client = sdk.Anthropic(api_key="k", base_url="http://x", http_client=http, max_retries=0)
    asked = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    if not body.startswith(b"event:"):
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


def streamed(*chunks: Chunk, **fields) -> bytes:
    draft = Draft("claude")
    for chunk in chunks:
        draft.add(chunk)
    completion = msgspec.structs.replace(draft.completion(), usage=Usage(8, 2), **fields)
    writer = anthropic.StreamEncoder("01REQUEST", "claude")
    given = msgspec.structs.replace(answer(), completion=completion)
    return writer.role() + b"".join(map(writer.chunk, chunks)) + writer.finish(given)


def replayed(completion: Completion) -> bytes:
    relay, writer = Relay(), anthropic.StreamEncoder("01REQUEST", "claude")
    relay.replay(completion)
    events = b"".join(writer.chunk(item) for item in relay._items if isinstance(item, Chunk))
    return writer.role() + events + writer.finish(msgspec.structs.replace(answer(), completion=completion))


def test_an_answer_has_exactly_these_members():
    assert encoded() == {
        "id": "msg_01REQUEST",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "Paris."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 8,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 2,
        },
        "asahi": {
            "request_id": "01REQUEST",
            "cost": 1.5e-06,
            "baseline_cost": 2e-06,
            "saved": 5e-07,
            "cache": "miss",
            "cache_tier": 0,
            "similarity": None,
            "routing_reason": "claude was named by the caller",
            "warnings": [],
        },
    }


def test_the_sdk_reads_an_answer_with_calls():
    message = read(anthropic.encode(answer(tool_calls=(CALL,), finish_reason="tool_calls")))
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert (message.content[1].input, message.stop_reason) == ({"a": 1}, "tool_use")


def test_input_tokens_leave_out_the_cache():
    usage = Usage(100, 20, cached_tokens=60, cache_write_tokens=30, cache_write_1h_tokens=10, reasoning_tokens=5)
    assert encoded(usage=usage)["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 60,
        "output_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "output_tokens_details": {"thinking_tokens": 5},
    }


@pytest.mark.parametrize(
    ("reason", "told"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal")],
)
def test_finish_reasons_are_told_in_the_vendors_words(reason, told):
    assert encoded(finish_reason=reason)["stop_reason"] == told


def test_the_vendors_own_reason_wins():
    told = encoded(choice=b'{"stop_reason":"stop_sequence","stop_sequence":"END","logprobs":1}')
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")
    assert "logprobs" not in told


def test_blocks_come_back_in_their_order():
    layout = [
        THOUGHT,
        {"type": "text", "length": 4},
        {"type": "tool_use"},
        {"type": "text", "length": 2, "citations": []},
    ]
    content = encoded(tool_calls=(CALL,), message=json.dumps({"content_blocks": layout}).encode())["content"]
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}
    last = {"type": "text", "citations": [], "text": "s."}
    assert content == [THOUGHT, {"type": "text", "text": "Pari"}, call, last]


def test_a_text_that_was_changed_since_goes_out_whole():
    layout = [THOUGHT, {"type": "text", "length": 4}, {"type": "server"}, {"type": "text", "length": 90}]
    content = encoded(message=json.dumps({"content_blocks": layout}).encode())["content"]
    assert content == [THOUGHT, {"type": "text", "text": "Paris."}, {"type": "server"}]


def test_a_refusal_of_another_wire_is_text():
    told = encoded(text="", message=b'{"refusal":"I cannot.","content":null,"x":1}')
    assert (told["content"], told["x"], "refusal" in told) == ([{"type": "text", "text": "I cannot."}], 1, False)


def test_vendor_members_take_no_place_of_ours():
    assert encoded(message=b'{"id":"x","model":"y","usage":0,"asahi":0}')["id"] == "msg_01REQUEST"


@pytest.mark.parametrize(
    ("text", "told"), [("", {}), ("{oops", {"invalid_json": "{oops"}), ("[1]", {"invalid_json": "[1]"})]
)
def test_arguments_that_are_no_object_become_a_member_of_one(text, told):
    call = ToolCall(id="c", name="f", arguments=text)
    assert encoded(text="", tool_calls=(call,))["content"][0]["input"] == told


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Invalid("x"), "invalid_request_error"),
        (Denied("x"), "permission_error"),
        (NotFound("x"), "not_found_error"),
        (TooLarge("x"), "request_too_large"),
        (Exhausted("x"), "rate_limit_error"),
        (ProviderFailed("x"), "api_error"),
        (Unavailable("x"), "overloaded_error"),
    ],
)
def test_errors_have_the_vendors_types(error, kind):
    body = json.loads(anthropic.error(error, "01REQUEST"))
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": "x", "code": error.code},
        "request_id": "01REQUEST",
    }


def test_the_sdk_reads_a_stream():
    message = read(streamed(Chunk(text="Pa"), Chunk(text="ris."), Chunk(finish_reason="stop")))
    assert (message.id, message.model, message.content[0].text) == ("msg_01REQUEST", "claude", "Paris.")
    assert (message.usage.input_tokens, message.usage.output_tokens, message.stop_reason) == (8, 2, "end_turn")


def test_a_stream_is_these_events():
    body = streamed(Chunk(text="Pa"), Chunk(text="ris."), Chunk(finish_reason="length"))
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]
    names = [line[7:].decode() for line in body.splitlines() if line.startswith(b"event: ")]
    assert names == [event["type"] for event in events]
    assert names == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[-2]["asahi"]["cost"] == 1.5e-06
    assert events[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}


def test_the_sdk_reads_streamed_calls_even_when_they_take_turns():
    deltas = [
        ToolCallDelta(index=0, id="a", name="look", type="function"),
        ToolCallDelta(index=0, arguments='{"x":'),
        ToolCallDelta(index=1, id="b", name="run", arguments="{}", type="function"),
        ToolCallDelta(index=0, arguments="1}"),
    ]
    chunks = [Chunk(text="so"), *(Chunk(tool_calls=(delta,)) for delta in deltas), Chunk(finish_reason="tool_calls")]
    message = read(streamed(*chunks))
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert [(block.id, block.input) for block in message.content[1:]] == [("a", {"x": 1}), ("b", {})]


def test_thinking_is_streamed_as_it_came():
    message = read(
        streamed(
            Chunk(delta=b'{"content_block":{"type":"thinking","thinking":"","signature":""}}'),
            Chunk(delta=b'{"content_block_delta":{"type":"thinking_delta","thinking":"hm"}}'),
            Chunk(delta=b'{"content_block_delta":{"type":"signature_delta","signature":"EqQB"}}'),
            Chunk(text="Paris."),
            Chunk(text="!", delta=b'{"content_block":{"type":"text","text":""}}'),
            Chunk(finish_reason="stop"),
        )
    )
    assert message.content[0].to_dict() == THOUGHT
    assert [block.text for block in message.content[1:]] == ["Paris.", "!"]


def test_a_stored_answer_is_streamed_with_its_thinking_first():
    layout = [THOUGHT, {"type": "text", "length": 6}, {"type": "tool_use"}]
    completion = Completion(
        text="Paris.",
        model="claude",
        tool_calls=(CALL,),
        finish_reason="tool_calls",
        message=json.dumps({"content_blocks": layout}).encode(),
    )
    message = read(replayed(completion))
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert (message.content[0].to_dict(), message.content[2].input) == (THOUGHT, {"a": 1})


def test_an_error_in_a_stream_raises_in_the_client():
    writer = anthropic.StreamEncoder("01REQUEST", "claude")
    body = writer.role() + writer.chunk(Chunk(text="Pa")) + writer.error(ProviderFailed("it broke off"))
    with pytest.raises(sdk.APIError, match="it broke off"):
        read(body)
