"""The provider and the embedder embed, against the scripted vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest

from asahi_kernel import Factory, ProviderError
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.testing import EMBEDDING_MODEL, EmbedderContract, EmbeddingProviderContract, fakeup
from asahi_openai import register_embedders, register_providers
from asahi_openai.config import EmbedderConfig
from asahi_openai.embeddings import MOST_TEXTS
from asahi_openai.provider import OpenAIProvider

BAD = "[[fakeup: {}]]"


class TestOpenAIEmbeds(EmbeddingProviderContract):
    factory: ClassVar[Factory[Any, Any]] = next(iter(register_providers()))
    config: ClassVar[Mapping[str, Any]] = {"api_key": "sk-test"}

    @pytest.fixture
    async def subject(self, upstream: fakeup.Upstream, gateway: Gateway) -> AsyncIterator[Any]:
        table = {**self.config, "base_url": upstream.url + "/v1"}
        async with self.factory.open(decode(table, self.factory.config, "openai"), gateway) as subject:
            yield subject


class TestOpenAIEmbedder(EmbedderContract):
    factory: ClassVar[Factory[Any, Any]] = next(iter(register_embedders()))
    config: ClassVar[Mapping[str, Any]] = {"api_key": "sk-test"}

    @pytest.fixture
    async def subject(self, upstream: fakeup.Upstream, gateway: Gateway) -> AsyncIterator[Any]:
        async with self.opened(upstream, gateway) as subject:
            yield subject

    def opened(self, upstream: fakeup.Upstream, gateway: Gateway, **more: object) -> Any:
        table = {**self.config, "base_url": upstream.url + "/v1", **more}
        return self.factory.open(decode(table, self.factory.config, "openai"), gateway)

    async def test_texts_go_in_batches_of_96(self, subject: Any, upstream: fakeup.Upstream) -> None:
        texts = [f"text {number}" for number in range(200)]
        found = await subject.embed(texts)
        await upstream.settled()
        assert (len(found), len(upstream.ledger)) == (200, 3)
        assert found[150] == pytest.approx((await subject.embed(["text 150"]))[0])

    async def test_a_wrong_dimension_is_an_error(self, upstream: fakeup.Upstream, gateway: Gateway) -> None:
        async with self.opened(upstream, gateway, dimension=99, send_dimension=False) as subject:
            with pytest.raises(ProviderError):
                await subject.embed(["a text"])

    async def test_a_busy_host_is_asked_again(self, subject: Any, upstream: fakeup.Upstream) -> None:
        await subject.embed([BAD.format("status=503 first=1")])
        await upstream.settled()
        assert [row.status for row in upstream.ledger] == [503, 200]

    async def test_a_refusal_is_not_asked_again(self, subject: Any, upstream: fakeup.Upstream) -> None:
        with pytest.raises(ProviderError):
            await subject.embed([BAD.format("status=400")])
        await upstream.settled()
        assert len(upstream.ledger) == 1

    async def test_a_host_that_stays_busy_is_given_up(self, upstream: fakeup.Upstream, gateway: Gateway) -> None:
        async with self.opened(upstream, gateway, max_retries=1) as subject:
            with pytest.raises(ProviderError):
                await subject.embed([BAD.format("status=503")])
        await upstream.settled()
        assert len(upstream.ledger) == 2

    async def test_nothing_to_embed_calls_nobody(self, subject: Any, upstream: fakeup.Upstream) -> None:
        assert await subject.embed([]) == []
        assert not upstream.ledger


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", ["vectors=few", "vectors=short", "vectors=text", "body_error", "garbage_at=0", "eof_at=0", "status=500"]
)
async def test_what_is_no_vector_for_each_text_is_a_provider_error(provider: OpenAIProvider, fault: str) -> None:
    with pytest.raises(ProviderError):
        await provider.embed(EMBEDDING_MODEL, ["one", BAD.format(fault)], 64)


@pytest.mark.anyio
@pytest.mark.parametrize("usage", ["no_usage", "usage=negative", "usage=absurd", "usage=float", "usage=nan"])
async def test_an_incredible_count_is_none(provider: OpenAIProvider, usage: str) -> None:
    assert (await provider.embed(EMBEDDING_MODEL, [BAD.format(usage)], 64)).input_tokens is None


@pytest.mark.anyio
async def test_the_vendors_name_and_count_come_back(provider: OpenAIProvider, upstream: fakeup.Upstream) -> None:
    found = await provider.embed(EMBEDDING_MODEL, ["one", "two"], None)
    await upstream.settled()
    (row,) = upstream.ledger
    assert (row.model, row.input_tokens) == (EMBEDDING_MODEL.api_model, found.input_tokens)
    assert found.provider_request_id == f"req_{row.attempt}"


@pytest.mark.anyio
async def test_as_many_texts_as_it_says_come_back_whole(provider: OpenAIProvider) -> None:
    texts = [f"text {number}" for number in range(provider.most_texts)]
    found = await provider.embed(EMBEDDING_MODEL, texts, 3_072)
    assert (len(found.vectors), provider.most_texts) == (MOST_TEXTS, MOST_TEXTS)


def test_the_credential_is_no_text() -> None:
    assert "sk-" not in repr(decode({"api_key": "sk-test"}, EmbedderConfig, "x"))
