"""A fake upstream, and the provider pointed at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import pytest

from asahi_anthropic.config import AnthropicConfig
from asahi_anthropic.provider import AnthropicProvider, opened
from asahi_kernel import Secret
from asahi_kernel.testing import fakeup

KEY = "sk-ant-canary-0123456789abcdef"
OpenAt = Callable[..., AbstractAsyncContextManager[AnthropicProvider]]


@asynccontextmanager
async def provider_at(url: str, **fields: object) -> AsyncIterator[AnthropicProvider]:
    config = AnthropicConfig(api_key=Secret(KEY), base_url=url)
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
    async with fakeup.running(prices=dict([fakeup.read_price("claude-test=3,15,0.3,3.75")])) as running:
        yield running


@pytest.fixture
async def provider(upstream: fakeup.Upstream) -> AsyncIterator[AnthropicProvider]:
    async with provider_at(upstream.url) as provider:
        yield provider


@pytest.fixture
async def hasty(upstream: fakeup.Upstream) -> AsyncIterator[AnthropicProvider]:
    """A provider with short timeouts, all different."""
    async with provider_at(
        upstream.url, first_token_timeout_s=0.3, idle_timeout_s=0.2, timeout_s=0.5, stream_timeout_s=0.8
    ) as provider:
        yield provider
