"""Answers, errors and streams in OpenAI's shapes, read by the official SDK."""

import json
from datetime import UTC, datetime

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import APIError, OpenAI
from openai.types import Model as SdkModel
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from asahi_kernel.answer import Answer, Bill, Route
from asahi_kernel.errors import (
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    ProviderFailed,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from asahi_kernel.types import Choice, Chunk, Completion, Model, ToolCall, ToolCallDelta, Usage
from asahi_kernel.wire import openai

HELLO = [{"role": "user", "content": "hello"}]
ID = "01K7Q2M9B3X5T8D0WZ4F6H1JRC"
AT = datetime(2026, 11, 2, tzinfo=UTC)


def answer(completion=None, **changes) -> Answer:
    given = {
        "request_id": ID,
        "timestamp": AT,
        "completion": completion or Completion(text="Paris", model="gpt-4o", provider="openai"),
        "usage": Usage(12, 5, cached_tokens=4, reasoning_tokens=2),
        "bill": Bill(cost=1_000, baseline_cost=5_000, saved=4_000),
        "route": Route(mode="autopilot", reason="cheapest"),
    }
    return Answer(**{**given, **changes})


def test_the_sdk_reads_an_answer():
    got = ChatCompletion.model_validate_json(openai.encode(answer()), strict=True)
    assert (got.id, got.model, got.created) == (f"chatcmpl-{ID}", "gpt-4o", int(AT.timestamp()))
    assert (got.choices[0].message.content, got.choices[0].finish_reason) == ("Paris", "stop")
    assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.usage.total_tokens) == (12, 5, 17)
    assert got.usage.prompt_tokens_details.cached_tokens == 4
    assert got.usage.completion_tokens_details.reasoning_tokens == 2
    assert got.asahi == {
        "request_id": ID, "cost": 0.000001, "baseline_cost": 0.000005, "saved": 0.000004, "cache": "miss",
        "cache_tier": 0, "similarity": None, "routing_reason": "cheapest", "warnings": [],
    }  # fmt: skip


def test_the_sdk_reads_tool_calls_and_further_choices():
    calls = (
        ToolCall(id="c1", name="f", arguments="{}", extra=b'{"function":{"x":1}}'),
        ToolCall(id="c2", name="g", arguments="t", type="custom"),
    )
    others = (Choice(text="", message=b'{"content":null,"refusal":"no"}', choice=b'{"logprobs":{"content":[]}}'),)
    completion = Completion(model="m", tool_calls=calls, finish_reason="tool_calls", others=others)
    first, second = ChatCompletion.model_validate_json(openai.encode(answer(completion))).choices
    assert first.message.content is None
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls[0].function.model_dump() == {"name": "f", "arguments": "{}", "x": 1}
    assert first.message.tool_calls[1].custom.input == "t"
    assert (second.index, second.message.content, second.message.refusal) == (1, None, "no")
    assert second.logprobs.content == []


def test_an_unknown_price_is_null():
    got = json.loads(openai.encode(answer(bill=Bill(cost=None))))
    assert got["asahi"]["cost"] is got["asahi"]["saved"] is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Invalid("x", param="n"), "invalid_request_error"),
        (TooLarge("x"), "invalid_request_error"),
        (Unauthenticated(), "authentication_error"),
        (Denied("x"), "permission_error"),
        (NotFound("x", code="model_not_found"), "not_found_error"),
        (Exhausted("x"), "rate_limit_error"),
        (ProviderFailed("x"), "server_error"),
        (Unavailable("x"), "server_error"),
    ],
)
def test_an_error_has_openais_shape(error, kind):
    got = json.loads(openai.error(error))["error"]
    assert got == {"message": error.message, "type": kind, "param": error.param, "code": error.code}


def test_the_sdk_reads_the_models():
    model = Model(name="gpt-4o", provider="openai", api_model="gpt-4o")
    entries = json.loads(openai.models([model], 5, ["fast"]))["data"]
    assert [(entry["id"], entry["owned_by"]) for entry in entries] == [
        ("auto", "asahi"),
        ("fast", "asahi"),
        ("gpt-4o", "openai"),
    ]
    assert SdkModel.model_validate_json(openai.model("gpt-4o", "openai", 5)).id == "gpt-4o"


def chunks(stream: bytes) -> list[ChatCompletionChunk]:
    """The chunks of a whole stream, as strictly as the SDK's types can be."""
    frames = stream.decode().split("\n\n")
    assert frames.pop() == ""
    assert frames.pop() == "data: [DONE]"
    return [ChatCompletionChunk.model_validate_json(frame.removeprefix("data: "), strict=True) for frame in frames]


def streamed(*given: Chunk, include_usage=False, completion=None) -> bytes:
    encoder = openai.StreamEncoder(ID, "gpt-4o", 5, include_usage)
    return encoder.role() + b"".join(map(encoder.chunk, given)) + encoder.finish(answer(completion))


def test_a_stream_is_role_texts_finish_and_done():
    got = chunks(
        streamed(Chunk(text="Pa"), Chunk(text='r"\nis'), Chunk(finish_reason="length"), Chunk(usage=Usage(1, 2)))
    )
    assert [chunk.choices[0].delta.content for chunk in got] == ["", "Pa", 'r"\nis', None]
    assert [chunk.choices[0].finish_reason for chunk in got] == [None, None, None, "length"]
    assert got[0].choices[0].delta.role == "assistant"
    assert {(chunk.id, chunk.model, chunk.created) for chunk in got} == {(f"chatcmpl-{ID}", "gpt-4o", 5)}


def test_the_asahi_object_rides_on_the_last_chunk_alone():
    for include_usage in (False, True):
        *earlier, last = chunks(streamed(Chunk(text="a", finish_reason="stop"), include_usage=include_usage))
        assert last.asahi["cost"] == 0.000001
        assert not any("asahi" in (chunk.model_extra or {}) for chunk in earlier)


def test_usage_comes_last_without_choices_and_only_when_asked_for():
    *earlier, last = chunks(streamed(Chunk(text="a"), include_usage=True))
    assert last.choices == []
    assert last.usage.total_tokens == 17
    assert all(chunk.usage is None and chunk.choices for chunk in earlier)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks(streamed(Chunk(text="a"))))


def test_a_stream_without_a_finish_reason_takes_that_of_the_answer():
    got = chunks(streamed(Chunk(text="a"), completion=Completion(text="a", model="m", finish_reason="content_filter")))
    assert got[-1].choices[0].finish_reason == "content_filter"


def test_tool_calls_and_vendor_fields_pass_through():
    first = ToolCallDelta(index=0, id="c1", name="f", type="function", extra=b'{"x":1}')
    got = chunks(
        streamed(
            Chunk(tool_calls=(first,)),
            Chunk(tool_calls=(ToolCallDelta(index=0, arguments='{"a"'),)),
            Chunk(delta=b'{"reasoning_content":"hm"}', choice=b'{"logprobs":{"content":[]}}'),
            Chunk(text="t", finish_reason="tool_calls", choice=b'{"finish_reason":"function_call"}'),
        )
    )
    call = got[1].choices[0].delta.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments, call.x) == ("c1", "f", "", 1)
    assert got[2].choices[0].delta.tool_calls[0].model_dump(exclude_unset=True) == {
        "index": 0,
        "function": {"arguments": '{"a"'},
    }
    assert got[3].choices[0].delta.reasoning_content == "hm"
    assert got[3].choices[0].logprobs.content == []
    assert (got[4].choices[0].delta.content, got[4].choices[0].finish_reason) == ("t", None)
    assert got[5].choices[0].finish_reason == "function_call"


def test_each_choice_begins_with_its_role_and_ends_once():
    completion = Completion(text="a", model="m", others=(Choice(text="b", finish_reason="length"),))
    parts = [Chunk(text="a"), Chunk(text="b", index=1), Chunk(text="c", index=1), Chunk(index=0, finish_reason="stop")]
    got = [chunk.choices[0] for chunk in chunks(streamed(*parts, completion=completion))]
    assert [(choice.index, choice.delta.role) for choice in got if choice.delta.role] == [
        (0, "assistant"),
        (1, "assistant"),
    ]
    assert [(choice.index, choice.finish_reason) for choice in got if choice.finish_reason] == [
        (0, "stop"),
        (1, "length"),
    ]


def test_a_chunk_with_nothing_to_tell_is_no_event():
    assert openai.StreamEncoder(ID, "m", 5).chunk(Chunk(usage=Usage(1, 1))) == b""


def client(body: bytes, status: int = 200) -> OpenAI:
    kind = "text/event-stream" if body.startswith(b"data") else "application/json"
    reply = httpx2.Response(status, content=body, headers={"content-type": kind})
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: reply))
    return OpenAI(api_key="x", base_url="http://asahi/v1", http_client=http, max_retries=0)


def test_the_official_client_reads_a_stream():
    body = streamed(Chunk(text="Pa"), Chunk(text="ris"), Chunk(finish_reason="stop"), include_usage=True)
    stream = client(body).chat.completions.create(model="auto", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "Paris"


def test_the_official_client_raises_on_an_error_inside_a_stream():
    encoder = openai.StreamEncoder(ID, "m", 5)
    body = encoder.role() + encoder.error(ProviderFailed("all attempts failed"))
    with pytest.raises(APIError, match="all attempts failed"):
        list(client(body).chat.completions.create(model="auto", messages=HELLO, stream=True))


def test_the_official_client_raises_on_an_error():
    with pytest.raises(APIError) as caught:
        client(openai.error(NotFound("no such model", code="model_not_found")), 404).models.retrieve("x")
    assert (caught.value.code, caught.value.type) == ("model_not_found", "not_found_error")


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_survives_a_chunk(text):
    frame = openai.StreamEncoder(ID, "m", 5).chunk(Chunk(text=text))
    assert frame.count(b"\n") == 2
    assert msgspec.json.decode(frame.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == text
