"""What only Anthropic's wire can say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.plugins.vendors import ANTHROPIC, ask

from asahi_anthropic import register_providers
from asahi_anthropic.provider import AnthropicProvider
from asahi_kernel import ConfigError, Usage
from asahi_kernel.protocols import CountingProvider, SelectiveProvider, WireProvider
from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
MODEL = ANTHROPIC.model


async def test_the_provider_names_its_wire(provider: AnthropicProvider) -> None:
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


async def test_thinking_is_kept_whole_and_is_no_text(provider: AnthropicProvider) -> None:
    completion = await provider.complete(MODEL, ask("[[fakeup: tokens=5 thinking=3]]"))
    thought, text = json.loads(completion.message)["content_blocks"]
    assert (thought["type"], len(thought["thinking"]), text) == ("thinking", 12, {"type": "text", "length": 20})
    assert thought["thinking"] not in completion.text
    assert (len(completion.text), completion.usage and completion.usage.output_tokens) == (20, 8)


async def test_streamed_thinking_is_no_text_either(provider: AnthropicProvider) -> None:
    chunks = [chunk async for chunk in provider.stream(MODEL, ask("[[fakeup: tokens=5 thinking=3]]"))]
    deltas = [json.loads(chunk.delta) for chunk in chunks if chunk.delta]
    assert deltas[0]["content_block"]["type"] == "thinking"
    assert [delta["content_block_delta"]["type"] for delta in deltas[1:]] == ["thinking_delta"] * 3 + [
        "signature_delta"
    ]
    assert len("".join(chunk.text for chunk in chunks)) == 20


async def test_the_vendor_counts_tokens_within_five_seconds(provider: AnthropicProvider, upstream: Upstream) -> None:
    request = ask("how many tokens is this?")
    assert await provider.count_tokens(MODEL, request) == (await provider.complete(MODEL, request)).usage.input_tokens  # type: ignore[union-attr]


async def test_an_address_with_a_version_is_refused_with_a_hint(open_at: Any) -> None:
    with pytest.raises(ConfigError, match="without the final /v1"):
        async with open_at("http://127.0.0.1:1/v1"):
            pass
