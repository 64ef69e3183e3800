"""Every host that speaks OpenAI's wire in its own way: right answer, right error, right bill."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.plugins.vendors import OPENAI, ask

from asahi_kernel import Chunk, Model, ProviderError, Request, Tool, Usage
from asahi_kernel.draft import Draft
from asahi_kernel.money import Prices, per_million
from asahi_kernel.testing import fakeup
from asahi_kernel.testing.fakeup.hosts import HOSTS

pytestmark = pytest.mark.anyio
MODEL: Model = msgspec.structs.replace(OPENAI.model, prices=Prices(input=per_million(3), output=per_million(15)))
LOOK = Tool(name="look", parameters=b"{}")
BASE = {"gemini": "/v1beta/openai", "groq": "/openai/v1", "openrouter": "/api/v1"}
#: What a failing stream tells: the status where the host gives one.
BROKEN = {"gemini": 503, "groq": None, "mistral": None, "ollama": None, "openrouter": 502, "vllm": 500}


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def upstream(host: str) -> AsyncIterator[fakeup.Upstream]:
    async with fakeup.running(prices=dict([fakeup.read_price(OPENAI.prices)]), host=host) as running:
        yield running


@pytest.fixture
async def provider(host: str, upstream: fakeup.Upstream) -> AsyncIterator[Any]:
    config = OPENAI.config("", base_url=upstream.url + BASE.get(host, "/v1"), ask_for_usage=host != "mistral")
    async with OPENAI.open(upstream.url, **msgspec.structs.asdict(config)) as opened:
        yield opened


async def listen(provider: Any, request: Request) -> tuple[list[Chunk], Draft]:
    chunks, draft = [], Draft("registered")
    async for chunk in provider.stream(MODEL, request):
        chunks.append(chunk)
        draft.add(chunk)
    return chunks, draft


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_is_whole_and_its_bill_is_the_hosts(
    provider: Any, upstream: fakeup.Upstream, host: str, stream: bool
) -> None:
    request = ask("hello [[fakeup: tokens=9]]")
    if stream:
        _, draft = await listen(provider, request)
        assert draft.complete
        completion = draft.completion()
    else:
        completion = await provider.complete(MODEL, request)
    (row,) = upstream.ledger
    assert (len(completion.text), completion.finish_reason) == (36, "stop")
    assert completion.usage == Usage(row.input_tokens, row.output_tokens)
    assert MODEL.prices is not None
    assert MODEL.prices.cost(completion.usage) == row.cost
    assert completion.provider_request_id == f"req_{row.attempt}"


async def test_a_tool_call_has_an_id_an_index_and_its_reason(provider: Any, host: str) -> None:
    request = ask("[[fakeup: tool=look tokens=9]]", tools=(LOOK,))
    whole = await provider.complete(MODEL, request)
    _, draft = await listen(provider, request)
    streamed = draft.completion()
    for each in (whole, streamed):
        assert each.finish_reason == "tool_calls"
        assert len(each.tool_calls) == 1
        assert each.tool_calls[0].id.startswith("call_")
        assert json.loads(each.tool_calls[0].arguments).keys() == {"a"}
    assert whole.tool_calls[0].arguments == streamed.tool_calls[0].arguments


@pytest.mark.parametrize("status", [400, 404, 429, 503])
async def test_an_error_keeps_its_status_and_its_reason(provider: Any, host: str, status: int) -> None:
    with pytest.raises(ProviderError) as caught:
        await provider.complete(MODEL, ask(f"[[fakeup: status={status}]]"))
    error = caught.value
    assert (error.status, error.retryable, error.rejected) == (status, status in (429, 503), status == 400)
    assert ("scripted failure" in error.message) is (status == 400)
    assert error.retry_after == (34.5 if host == "gemini" and status == 429 else None)


async def test_a_host_that_wants_a_wait_in_its_header_gets_it(provider: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        await provider.complete(MODEL, ask("[[fakeup: status=429 retry_after=2]]"))
    assert caught.value.retry_after == 2


@pytest.mark.parametrize("at", [0, 3])
async def test_a_stream_that_fails_in_its_middle_is_a_failure(provider: Any, host: str, at: int) -> None:
    heard: list[Chunk] = []
    with pytest.raises(ProviderError) as caught:
        async for chunk in provider.stream(MODEL, ask(f"[[fakeup: error_event_at={at} tokens=8]]")):
            heard.append(chunk)
    assert caught.value.status == BROKEN[host]
    assert len("".join(chunk.text for chunk in heard)) == 4 * at
    assert not any(chunk.finish_reason or chunk.usage for chunk in heard)


async def test_an_error_in_a_good_answer_is_an_error(provider: Any) -> None:
    for failing in (
        provider.complete(MODEL, ask("[[fakeup: body_error]]")),
        listen(provider, ask("[[fakeup: body_error]]")),
    ):
        with pytest.raises(ProviderError):
            await failing


async def test_usage_that_does_not_come_is_none(provider: Any) -> None:
    request = ask("[[fakeup: no_usage tokens=6]]")
    chunks, _ = await listen(provider, request)
    assert (await provider.complete(MODEL, request)).usage is None
    assert not any(chunk.usage for chunk in chunks)


async def test_usage_is_not_asked_of_a_host_that_refuses_the_question() -> None:
    async with fakeup.running(host="mistral") as upstream, OPENAI.open(upstream.url) as provider:
        with pytest.raises(ProviderError, match="Extra inputs are not permitted: stream_options"):
            await listen(provider, ask("hello"))
    async with OPENAI.open("", base_url="https://api.mistral.ai/v1") as provider:
        assert provider._ask is False
