"""What is asked of a paid vendor itself, where there is a key: the least that shows that its wire is still ours."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.plugins.vendors import Vendor, ask

from asahi_kernel import Model, ProviderError, Secret, Tool
from asahi_kernel.draft import Draft
from asahi_kernel.gateway import Gateway
from asahi_kernel.settings import Settings

LOOK = Tool(
    name="look_up_weather",
    description="The weather of a city.",
    parameters=b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
)
WHOLE = 60.0


def needs(variable: str) -> Callable[[Any], Any]:
    """Marks a test class that runs only where the key is set."""

    def mark(kind: Any) -> Any:
        kind.key = variable
        skip = pytest.mark.skipif(not os.environ.get(variable), reason=f"{variable} is not set")
        return pytest.mark.live(pytest.mark.anyio(skip(kind)))

    return mark


class Live:
    """Subclasses say which vendor, and by which of its models."""

    key: str
    vendor: Vendor
    api_model: str

    @property
    def model(self) -> Model:
        return Model(name="live", provider=self.vendor.factory.name, api_model=self.api_model)

    @asynccontextmanager
    async def open(self, key: str = "") -> AsyncIterator[Any]:
        """The provider at the vendor's own host."""
        default = next(
            each.default for each in msgspec.structs.fields(self.vendor.factory.config) if each.name == "base_url"
        )
        table = {"api_key": Secret(key or os.environ[self.key]), "base_url": default, "timeout_s": WHOLE}
        config = self.vendor.config("", **table, stream_timeout_s=WHOLE, first_token_timeout_s=WHOLE)
        async with self.vendor.factory.open(config, Gateway(Settings(profile="development"))) as provider:
            yield provider

    async def test_an_answer_has_text_and_usage(self) -> None:
        async with self.open() as provider:
            completion = await provider.complete(self.model, ask("Say the word: yes", max_tokens=50))
        assert completion.text
        assert completion.usage is not None
        assert 0 < completion.usage.output_tokens <= 50
        assert completion.provider_request_id

    async def test_a_stream_ends_with_a_reason_and_usage(self) -> None:
        draft = Draft("live")
        async with self.open() as provider:
            async for chunk in provider.stream(self.model, ask("Count from 1 to 5.", max_tokens=50)):
                draft.add(chunk)
        assert draft.complete
        assert "3" in draft.completion().text
        assert draft.completion().usage is not None

    async def test_a_tool_is_called(self) -> None:
        request = ask("What is the weather in Paris?", tools=(LOOK,), tool_choice=b'"required"', max_tokens=200)
        async with self.open() as provider:
            completion = await provider.complete(self.model, request)
        assert [call.name for call in completion.tool_calls] == [LOOK.name]
        assert "Paris" in completion.tool_calls[0].arguments

    async def test_a_wrong_key_is_refused_without_being_told(self) -> None:
        async with self.open("sk-wrong-0123456789abcdef") as provider:
            with pytest.raises(ProviderError) as caught:
                await provider.complete(self.model, ask("hello", max_tokens=5))
        assert caught.value.status in (401, 403)
        assert not caught.value.retryable
        assert "0123456789" not in str(caught.value)

    async def test_a_model_that_is_not_there_is_an_error(self) -> None:
        nowhere = msgspec.structs.replace(self.model, api_model="no-such-model-0")
        async with self.open() as provider:
            with pytest.raises(ProviderError) as caught:
                await provider.complete(nowhere, ask("hello", max_tokens=5))
        assert caught.value.status in (400, 404)


class LiveBatches(Live):
    """For vendors with batches: one is made, asked for, and cancelled before it costs."""

    async def test_a_batch_can_be_made_and_cancelled(self) -> None:
        async with self.open() as provider:
            batch_id = await provider.submit(self.model, [("one", ask("Say: yes", max_tokens=5))])
            assert (await provider.poll(self.model, batch_id)).state in ("queued", "running", "done")
            await provider.cancel(batch_id)
