"""Cohere's answers in our words: the bill is what it bills, and a broken answer is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.plugins.vendors import COHERE, ask

from asahi_cohere.decode import decode_reply
from asahi_cohere.failures import CohereDialect
from asahi_cohere.transcript import Transcript
from asahi_kernel import Chunk, ConfigError, ProviderError, Tool, Usage
from asahi_kernel.draft import Draft
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
MODEL = COHERE.model
LOOK = Tool(name="look", parameters=b"{}")


def reply(**fields: Any) -> bytes:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Paris"}]}
    return json.dumps({"id": "c1", "finish_reason": "COMPLETE", "message": message, **fields}).encode()


async def test_only_billed_tokens_are_billed(provider: Any, upstream: Upstream) -> None:
    """The vendor tells all tokens too, with those of its own preamble."""
    completion = await provider.complete(MODEL, ask("hello [[fakeup: tokens=5]]"))
    (row,) = upstream.ledger
    assert row.usage is not None
    told = json.loads(row.usage)
    assert told["tokens"]["input_tokens"] > told["billed_units"]["input_tokens"] == completion.usage.input_tokens


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"billed_units": {"input_tokens": 5.0, "output_tokens": 2}}, Usage(5, 2)),
        ({"tokens": {"input_tokens": 7, "output_tokens": 2}}, Usage(7, 2)),
        (
            {
                "billed_units": {"input_tokens": 5, "output_tokens": 2},
                "tokens": {"input_tokens": 71, "output_tokens": 2},
                "cached_tokens": 64,
            },
            Usage(5, 2, cached_tokens=5),
        ),
        ({"billed_units": {"input_tokens": 5}}, None),
        ({"billed_units": {"input_tokens": "5", "output_tokens": 2}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_usage_is_read_or_none(usage: Any, read: Usage | None) -> None:
    assert decode_reply(reply(usage=usage), "m", "").usage == read


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("SOMETHING_NEW", "length"),
    ],
)
def test_a_reason_has_our_word(reason: str, ours: str) -> None:
    assert decode_reply(reply(finish_reason=reason), "m", "").finish_reason == ours


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (reply(finish_reason="ERROR"), Failure),
        (reply(finish_reason="ERROR_TOXIC"), Failure),
        (reply(finish_reason="TIMEOUT"), Failure),
        (b'{"id":"x","message":"internal server error"}', Failure),
        (reply(finish_reason=""), Garbage),
        (b'{"id":"x","finish_reason":"COMPLETE"}', Garbage),
        (reply()[:-1], Garbage),
        (reply().replace(b"Paris", b"\xff"), Garbage),
    ],
)
def test_a_broken_answer_is_none(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode_reply(body, "m", "")


def test_citations_and_thoughts_are_kept_apart_from_the_text() -> None:
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Paris"}]
    message = {"role": "assistant", "content": content, "citations": [{"start": 0, "end": 5}]}
    completion = decode_reply(reply(message=message), "m", "")
    assert completion.text == "Paris"
    assert json.loads(completion.message) == {"reasoning_content": "Hm.", "citations": [{"start": 0, "end": 5}]}
    assert decode_reply(reply(), "m", "").message == b""


async def test_a_plan_is_text_before_the_call(provider: Any) -> None:
    request = ask("[[fakeup: tool=look tokens=9 thinking=3]]", tools=(LOOK,))
    whole = await provider.complete(MODEL, request)
    draft = Draft("registered")
    async for chunk in provider.stream(MODEL, request):
        draft.add(chunk)
    assert len(whole.text) == 12
    assert (draft.completion().text, draft.exact) == (whole.text, True)
    assert whole.tool_calls[0].arguments == draft.completion().tool_calls[0].arguments


async def test_streamed_thoughts_are_no_text(provider: Any) -> None:
    chunks: list[Chunk] = [chunk async for chunk in provider.stream(MODEL, ask("[[fakeup: tokens=5 thinking=3]]"))]
    thoughts = [json.loads(chunk.delta)["reasoning_content"] for chunk in chunks if chunk.delta]
    assert (len("".join(thoughts)), len("".join(chunk.text for chunk in chunks))) == (12, 20)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.output_tokens == 8


def test_an_error_event_is_a_failure() -> None:
    with pytest.raises(Failure):
        Transcript("").read(("", b'{"id":"x","message":"blocked output: please try again"}'))


def test_what_a_stream_says_after_its_end_is_not_heard() -> None:
    transcript = Transcript("")
    transcript.read(("", b'{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}'))
    assert transcript.read(("", b"nonsense")) == ()
    assert [chunk.finish_reason for chunk in transcript.end()] == ["stop"]


@pytest.mark.parametrize(
    ("status", "message", "retryable", "rejected"),
    [
        (422, "unknown field: parameter 'x'", False, True),
        (429, "You are past the per minute request limit, please wait and try again later.", True, False),
        (429, "You are using a Trial key, which is limited to 1000 API calls / month.", False, False),
        (498, "invalid token", False, False),
        (499, "request cancelled", False, False),
        (500, "internal server error", True, False),
        (501, "not implemented", False, False),
        (504, "gateway timeout", True, False),
    ],
)
def test_a_status_of_this_vendor_is_understood(status: int, message: str, retryable: bool, rejected: bool) -> None:
    body = json.dumps({"id": "x", "message": message}).encode()
    error = CohereDialect("").refused(status, {}, body)
    assert (error.status, error.retryable, error.rejected) == (status, retryable, rejected)
    assert (message in error.message) is rejected


async def test_a_timeout_at_the_vendors_is_told_as_one() -> None:
    assert CohereDialect("").reported(b'{"message":"slow","code":504}').status == 504


async def test_an_address_with_a_version_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="without the final /v2"):
        async with COHERE.open("http://127.0.0.1:1/v2"):
            pass


async def test_a_rejected_call_tells_why(provider: Any) -> None:
    with pytest.raises(ProviderError, match="scripted failure"):
        await provider.complete(MODEL, ask("[[fakeup: status=422]]"))
