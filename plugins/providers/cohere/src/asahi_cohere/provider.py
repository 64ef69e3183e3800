"""Cohere's v2 API as a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from asahi_cohere.config import MOST_TEXTS, CohereConfig
from asahi_cohere.decode import decode_embeddings, decode_reply
from asahi_cohere.encode import encode, encode_texts
from asahi_cohere.failures import CohereDialect
from asahi_cohere.refusals import refusal
from asahi_cohere.transcript import Transcript
from asahi_kernel import Chunk, Completion, ConfigError, Embedded, Model, ProviderError, Request
from asahi_kernel.http.call import Caller, Timeouts, connected
from asahi_kernel.http.client import Client
from asahi_kernel.http.host import CallsConfig

_CHAT = "/v2/chat"
_EMBED = "/v2/embed"


class CohereProvider:
    """Speaks to the one host of its configuration; every failure becomes `ProviderError`."""

    most_texts = MOST_TEXTS

    def __init__(self, config: CohereConfig, caller: Caller) -> None:
        self._caller = caller
        self._input_type = config.input_type

    async def complete(self, model: Model, request: Request) -> Completion:
        """One answer, whole, within `timeout_s`."""
        body = encode(request, model.api_model, stream=False)
        return await self._caller.whole(_CHAT, body, lambda reply, name: decode_reply(reply, model.name, name))

    def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]:
        """One answer, piece by piece; why it ended and its usage come last. Closing it hangs up on the host."""
        return self._caller.chunks(_CHAT, encode(request, model.api_model, stream=True), Transcript)

    async def embed(self, model: Model, texts: Sequence[str], dimensions: int | None) -> Embedded:
        """The texts as unit vectors; at most 96 at once."""
        return await embedded(self._caller, model.api_model, texts, self._input_type, dimensions)

    def refuses(self, request: Request) -> str:
        """What in the request this wire has no word for, or nothing."""
        return refusal(request)


async def embedded(
    caller: Caller, api_model: str, texts: Sequence[str], input_type: str, dimensions: int | None
) -> Embedded:
    """One vector for each text, all of the length asked for, or `ProviderError`."""
    if len(texts) > MOST_TEXTS:
        raise ProviderError(f"embeds at most {MOST_TEXTS} texts at once", status=400, retryable=False, rejected=True)
    body = encode_texts(texts, api_model, input_type, dimensions)
    answer = await caller.whole(_EMBED, body, decode_embeddings)
    lengths = {len(vector) for vector in answer.vectors}
    if len(answer.vectors) != len(texts) or len(lengths) > 1:
        raise ProviderError("answered with other vectors than one for each text", retryable=False)
    if dimensions is not None and lengths and lengths != {dimensions}:
        raise ProviderError(f"answered with vectors of {lengths.pop()} dimensions, not {dimensions}", retryable=False)
    return answer


@asynccontextmanager
async def calling(config: CallsConfig, base_url: str) -> AsyncIterator[Caller]:
    """Connections to the host, which close with it. `ConfigError` for an address or key that cannot work."""
    if urlsplit(base_url).path.rstrip("/").endswith(("/v1", "/v2")):
        raise ConfigError("cohere: base_url is written without the final /v2")
    secret = config.api_key.reveal()
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    async with connected("cohere", base_url, headers, config) as client:
        yield _caller(client, config)


@asynccontextmanager
async def opened(config: CohereConfig) -> AsyncIterator[CohereProvider]:
    """A provider with its connections."""
    async with calling(config, config.base_url) as caller:
        yield CohereProvider(config, caller)


def _caller(client: Client, config: CallsConfig) -> Caller:
    return Caller(client, Timeouts.of(config), CohereDialect(config.api_key.reveal()))
