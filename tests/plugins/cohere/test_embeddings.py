"""Embeddings: unit vectors of the right length for every text, or an error."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from tests.plugins.vendors import COHERE, KEY

import asahi_cohere
from asahi_cohere import register_embedders
from asahi_kernel import Invalid, Model, ProviderError
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.settings import Settings
from asahi_kernel.testing import EmbedderContract, EmbeddingProviderContract, fakeup

pytestmark = pytest.mark.anyio
FACTORY = next(iter(register_embedders()))
MODEL = Model(name="e", provider="cohere", api_model="embed-v4.0")


@asynccontextmanager
async def embedder(url: str, **fields: Any) -> AsyncIterator[Any]:
    config = decode({"api_key": KEY, "base_url": url, **fields}, FACTORY.config, "embedders.cohere")
    async with FACTORY.open(config, Gateway(Settings(profile="development"))) as opened:
        yield opened


class TestEmbedder(EmbedderContract):
    factory = FACTORY
    config: ClassVar[dict[str, str]] = {"api_key": "sk-test"}

    @pytest.fixture
    async def subject(self, upstream: fakeup.Upstream) -> AsyncIterator[Any]:
        async with embedder(upstream.url) as opened:
            yield opened


class TestProvider(EmbeddingProviderContract):
    factory = COHERE.factory
    config: ClassVar[dict[str, str]] = {"api_key": "sk-test"}
    embedding_model = MODEL
    shorter = 256

    @pytest.fixture
    async def subject(self, upstream: fakeup.Upstream) -> AsyncIterator[Any]:
        async with COHERE.open(upstream.url) as opened:
            yield opened


def test_the_plugin_registers_both() -> None:
    assert [each.name for each in (*asahi_cohere.register_providers(), *register_embedders())] == ["cohere", "cohere"]


async def test_the_default_is_the_documented_model_for_queries(upstream: fakeup.Upstream) -> None:
    async with embedder(upstream.url) as opened:
        (vector,) = await opened.embed(["one text"])
    (row,) = upstream.ledger
    assert (row.model, row.path, row.credential) == ("embed-english-v3.0", "/v2/embed", KEY)
    assert (len(vector), opened.dimensions) == (1_024, 1_024)
    assert math.fsum(number * number for number in vector) == pytest.approx(1)


async def test_many_texts_go_in_batches_of_96_and_stay_in_order(upstream: fakeup.Upstream) -> None:
    texts = [f"text {number}" for number in range(200)]
    async with embedder(upstream.url) as opened:
        vectors = await opened.embed(texts)
        assert len(upstream.ledger) == 3
        assert await opened.embed(texts[150:151]) == vectors[150:151]


async def test_a_blank_text_is_an_error_and_is_not_sent(upstream: fakeup.Upstream) -> None:
    async with embedder(upstream.url) as opened:
        with pytest.raises(Invalid, match="text 1 is blank"):
            await opened.embed(["one", " \n"])
    assert upstream.ledger == []


async def test_vectors_of_another_length_are_an_error(upstream: fakeup.Upstream) -> None:
    async with embedder(upstream.url) as opened:
        with pytest.raises(ProviderError, match="5 dimensions, not 1024"):
            await opened.embed(["one [[fakeup: dimensions=5]]"])
    async with COHERE.open(upstream.url) as provider:
        with pytest.raises(ProviderError, match="5 dimensions, not 256"):
            await provider.embed(MODEL, ["one [[fakeup: dimensions=5]]"], 256)


async def test_a_failure_that_may_pass_is_tried_three_times_more(upstream: fakeup.Upstream) -> None:
    async with embedder(upstream.url) as opened:
        await opened.embed(["one [[fakeup: status=429 retry_after=0 first=3]]"])
        assert len(upstream.ledger) == 4
        with pytest.raises(ProviderError):
            await opened.embed(["two [[fakeup: status=400]]"])
        assert len(upstream.ledger) == 5
    async with embedder(upstream.url, max_retries=0) as opened:
        with pytest.raises(ProviderError):
            await opened.embed(["three [[fakeup: status=503]]"])
    assert len(upstream.ledger) == 6


async def test_the_provider_tells_what_was_billed(upstream: fakeup.Upstream) -> None:
    async with COHERE.open(upstream.url) as provider:
        answer = await provider.embed(MODEL, ["one text", "another"], None)
        silent = await provider.embed(MODEL, ["one [[fakeup: no_usage]]"], None)
        absurd = await provider.embed(MODEL, ["one [[fakeup: usage=negative]]"], None)
    assert answer.input_tokens == upstream.ledger[0].input_tokens
    assert answer.provider_request_id == f"req_{upstream.ledger[0].attempt}"
    assert (silent.input_tokens, absurd.input_tokens) == (None, None)


async def test_more_texts_than_the_vendor_takes_are_refused(upstream: fakeup.Upstream) -> None:
    async with COHERE.open(upstream.url) as provider:
        with pytest.raises(ProviderError, match="at most 96") as caught:
            await provider.embed(MODEL, ["x"] * 97, None)
    assert (caught.value.rejected, upstream.ledger) == (True, [])


async def test_a_model_of_one_length_is_not_asked_for_another(upstream: fakeup.Upstream) -> None:
    async with COHERE.open(upstream.url) as provider:
        with pytest.raises(ProviderError, match="not supported"):
            await provider.embed(Model(name="e", provider="cohere", api_model="embed-english-v3.0"), ["x"], 256)
