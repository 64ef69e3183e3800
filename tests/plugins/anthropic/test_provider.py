"""What is asked arrives, and what is answered comes back, streamed or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asahi_anthropic import register_providers
from asahi_anthropic.provider import AnthropicProvider
from asahi_kernel import Chunk, ConfigError, Message, Model, ProviderError, Request, Secret, Tool, Usage
from asahi_kernel.protocols import CountingProvider, SelectiveProvider, StreamingProvider, WireProvider
from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
MODEL = Model(name="registered", provider="anthropic", api_model="claude-test")
LOOK = Tool(name="look", parameters=b"{}")


def ask(text: str, **fields: Any) -> Request:
    return Request(messages=(Message("user", text),), **fields)


async def listen(provider: AnthropicProvider, request: Request) -> list[Chunk]:
    return [chunk async for chunk in provider.stream(MODEL, request)]


async def test_the_provider_streams_and_names_its_wire(provider: AnthropicProvider) -> None:
    assert isinstance(provider, StreamingProvider)
    assert isinstance(provider, WireProvider)
    assert isinstance(provider, SelectiveProvider)
    assert isinstance(provider, CountingProvider)
    assert provider.wire == "anthropic"
    assert [factory.name for factory in register_providers()] == ["anthropic"]


async def test_a_completion_tells_the_tokens_that_were_generated(
    provider: AnthropicProvider, upstream: Upstream
) -> None:
    completion = await provider.complete(MODEL, ask("hello [[fakeup: cached=3 cache_write=4]]"))
    (row,) = upstream.ledger
    assert completion.usage == Usage(row.input_tokens, row.output_tokens, cached_tokens=3, cache_write_tokens=4)
    assert row.usage is not None
    assert json.loads(row.usage)["input_tokens"] == row.input_tokens - 7
    assert len(completion.text) == 4 * row.output_tokens
    assert (completion.model, completion.finish_reason) == ("registered", "stop")
    assert completion.provider_request_id == f"req_{row.attempt}"


async def test_the_credential_and_the_vendors_name_of_the_model_go_out(
    provider: AnthropicProvider, upstream: Upstream, key: str
) -> None:
    await provider.complete(MODEL, ask("hello"))
    assert (upstream.ledger[0].credential, upstream.ledger[0].model) == (key, "claude-test")


async def test_a_stream_says_what_a_completion_says(provider: AnthropicProvider) -> None:
    whole = await provider.complete(MODEL, ask("hello"))
    chunks = await listen(provider, ask("hello"))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
    assert chunks[-1].usage is not None
    assert [bool(chunk.provider_request_id) for chunk in chunks].index(True) == 0


async def test_a_bound_ends_the_answer_with_length(provider: AnthropicProvider) -> None:
    completion = await provider.complete(MODEL, ask("x [[fakeup: tokens=50]]", max_tokens=4))
    assert (completion.finish_reason, len(completion.text)) == ("length", 16)


async def test_a_tool_call_comes_back_whole(provider: AnthropicProvider) -> None:
    completion = await provider.complete(MODEL, ask("[[fakeup: tool=look tokens=9]]", tools=(LOOK,)))
    (call,) = completion.tool_calls
    assert (call.name, call.type, completion.finish_reason, completion.text) == ("look", "function", "tool_calls", "")
    assert json.loads(call.arguments).keys() == {"a"}
    assert call.id.startswith("toolu_")


async def test_a_streamed_tool_call_joins_to_the_same(provider: AnthropicProvider) -> None:
    request = ask("[[fakeup: tool=look tokens=9]]", tools=(LOOK,))
    (whole,) = (await provider.complete(MODEL, request)).tool_calls
    chunks = await listen(provider, request)
    deltas = [delta for chunk in chunks for delta in chunk.tool_calls]
    assert "".join(delta.arguments for delta in deltas) == whole.arguments
    assert {delta.index for delta in deltas} == {0}
    assert (deltas[0].name, [delta.name for delta in deltas[1:]]) == ("look", [None] * (len(deltas) - 1))
    assert chunks[-1].finish_reason == "tool_calls"


async def test_thinking_is_kept_whole_and_is_no_text(provider: AnthropicProvider) -> None:
    completion = await provider.complete(MODEL, ask("[[fakeup: tokens=5 thinking=3]]"))
    thought, text = json.loads(completion.message)["content_blocks"]
    assert (thought["type"], len(thought["thinking"]), text) == ("thinking", 12, {"type": "text", "length": 20})
    assert thought["thinking"] not in completion.text
    assert (len(completion.text), completion.usage and completion.usage.output_tokens) == (20, 8)


async def test_streamed_thinking_is_no_text_either(provider: AnthropicProvider) -> None:
    chunks = await listen(provider, ask("[[fakeup: tokens=5 thinking=3]]"))
    deltas = [json.loads(chunk.delta) for chunk in chunks if chunk.delta]
    assert deltas[0]["content_block"]["type"] == "thinking"
    assert [delta["content_block_delta"]["type"] for delta in deltas[1:]] == ["thinking_delta"] * 3 + [
        "signature_delta"
    ]
    assert len("".join(chunk.text for chunk in chunks)) == 20


async def test_the_vendor_counts_tokens_within_five_seconds(provider: AnthropicProvider, upstream: Upstream) -> None:
    request = ask("how many tokens is this?")
    assert await provider.count_tokens(MODEL, request) == (await provider.complete(MODEL, request)).usage.input_tokens  # type: ignore[union-attr]


@pytest.mark.parametrize("fault", ["usage=absurd", "usage=negative", "usage=float", "usage=nan", "no_usage"])
async def test_usage_that_cannot_be_true_counts_as_none(provider: AnthropicProvider, fault: str) -> None:
    request = ask(f"[[fakeup: {fault} tokens=6]]")
    completion = await provider.complete(MODEL, request)
    chunks = await listen(provider, request)
    assert (len(completion.text), completion.usage) == (24, None)
    assert (len("".join(chunk.text for chunk in chunks)), [c.usage for c in chunks if c.usage]) == (24, [])


@pytest.mark.parametrize("quirk", ["done_twice", "crlf", "comments=50", "repeat_id", "pace_ms=1"])
async def test_a_quirk_changes_nothing(provider: AnthropicProvider, quirk: str) -> None:
    chunks = await listen(provider, ask(f"[[fakeup: {quirk} tokens=7]]"))
    assert len("".join(chunk.text for chunk in chunks)) == 28
    assert chunks[-1].usage is not None


async def test_a_second_call_takes_the_same_connection(provider: AnthropicProvider, upstream: Upstream) -> None:
    for _ in range(5):
        await provider.complete(MODEL, ask("hello"))
        await listen(provider, ask("hello"))
    assert upstream.connections == 1


async def test_a_key_that_could_split_a_header_is_refused_without_being_shown(open_at: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_at("http://127.0.0.1:1", api_key=Secret("sk-x\r\nhost: evil")):
            pass
    assert "evil" not in caught.value.message


@pytest.mark.parametrize("url", ["ftp://host", "https://user:pass@host", "host", "https://host?x="])
async def test_an_address_that_cannot_work_is_refused(open_at: Any, url: str) -> None:
    with pytest.raises(ConfigError):
        async with open_at(url):
            pass


async def test_an_address_with_a_version_is_refused_with_a_hint(open_at: Any) -> None:
    with pytest.raises(ConfigError, match="without the final /v1"):
        async with open_at("http://127.0.0.1:1/v1"):
            pass


async def test_no_key_sends_no_credential(open_at: Any, upstream: Upstream) -> None:
    async with open_at(upstream.url, api_key=Secret("")) as provider:
        await provider.complete(MODEL, ask("hello"))
    assert upstream.ledger[0].credential == ""


async def test_a_failed_attempt_is_never_repeated_here(provider: AnthropicProvider, upstream: Upstream) -> None:
    with pytest.raises(ProviderError):
        await provider.complete(MODEL, ask("[[fakeup: status=503]]"))
    assert len(upstream.ledger) == 1
