"""Anthropic's models over the Messages API as a provider for Asahi."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_anthropic.config import AnthropicConfig
from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Provider


@hookimpl
def register_providers() -> Iterable[Factory[Provider, Any]]:
    """One provider, `anthropic`, of which a configuration may hold several instances."""
    return (Factory("anthropic", AnthropicConfig, open_anthropic),)


@asynccontextmanager
async def open_anthropic(config: AnthropicConfig, gateway: Gateway) -> AsyncIterator[Provider]:
    """Opens the provider; its client is imported only now."""
    from asahi_anthropic.provider import opened

    async with opened(config) as provider:
        yield provider
