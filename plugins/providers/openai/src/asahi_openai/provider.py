"""One OpenAI-compatible host as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from asahi_kernel import Batch, Chunk, Completion, ConfigError, Embedded, Model, Request
from asahi_kernel.http.call import Caller, Timeouts, Transport, connected, officially
from asahi_openai import embeddings
from asahi_openai.batches import Batches
from asahi_openai.config import OpenAIConfig
from asahi_openai.decode import decode_reply
from asahi_openai.encode import encode
from asahi_openai.failures import OpenAIDialect
from asahi_openai.transcript import Transcript

_PATH = "/chat/completions"


class OpenAIProvider:
    """Speaks the chat wire to the one host of its configuration; every failure becomes `ProviderError`."""

    wire = "openai"
    most_texts = embeddings.MOST_TEXTS

    def __init__(self, config: OpenAIConfig, client: Transport) -> None:
        self._caller = Caller(client, Timeouts.of(config), OpenAIDialect(config.api_key.reveal()))
        host = urlsplit(config.base_url).hostname
        official = host == "api.openai.com"
        self._max_tokens = config.max_tokens_parameter or ("max_completion_tokens" if official else "max_tokens")
        self._ask = config.ask_for_usage if config.ask_for_usage is not None else host != "api.mistral.ai"

    async def complete(self, model: Model, request: Request) -> Completion:
        """One answer, whole, within `timeout_s`."""
        body = self._whole(request, model)
        return await self._caller.whole(_PATH, body, lambda reply, name: decode_reply(reply, model.name, name))

    async def embed(self, model: Model, texts: Sequence[str], dimensions: int | None) -> Embedded:
        """A vector for each text, within `timeout_s`."""
        body = embeddings.encode(model.api_model, texts, dimensions)
        return await self._caller.whole(
            embeddings.PATH, body, lambda reply, name: embeddings.decode(reply, len(texts), dimensions, name)
        )

    def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]:
        """One answer, piece by piece; the last chunk may hold only the usage. Closing it hangs up on the host."""
        body = encode(
            request, model.api_model, stream=True, max_tokens_parameter=self._max_tokens, ask_for_usage=self._ask
        )
        return self._caller.chunks(_PATH, body, Transcript)

    def _whole(self, request: Request, model: Model) -> bytes:
        return encode(request, model.api_model, stream=False, max_tokens_parameter=self._max_tokens)


class BatchingOpenAIProvider(OpenAIProvider):
    """The same for a host that has the vendor's batches."""

    def __init__(self, config: OpenAIConfig, client: Transport) -> None:
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
async def opened(config: OpenAIConfig) -> AsyncIterator[OpenAIProvider]:
    """A provider with its connections, which close with it. `ConfigError` for an address or key that cannot work."""
    official = urlsplit(config.base_url).hostname == "api.openai.com"
    batching = config.batches if config.batches is not None else official
    kind = BatchingOpenAIProvider if batching else OpenAIProvider
    if config.transport == "sdk":
        from asahi_openai.sdk import open_sdk

        async with officially("openai", config.base_url, config, lambda: open_sdk(config)) as transport:
            yield kind(config, transport)
        return
    if config.cloud is not None:
        raise ConfigError(f"openai: cloud: {config.cloud} needs transport: sdk")
    headers = {"authorization": f"Bearer {config.api_key.reveal()}"} if config.api_key else {}
    async with connected("openai", config.base_url, headers, config) as client:
        yield kind(config, client)
