"""Bytes as Anthropic documents them are understood, and what is not understood is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asahi_anthropic.decode import decode_reply
from asahi_anthropic.transcript import Transcript
from asahi_kernel import Chunk, Completion, ToolCall, Usage
from asahi_kernel.draft import Draft
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.money import Prices, per_million

TEXT = {"type": "text", "text": "Hi!", "citations": None}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": [1, 2]}, "caller": {"type": "direct"}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
CITED = {"type": "text", "text": "found", "citations": [{"type": "web_search_result_location", "url": "u"}]}


def reply(*content: Any, **fields: Any) -> Completion:
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return decode_reply(json.dumps(message | fields).encode(), "m", "")


def heard(*events: dict[str, Any]) -> list[Chunk]:
    transcript = Transcript("")
    chunks = [chunk for event in events for chunk in transcript.read((event["type"], json.dumps(event).encode()))]
    return [*chunks, *transcript.end()]


def start(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "msg_01", "content": [], "usage": usage}}


def opened(at: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": at, "content_block": block}


def piece(at: int, kind: str, name: str, value: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": at, "delta": {"type": kind, name: value}}


def closed(at: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": at}


def last(reason: str = "end_turn", usage: Any = None, **delta: Any) -> tuple[dict[str, Any], ...]:
    told = {"output_tokens": 15} if usage is None else usage
    delta = {"stop_reason": reason, "stop_sequence": None, **delta}
    return {"type": "message_delta", "delta": delta, "usage": told}, {"type": "message_stop"}


SAID = (opened(0, {"type": "text", "text": ""}), piece(0, "text_delta", "text", "Hello"), closed(0))


def test_a_plain_answer_keeps_nothing_extra() -> None:
    completion = reply(TEXT)
    assert (completion.text, completion.message, completion.choice) == ("Hi!", b"", b"")
    assert (completion.finish_reason, completion.provider_request_id, completion.model) == ("stop", "msg_01", "m")


def test_calls_come_back_with_their_arguments_as_they_were() -> None:
    completion = reply(TEXT, CALL, stop_reason="tool_use")
    assert completion.tool_calls == (ToolCall(id="toolu_1", name="look", arguments='{"a": [1, 2]}'),)
    assert (completion.finish_reason, completion.message) == ("tool_calls", b"")


@pytest.mark.parametrize(
    ("told", "meant", "kept"),
    [
        ("end_turn", "stop", None),
        ("max_tokens", "length", None),
        ("tool_use", "tool_calls", None),
        ("refusal", "content_filter", None),
        ("stop_sequence", "stop", {"stop_reason": "stop_sequence"}),
        ("pause_turn", "length", {"stop_reason": "pause_turn"}),
        ("model_context_window_exceeded", "length", {"stop_reason": "model_context_window_exceeded"}),
        ("brand_new", "stop", {"stop_reason": "brand_new"}),
        (None, "stop", None),
    ],
)
def test_stop_reasons_are_mapped_and_odd_ones_kept(told: str | None, meant: str, kept: object) -> None:
    completion = reply(TEXT, stop_reason=told)
    assert completion.finish_reason == meant
    assert (json.loads(completion.choice) if completion.choice else None) == kept


def test_the_stop_sequence_and_details_are_kept() -> None:
    completion = reply(TEXT, stop_reason="stop_sequence", stop_sequence="END")
    assert json.loads(completion.choice) == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    refusal = reply(TEXT, stop_reason="refusal", stop_details={"type": "refusal", "category": "bio"})
    assert json.loads(refusal.choice) == {"stop_details": {"type": "refusal", "category": "bio"}}


def test_other_blocks_are_kept_in_their_order_without_the_text() -> None:
    completion = reply(THOUGHT, TEXT, SEARCH, CITED, CALL)
    assert completion.text == "Hi!found"
    layout = json.loads(completion.message)["content_blocks"]
    cited = {"type": "text", "length": 5, "citations": CITED["citations"]}
    assert layout == [THOUGHT, {"type": "text", "length": 3}, SEARCH, cited, {"type": "tool_use"}]
    assert b"found" not in completion.message


def test_the_cache_is_part_of_the_input_and_priced_apart() -> None:
    """Anthropic's `input_tokens` leaves out what the cache read or wrote."""
    told = {
        "input_tokens": 2_095,
        "cache_creation_input_tokens": 1_000,
        "cache_read_input_tokens": 30_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
        "output_tokens": 503,
        "output_tokens_details": {"thinking_tokens": 200},
        "service_tier": "standard",
    }
    usage = reply(TEXT, usage=told).usage
    assert usage == Usage(
        33_095, 503, cached_tokens=30_000, cache_write_tokens=1_000, cache_write_1h_tokens=600, reasoning_tokens=200
    )
    prices = Prices(
        input=per_million(3), output=per_million(15), cache_read=per_million("0.3"), cache_write=per_million("3.75")
    )
    assert prices.cost(usage) == 2_095 * 3_000 + 30_000 * 300 + 1_000 * 3_750 + 503 * 15_000


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"input_tokens": 10},
        {"output_tokens": 10},
        {"input_tokens": -1, "output_tokens": 5},
        {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": -10},
        {"input_tokens": 10.5, "output_tokens": 5},
        {"input_tokens": 2**31, "output_tokens": 5},
        {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 6}},
        {"input_tokens": 1, "output_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 6}},
    ],
)
def test_usage_that_cannot_be_true_counts_as_none(told: object) -> None:
    assert reply(TEXT, usage=told).usage is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"\xff", b'{"content":[{}]}', b'{"content":[{"type":"text"}]}', b'{"content":1}', b"[" * 5_000],
)
def test_what_is_no_answer_is_garbage(body: bytes) -> None:
    with pytest.raises(Garbage):
        decode_reply(body, "m", "")


def test_an_error_object_is_a_failure() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}'
    with pytest.raises(Failure) as caught:
        decode_reply(body, "m", "")
    assert json.loads(caught.value.error)["type"] == "overloaded_error"


def test_a_documented_stream_adds_up() -> None:
    chunks = heard(
        start(input_tokens=25, output_tokens=1, cache_read_input_tokens=5),
        opened(0, {"type": "text", "text": ""}),
        {"type": "ping"},
        piece(0, "text_delta", "text", "Hello"),
        piece(0, "text_delta", "text", "!"),
        closed(0),
        {"type": "brand_new_event", "x": 1},
        *last(),
    )
    assert chunks == [
        Chunk(text="Hello", provider_request_id="msg_01"),
        Chunk(text="!"),
        Chunk(finish_reason="stop", usage=Usage(30, 15, cached_tokens=5)),
    ]


def test_the_last_numbers_hold_as_they_are_cumulative() -> None:
    usage = {"input_tokens": 7, "cache_creation_input_tokens": 3, "output_tokens": 9}
    chunk = heard(start(input_tokens=25, output_tokens=1), *SAID, *last(usage=usage))[-1]
    assert chunk.usage == Usage(10, 9, cache_write_tokens=3)


def test_a_stream_whose_end_tells_no_usage_has_none() -> None:
    assert heard(start(input_tokens=25, output_tokens=1), *SAID, *last(usage={}))[-1].usage is None


def test_streamed_calls_are_numbered_and_one_without_arguments_gets_an_empty_object() -> None:
    first = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    second = {"type": "tool_use", "id": "t2", "name": "run", "input": {}}
    chunks = heard(
        start(input_tokens=1, output_tokens=1),
        *SAID,
        opened(1, first),
        piece(1, "input_json_delta", "partial_json", ""),
        piece(1, "input_json_delta", "partial_json", '{"a":'),
        piece(1, "input_json_delta", "partial_json", "1}"),
        closed(1),
        opened(2, second),
        closed(2),
        *last("tool_use"),
    )
    draft = Draft("m")
    for chunk in chunks:
        draft.add(chunk)
    assert draft.exact
    assert draft.completion().tool_calls == (
        ToolCall(id="t1", name="look", arguments='{"a":1}'),
        ToolCall(id="t2", name="run", arguments="{}"),
    )


def test_other_blocks_are_passed_on_as_they_come() -> None:
    chunks = heard(
        start(),
        opened(0, {"type": "thinking", "thinking": "", "signature": ""}),
        piece(0, "thinking_delta", "thinking", "hm"),
        piece(0, "signature_delta", "signature", "EqQB"),
        closed(0),
        opened(1, {"type": "text", "text": ""}),
        piece(1, "text_delta", "text", "so"),
        piece(1, "citations_delta", "citation", {"url": "u"}),
        closed(1),
        opened(2, {"type": "text", "text": ""}),
        piece(2, "text_delta", "text", "again"),
        *last(),
    )
    assert [json.loads(chunk.delta) for chunk in chunks if chunk.delta] == [
        {"content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"content_block_delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"content_block_delta": {"type": "signature_delta", "signature": "EqQB"}},
        {"content_block_delta": {"type": "citations_delta", "citation": {"url": "u"}}},
        {"content_block": {"type": "text", "text": ""}},
    ]
    assert "".join(chunk.text for chunk in chunks) == "soagain"


def test_a_stream_without_its_last_event_is_garbage() -> None:
    with pytest.raises(Garbage):
        heard(start(), *SAID, last()[0])


def test_a_stream_without_a_reason_is_garbage() -> None:
    with pytest.raises(Garbage):
        heard(start(), *SAID, {"type": "message_stop"})


def test_an_error_event_is_a_failure() -> None:
    with pytest.raises(Failure):
        heard(start(), {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def test_a_ping_is_no_sign_of_an_answer() -> None:
    transcript = Transcript("")
    transcript.read(("ping", b'{"type":"ping"}'))
    assert not transcript.begun
