"""The weather: a mock vendor with good days and bad ones, so that there is something to be alerted of."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel.benchmark.standing_in import Standin
from asahi_kernel.builtins.mock import MOCK, MockConfig
from asahi_kernel.errors import ProviderError
from asahi_kernel.factory import Factory
from asahi_kernel.plugins import Plugins

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Provider
    from asahi_kernel.types import Chunk, Completion, Model, Request


class Weather:
    """`failing` is the share of calls that fail now, `slow_s` what each one waits more."""

    def __init__(self, seed: int) -> None:
        self.failing = 0.0
        self.slow_s = 0.0
        self._draw = random.Random(seed)

    async def pass_through(self) -> None:
        """Wait, and fail, as the weather is."""
        if self.slow_s:
            await asyncio.sleep(self.slow_s * self._draw.uniform(0.5, 1.5))
        if self.failing and self._draw.random() < self.failing:
            raise ProviderError("mock fault 503", status=503)


class Weathered(Plugins):
    """The same plugins, with weather over the mock provider."""

    def __init__(self, plugins: Plugins, weather: Weather) -> None:
        super().__init__(plugins.manager, plugins.labels, plugins.broken)
        self._weather = weather

    def catalogue(self, kind: str) -> dict[str, Factory[Any, Any]]:
        found = super().catalogue(kind)
        return {**found, "mock": _under(self._weather)} if found.get("mock") is MOCK else found


class _Outdoors(Standin):
    def __init__(self, config: MockConfig, weather: Weather) -> None:
        super().__init__(config)
        self._weather = weather

    async def complete(self, model: Model, request: Request) -> Completion:
        await self._weather.pass_through()
        return await super().complete(model, request)

    async def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]:
        await self._weather.pass_through()
        async for chunk in super().stream(model, request):
            yield chunk


def _under(weather: Weather) -> Factory[Provider, MockConfig]:
    @asynccontextmanager
    async def opened(config: MockConfig, gateway: Gateway) -> AsyncIterator[Provider]:
        yield _Outdoors(config, weather)

    return Factory("mock", MockConfig, opened)
