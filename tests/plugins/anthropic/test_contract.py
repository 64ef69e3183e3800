"""The provider keeps what every provider promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest

from asahi_anthropic import register_providers
from asahi_kernel import Factory, Message, Request
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.testing import ProviderContract, fakeup


class TestAnthropic(ProviderContract):
    factory: ClassVar[Factory[Any, Any]] = next(iter(register_providers()))
    broken = Request(messages=(Message("user", "[[fakeup: status=500]]"),))

    config: ClassVar[Mapping[str, Any]] = {"api_key": "sk-test"}

    @pytest.fixture
    async def subject(self, upstream: fakeup.Upstream, gateway: Gateway) -> AsyncIterator[Any]:
        table = {**self.config, "base_url": upstream.url}
        async with self.factory.open(decode(table, self.factory.config, "anthropic"), gateway) as subject:
            yield subject
