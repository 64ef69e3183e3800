"""What only OpenAI's wire can say."""

from __future__ import annotations

import pytest
from tests.plugins.vendors import OPENAI, ask

from asahi_kernel.protocols import WireProvider
from asahi_openai import register_providers
from asahi_openai.provider import OpenAIProvider

pytestmark = pytest.mark.anyio
MODEL = OPENAI.model


async def test_the_provider_names_its_wire(provider: OpenAIProvider) -> None:
    assert isinstance(provider, WireProvider)
    assert provider.wire == "openai"
    assert [factory.name for factory in register_providers()] == ["openai"]


async def test_all_choices_come_back(provider: OpenAIProvider) -> None:
    request = ask("[[fakeup: tokens=5]]", n=3)
    whole = await provider.complete(MODEL, request)
    texts = [whole.text, *(choice.text for choice in whole.others)]
    chunks = [chunk async for chunk in provider.stream(MODEL, request)]
    streamed = ["".join(chunk.text for chunk in chunks if chunk.index == index) for index in range(3)]
    assert streamed == texts
    assert len(set(texts)) == 3
