"""A fake upstream, and the provider pointed at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import pytest

from asahi_kernel import Secret
from asahi_kernel.testing import fakeup
from asahi_openai.config import OpenAIConfig
from asahi_openai.provider import OpenAIProvider, opened

KEY = "sk-canary-0123456789abcdef"
OpenAt = Callable[..., AbstractAsyncContextManager[OpenAIProvider]]


@asynccontextmanager
async def provider_at(url: str, **fields: object) -> AsyncIterator[OpenAIProvider]:
    config = OpenAIConfig(api_key=Secret(KEY), base_url=url + "/v1")
    async with opened(msgspec.structs.replace(config, **fields)) as provider:
        yield provider


@pytest.fixture
def open_at() -> OpenAt:
    """Opens a provider for an address, with further configuration."""
    return provider_at


@pytest.fixture
def key() -> str:
    """The credential of every provider here: it must turn up in no text."""
    return KEY


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def upstream() -> AsyncIterator[fakeup.Upstream]:
    async with fakeup.running(prices=dict([fakeup.read_price("gpt-test=1,2")])) as running:
        yield running


@pytest.fixture
async def provider(upstream: fakeup.Upstream) -> AsyncIterator[OpenAIProvider]:
    async with provider_at(upstream.url) as provider:
        yield provider


@pytest.fixture
async def hasty(upstream: fakeup.Upstream) -> AsyncIterator[OpenAIProvider]:
    """A provider with short timeouts, all different."""
    async with provider_at(
        upstream.url, first_token_timeout_s=0.3, idle_timeout_s=0.2, timeout_s=0.5, stream_timeout_s=0.8
    ) as provider:
        yield provider
