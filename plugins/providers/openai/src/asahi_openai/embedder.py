"""Text embeddings for Asahi's own use, such as the semantic cache: batches, unit vectors, retries."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asahi_kernel import Embedded, ProviderError, Vector
from asahi_kernel.http.call import Caller, Timeouts, connected
from asahi_kernel.resilience.retry import backoff
from asahi_openai import embeddings
from asahi_openai.config import EmbedderConfig
from asahi_openai.failures import OpenAIDialect

_BACKOFF_S, _LONGEST_S = 0.2, 4.0


class OpenAIEmbedder:
    """Vectors of one length, `dimension`; another length is an error, never cut or filled."""

    def __init__(self, config: EmbedderConfig, caller: Caller) -> None:
        self._config = config
        self._caller = caller
        self.dimensions = config.dimension

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """A unit vector for each text, in their order. Raises `ProviderError`."""
        size = self._config.batch_size
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        return [_unit(vector) for batch in batches for vector in (await self._persist(batch)).vectors]

    async def _persist(self, texts: Sequence[str]) -> Embedded:
        for attempt in range(1, self._config.max_retries + 1):
            try:
                return await self._ask(texts)
            except ProviderError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(backoff(attempt, _BACKOFF_S, _LONGEST_S, error.retry_after))
        return await self._ask(texts)

    async def _ask(self, texts: Sequence[str]) -> Embedded:
        dimension = self.dimensions
        body = embeddings.encode(self._config.model, texts, dimension if self._config.send_dimension else None)
        return await self._caller.whole(
            embeddings.PATH, body, lambda reply, name: embeddings.decode(reply, len(texts), dimension, name)
        )


@asynccontextmanager
async def opened(config: EmbedderConfig) -> AsyncIterator[OpenAIEmbedder]:
    """An embedder with its connections, which close with it."""
    headers = {"authorization": f"Bearer {config.api_key.reveal()}"} if config.api_key else {}
    async with connected("openai", config.base_url, headers, config) as client:
        yield OpenAIEmbedder(config, Caller(client, Timeouts.of(config), OpenAIDialect(config.api_key.reveal())))


def _unit(vector: Vector) -> Vector:
    length = math.hypot(*vector)
    if not length or not math.isfinite(length):
        raise ProviderError("gave a vector without a length", retryable=False)
    return tuple(number / length for number in vector)
