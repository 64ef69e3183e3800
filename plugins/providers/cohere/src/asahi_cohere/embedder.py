"""Cohere's embeddings for the gateway's own use: caches, searches, examples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asahi_cohere.config import CohereEmbedderConfig
from asahi_cohere.provider import calling, embedded
from asahi_kernel import Invalid, ProviderError, Vector
from asahi_kernel.http.call import Caller
from asahi_kernel.resilience.retry import backoff

_BASE_S, _CAP_S = 0.5, 8.0
#: Models of this line have one length each and take no wish for another.
_FIXED = ("embed-english-v", "embed-multilingual-v")


class CohereEmbedder:
    """Unit vectors of `dimension` numbers, in batches of at most 96 texts. A failure that may pass is tried again here,
    as nothing above does it; `ProviderError` after the last try."""

    def __init__(self, config: CohereEmbedderConfig, caller: Caller) -> None:
        self.dimensions = config.dimension
        self._config = config
        self._caller = caller

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One vector for each text. Raises `Invalid` for a blank one."""
        if blank := [at for at, text in enumerate(texts) if not text.strip()]:
            raise Invalid(f"text {blank[0]} is blank, and has no meaning to embed")
        size = self._config.batch_size
        batches = [await self._batch(texts[at : at + size]) for at in range(0, len(texts), size)]
        return [vector for batch in batches for vector in batch]

    async def _batch(self, texts: Sequence[str]) -> Sequence[Vector]:
        config = self._config
        wish = None if config.model.startswith(_FIXED) else config.dimension
        for attempt in range(1, config.max_retries + 2):
            try:
                answer = await embedded(self._caller, config.model, texts, config.input_type, wish)
                break
            except ProviderError as error:
                if not error.retryable or attempt > config.max_retries:
                    raise
                wait_s = backoff(attempt, _BASE_S, _CAP_S, error.retry_after)
            await asyncio.sleep(wait_s)
        if any(len(vector) != self.dimensions for vector in answer.vectors):
            length = len(answer.vectors[0])
            raise ProviderError(f"{config.model!r} has {length} dimensions, not {self.dimensions}", retryable=False)
        return answer.vectors


@asynccontextmanager
async def opened(config: CohereEmbedderConfig) -> AsyncIterator[CohereEmbedder]:
    """An embedder with its connections."""
    async with calling(config, config.base_url) as caller:
        yield CohereEmbedder(config, caller)
