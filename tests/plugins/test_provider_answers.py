"""What is asked of any vendor arrives, and what is answered comes back, streamed or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.plugins.vendors import Vendor, ask

from asahi_kernel import Chunk, ConfigError, ProviderError, Request, Secret, Tool, Usage
from asahi_kernel.protocols import StreamingProvider
from asahi_kernel.testing.fakeup import Upstream

pytestmark = pytest.mark.anyio
LOOK = Tool(name="look", parameters=b"{}")


@pytest.fixture
def listen(vendor: Vendor, provider: Any) -> Any:
    async def hear(request: Request) -> list[Chunk]:
        return [chunk async for chunk in provider.stream(vendor.model, request)]

    return hear


async def test_the_provider_streams(provider: Any) -> None:
    assert isinstance(provider, StreamingProvider)


async def test_a_completion_tells_the_tokens_that_were_billed(
    vendor: Vendor, provider: Any, upstream: Upstream
) -> None:
    completion = await provider.complete(vendor.model, ask("hello [[fakeup: cached=3]]"))
    (row,) = upstream.ledger
    assert completion.usage == Usage(row.input_tokens, row.output_tokens, cached_tokens=3)
    assert len(completion.text) == 4 * row.output_tokens
    assert (completion.model, completion.finish_reason) == ("registered", "stop")
    assert completion.provider_request_id == f"req_{row.attempt}"


async def test_the_credential_and_the_vendors_name_of_the_model_go_out(
    vendor: Vendor, provider: Any, upstream: Upstream, key: str
) -> None:
    await provider.complete(vendor.model, ask("hello"))
    (row,) = upstream.ledger
    assert (row.credential, row.model, row.path) == (key, vendor.model.api_model, vendor.path)


async def test_a_stream_says_what_a_completion_says(vendor: Vendor, provider: Any, listen: Any) -> None:
    whole = await provider.complete(vendor.model, ask("hello"))
    chunks = await listen(ask("hello"))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
    assert chunks[-1].usage is not None
    assert [bool(chunk.provider_request_id) for chunk in chunks].index(True) == 0


async def test_a_bound_ends_the_answer_with_length(vendor: Vendor, provider: Any) -> None:
    completion = await provider.complete(vendor.model, ask("x [[fakeup: tokens=50]]", max_tokens=4))
    assert (completion.finish_reason, len(completion.text)) == ("length", 16)


async def test_a_tool_call_comes_back_whole(vendor: Vendor, provider: Any) -> None:
    completion = await provider.complete(vendor.model, ask("[[fakeup: tool=look tokens=9]]", tools=(LOOK,)))
    (call,) = completion.tool_calls
    assert (call.name, call.type, completion.finish_reason, completion.text) == ("look", "function", "tool_calls", "")
    assert json.loads(call.arguments).keys() == {"a"}
    assert call.id


async def test_a_streamed_tool_call_joins_to_the_same(vendor: Vendor, provider: Any, listen: Any) -> None:
    request = ask("[[fakeup: tool=look tokens=9]]", tools=(LOOK,))
    (whole,) = (await provider.complete(vendor.model, request)).tool_calls
    chunks = await listen(request)
    deltas = [delta for chunk in chunks for delta in chunk.tool_calls]
    assert "".join(delta.arguments for delta in deltas) == whole.arguments
    assert {delta.index for delta in deltas} == {0}
    assert (deltas[0].name, [delta.name for delta in deltas[1:]]) == ("look", [None] * (len(deltas) - 1))
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]


@pytest.mark.parametrize(
    "fault", ["usage=absurd", "usage=negative", "usage=float", "usage=nan", "usage=huge_cached", "no_usage"]
)
async def test_usage_that_cannot_be_true_counts_as_none(vendor: Vendor, provider: Any, listen: Any, fault: str) -> None:
    if fault == "usage=huge_cached" and vendor.factory.name == "anthropic":
        pytest.skip("on this wire cached tokens are added to the others, so no number of them is too many")
    request = ask(f"[[fakeup: {fault} tokens=6]]")
    completion = await provider.complete(vendor.model, request)
    chunks = await listen(request)
    assert (len(completion.text), completion.usage) == (24, None)
    assert (len("".join(chunk.text for chunk in chunks)), [c.usage for c in chunks if c.usage]) == (24, [])


@pytest.mark.parametrize("quirk", ["done_twice", "crlf", "comments=50", "repeat_id", "pace_ms=1"])
async def test_a_quirk_changes_nothing(listen: Any, quirk: str) -> None:
    chunks = await listen(ask(f"[[fakeup: {quirk} tokens=7]]"))
    assert len("".join(chunk.text for chunk in chunks)) == 28
    assert chunks[-1].usage is not None


async def test_a_second_call_takes_the_same_connection(
    vendor: Vendor, provider: Any, listen: Any, upstream: Upstream
) -> None:
    for _ in range(5):
        await provider.complete(vendor.model, ask("hello"))
        await listen(ask("hello"))
    # An SDK's pool may not yet know that the last answer is over when the next call begins.
    assert upstream.connections <= (1 if "sdk" not in vendor.name else 2)


async def test_a_key_that_could_split_a_header_is_refused_without_being_shown(vendor: Vendor) -> None:
    with pytest.raises(ConfigError) as caught:
        async with vendor.open("http://127.0.0.1:1", api_key=Secret("sk-x\r\nhost: evil")):
            pass
    assert "evil" not in caught.value.message


@pytest.mark.parametrize("url", ["ftp://host", "https://user:pass@host", "host", "https://host?x="])
async def test_an_address_that_cannot_work_is_refused(vendor: Vendor, url: str) -> None:
    with pytest.raises(ConfigError):
        async with vendor.open(url):
            pass


async def test_no_key_sends_no_credential(vendor: Vendor, upstream: Upstream) -> None:
    async with vendor.open(upstream.url, api_key=Secret("")) as provider:
        await provider.complete(vendor.model, ask("hello"))
    assert upstream.ledger[0].credential == ""


async def test_a_failed_attempt_is_never_repeated_here(vendor: Vendor, provider: Any, upstream: Upstream) -> None:
    with pytest.raises(ProviderError):
        await provider.complete(vendor.model, ask("[[fakeup: status=503]]"))
    assert len(upstream.ledger) == 1
