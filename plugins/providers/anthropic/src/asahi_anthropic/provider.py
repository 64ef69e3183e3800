"""Anthropic's Messages API as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from asahi_anthropic import marking
from asahi_anthropic.batches import Batches
from asahi_anthropic.config import AnthropicConfig
from asahi_anthropic.decode import decode_count, decode_reply
from asahi_anthropic.encode import encode, encode_count
from asahi_anthropic.failures import AnthropicDialect
from asahi_anthropic.refusals import refusal
from asahi_anthropic.transcript import Transcript
from asahi_kernel import Batch, Chunk, Completion, ConfigError, Model, Request
from asahi_kernel.http.call import Caller, Timeouts, Transport, connected, officially
from asahi_kernel.types import Place

_PATH = "/v1/messages"
_VERSION = "2023-06-01"
_COUNT_S = 5.0


class AnthropicProvider:
    """Speaks the messages wire to the one host of its configuration; every failure becomes `ProviderError`."""

    wire = "anthropic"
    most_markers = marking.MOST
    kept_s = marking.KEPT_S

    def __init__(self, config: AnthropicConfig, client: Transport) -> None:
        self._caller = Caller(client, Timeouts.of(config), AnthropicDialect(config.api_key.reveal()))
        self._max_tokens = config.default_max_tokens

    async def complete(self, model: Model, request: Request) -> Completion:
        """One answer, whole, within `timeout_s`."""
        body = self._whole(request, model)
        return await self._caller.whole(_PATH, body, lambda reply, name: decode_reply(reply, model.name, name))

    def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]:
        """One answer, piece by piece; why it ended and its usage come last. Closing it hangs up on the host."""
        body = encode(request, model.api_model, stream=True, default_max_tokens=self._max_tokens)
        return self._caller.chunks(_PATH, body, Transcript)

    async def count_tokens(self, model: Model, request: Request) -> int:
        """The input tokens by the vendor's own count, which is free, within five seconds."""
        body = encode_count(request, model.api_model)
        return await self._caller.whole(f"{_PATH}/count_tokens", body, decode_count, _COUNT_S)

    def least_tokens(self, model: Model) -> int:
        """The shortest beginning of a prompt that the model keeps."""
        return marking.least_tokens(model.api_model)

    def mark(self, request: Request, places: Sequence[Place]) -> Request:
        """The request with markers for the vendor's prompt cache."""
        return marking.mark(request, places)

    def refuses(self, request: Request) -> str:
        """What in the request this wire has no word for, or nothing."""
        return refusal(request)

    def _whole(self, request: Request, model: Model) -> bytes:
        return encode(request, model.api_model, stream=False, default_max_tokens=self._max_tokens)


class BatchingAnthropicProvider(AnthropicProvider):
    """The same at the vendor's own host, which has batches; clouds have none of them."""

    def __init__(self, config: AnthropicConfig, client: Transport) -> None:
        super().__init__(config, client)
        self._batches = Batches(self._caller, self._whole)

    async def submit(self, model: Model, members: Sequence[tuple[str, Request]]) -> str:
        """A batch, to be answered within a day."""
        return await self._batches.submit(model, members)

    async def poll(self, model: Model, batch_id: str) -> Batch:
        """How far a batch is."""
        return await self._batches.poll(model, batch_id)

    async def cancel(self, batch_id: str) -> None:
        """Ends a batch."""
        await self._batches.cancel(batch_id)


@asynccontextmanager
async def opened(config: AnthropicConfig) -> AsyncIterator[AnthropicProvider]:
    """A provider with its connections, which close with it. `ConfigError` for an address or key that cannot work."""
    if config.cloud is None and urlsplit(config.base_url).path.rstrip("/").endswith("/v1"):
        raise ConfigError("anthropic: base_url is written without the final /v1")
    if config.transport == "sdk":
        from asahi_anthropic.sdk import open_sdk

        async with officially("anthropic", config.base_url, config, lambda: open_sdk(config)) as transport:
            yield (AnthropicProvider if config.cloud else BatchingAnthropicProvider)(config, transport)
        return
    if config.cloud is not None:
        raise ConfigError(f"anthropic: cloud: {config.cloud} needs transport: sdk")
    headers = {"anthropic-version": _VERSION}
    if config.api_key:
        headers["x-api-key"] = config.api_key.reveal()
    async with connected("anthropic", config.base_url, headers, config) as client:
        yield BatchingAnthropicProvider(config, client)
