"""What hosts say differently is understood alike, and what is not understood is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asahi_kernel import Chunk, Completion, ToolCall, ToolCallDelta, Usage
from asahi_kernel.http.failures import Failure, Garbage
from asahi_openai.decode import decode_reply
from asahi_openai.transcript import Transcript


def reply(message: dict[str, Any], **choice: Any) -> Completion:
    body = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice]}
    return decode_reply(json.dumps(body).encode(), "m", "")


def heard(*events: dict[str, Any] | str) -> list[Chunk]:
    transcript = Transcript("")
    given = [event if isinstance(event, str) else json.dumps(event) for event in events]
    chunks = [chunk for event in given for chunk in transcript.read(("", event.encode()))]
    return [*chunks, *transcript.end()]


def event(delta: dict[str, Any] | None = None, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}], **fields}


STOP = event(reason="stop")


def test_vendor_fields_are_kept() -> None:
    completion = reply(
        {"role": "assistant", "content": "hi", "reasoning_content": "hm", "annotations": [1], "refusal": None},
        logprobs={"content": []},
        matched_stop=3,
    )
    assert json.loads(completion.message) == {"reasoning_content": "hm", "annotations": [1]}
    assert json.loads(completion.choice) == {"logprobs": {"content": []}, "matched_stop": 3}


def test_a_plain_answer_keeps_nothing_extra() -> None:
    completion = reply({"role": "assistant", "content": "hi", "refusal": None})
    assert (completion.message, completion.choice) == (b"", b"")


def test_a_refusal_keeps_its_empty_content() -> None:
    assert json.loads(reply({"role": "assistant", "content": None, "refusal": "no"}).message) == {
        "refusal": "no",
        "content": None,
    }


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
        (None, "length"),
        ("something_new", "length"),
    ],
)
def test_finish_reasons_are_mapped(told: str | None, meant: str) -> None:
    assert reply({"content": "x"}, finish_reason=told).finish_reason == meant


def test_tool_calls_keep_what_is_new() -> None:
    function = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{", "odd": 1}, "index": 0}
    custom = {"id": "d", "type": "custom", "custom": {"name": "g", "input": "text"}, "more": [2]}
    assert reply({"content": None, "tool_calls": [function, custom]}).tool_calls == (
        ToolCall(id="c", name="f", arguments="{", extra=b'{"function":{"odd":1}}'),
        ToolCall(id="d", name="g", arguments="text", type="custom", extra=b'{"more":[2]}'),
    )


def test_content_in_parts_is_joined_and_kept() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    completion = reply({"content": parts})
    assert (completion.text, json.loads(completion.message)) == ("ab", {"content": parts})


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": -1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": 2**63, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 2**31},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens": 1, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
        {"prompt_tokens": float("nan"), "completion_tokens": 1},
        {"prompt_tokens": float("inf"), "completion_tokens": 1},
        [],
        None,
        7,
    ],
)
def test_usage_that_cannot_be_true_is_none(usage: Any) -> None:
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode()
    completion = decode_reply(body, "m", "")
    assert (completion.text, completion.usage) == ("x", None)


def test_cached_and_reasoning_tokens_are_read() -> None:
    told = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": told}).encode()
    assert decode_reply(body, "m", "").usage == Usage(10, 5, cached_tokens=10, reasoning_tokens=4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"choices":[{"message":"x"}]}',
        b'{"choices":[{"message":{"content":7}}]}',
        b'{"choices":[{"message":{"content":"x"},"finish_reason":7}]}',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
        b'{"choices":[{"message":{"content":"x","odd":"\xff"}}]}',
        b'{"choices":' + b"[" * 100_000,
        b'{"odd":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":NaN',
    ],
)
def test_garbage_is_garbage_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(Garbage):
        decode_reply(body, "m", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"choices":[{"delta":"x"}]}',
        b'{"choices":[{"delta":{"content":7}}]}',
        b'{"choices":[{"index":"0","delta":{"content":"x"}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"odd":"\xff"}}]}',
        b'{"choices":[{"delta":{"tool_calls":[1]}}]}',
        b'{"odd":' + b"[" * 100_000 + b"]" * 100_000 + b',"choices":[]}',
    ],
)
def test_a_garbage_event_is_garbage_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(Garbage):
        Transcript("").read(("", data))


def test_an_error_object_is_a_failure_in_any_shape() -> None:
    for error in ({"message": "x"}, "x", ["x"]):
        with pytest.raises(Failure):
            decode_reply(json.dumps({"error": error, "choices": []}).encode(), "m", "")
        with pytest.raises(Failure):
            heard({"error": error})
    with pytest.raises(Failure):
        Transcript("").read(("error", b'{"message":"x"}'))


def test_the_vendors_id_rides_on_the_first_chunk_only() -> None:
    chunks = heard(event({"role": "assistant", "content": ""}, id="x"), event({"content": "a"}, id="x"), STOP)
    assert [chunk.provider_request_id for chunk in chunks] == ["x", ""]


@pytest.mark.parametrize("places", [(0,), (1,), (0, 1), (2,)], ids=["piece", "last", "every", "own"])
def test_usage_is_given_once_wherever_it_comes(places: tuple[int, ...]) -> None:
    told = {"prompt_tokens": 1, "completion_tokens": 1}
    events = [event({"content": "a"}), event(reason="stop"), {"choices": []}]
    for place in places:
        events[place]["usage"] = told
    chunks = heard(*events, "[DONE]")
    assert [chunk.usage for chunk in chunks] == [None, None, Usage(1, 1)]


def test_vendor_fields_of_a_stream_are_kept() -> None:
    chunk, _ = heard(event({"reasoning_content": "hm", "content": None}), STOP)
    assert (chunk.text, json.loads(chunk.delta)) == ("", {"reasoning_content": "hm"})
    odd = {
        "choices": [{"index": 1, "delta": {"content": "a"}, "logprobs": {"content": [1]}, "finish_reason": "length"}]
    }
    (chunk,) = heard(odd)
    assert (chunk.text, chunk.index, chunk.finish_reason) == ("a", 1, "length")
    assert json.loads(chunk.choice) == {"logprobs": {"content": [1]}}


def test_tool_call_deltas_are_read() -> None:
    first = {"index": 1, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    chunks = heard(
        event({"role": "assistant", "tool_calls": [first]}),
        event({"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}),
        event(reason="tool_calls"),
    )
    assert [delta for chunk in chunks for delta in chunk.tool_calls] == [
        ToolCallDelta(index=1, id="c", name="f", type="function"),
        ToolCallDelta(index=1, arguments="{"),
    ]


def test_the_terminator_may_be_missing_but_the_finish_reason_may_not() -> None:
    assert heard(event({"content": "a"}), STOP)[-1].finish_reason == "stop"
    with pytest.raises(Garbage):
        heard(event({"content": "a"}), "[DONE]")
    with pytest.raises(Garbage):
        heard("[DONE]")


def test_every_choice_must_finish() -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "b"}}]}
    with pytest.raises(Garbage):
        heard(event({"content": "a"}), second, STOP, "[DONE]")


def test_what_comes_after_the_terminator_is_ignored() -> None:
    assert len(heard(event({"content": "a"}), STOP, "[DONE]", "junk", "[DONE]")) == 2


def call(name: str | None, arguments: str, **further: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return event({"tool_calls": [{"function": function, "type": "function", **further}]})


def test_calls_without_a_number_are_told_apart_by_their_names() -> None:
    chunks = heard(
        call("look", '{"a":', id=""), call(None, "1}"), call("see", "{}", id="s1"), call(None, "", id="s1"), STOP
    )
    deltas = [delta for chunk in chunks for delta in chunk.tool_calls]
    assert [delta.index for delta in deltas] == [0, 0, 1, 1]
    assert [delta.name for delta in deltas] == ["look", None, "see", None]
    assert str(deltas[0].id).startswith("call_")
    assert (deltas[1].id, deltas[2].id) == (None, "s1")
    assert chunks[-1].finish_reason == "tool_calls"


def test_two_calls_of_one_piece_without_numbers_are_two() -> None:
    both = [{"function": {"name": name, "arguments": "{}"}, "id": ""} for name in ("look", "look")]
    deltas = [delta for chunk in heard(event({"tool_calls": both}), STOP) for delta in chunk.tool_calls]
    assert [delta.index for delta in deltas] == [0, 1]
    assert len({delta.id for delta in deltas}) == 2


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    calls = [{"id": identity, "function": {"name": "look", "arguments": "{}"}} for identity in ("", None, "mine")]
    completion = reply({"role": "assistant", "content": None, "tool_calls": calls})
    ids = [each.id for each in completion.tool_calls]
    assert ids[2] == "mine"
    assert len(set(ids)) == 3
    assert "" not in ids
    assert completion.finish_reason == "tool_calls"


def test_an_answer_that_ends_with_an_error_tells_it() -> None:
    with pytest.raises(Failure) as caught:
        reply({"role": "assistant", "content": ""}, finish_reason="error", error={"code": 502})
    assert json.loads(caught.value.error) == {"code": 502}
    with pytest.raises(Garbage):
        reply({"role": "assistant", "content": ""}, finish_reason="error")
