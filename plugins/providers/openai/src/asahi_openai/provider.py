"""One OpenAI-compatible host as a provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from asahi_kernel import Chunk, Completion, ConfigError, Model, ProviderError, Request
from asahi_kernel.http.client import Client, ConnectError, Response
from asahi_kernel.http.connection import BrokenError
from asahi_kernel.wire.sse import EventError, EventParser
from asahi_openai import failures
from asahi_openai.config import OpenAIConfig
from asahi_openai.decode import Failure, Garbage, decode_reply
from asahi_openai.encode import encode
from asahi_openai.transcript import Transcript

_PATH = "/chat/completions"
_MOST_BYTES = 32 << 20
_LONGEST_ERROR = 64 << 10
_LONGEST_ID = 200
_FAULTS = (ConnectError, BrokenError, TimeoutError, EventError, Garbage, Failure)


class OpenAIProvider:
    """Speaks the chat wire to the one host of its configuration; every failure becomes `ProviderError`."""

    wire = "openai"

    def __init__(self, config: OpenAIConfig, client: Client) -> None:
        self._config = config
        self._client = client
        official = urlsplit(config.base_url).hostname == "api.openai.com"
        self._max_tokens = config.max_tokens_parameter or ("max_completion_tokens" if official else "max_tokens")

    async def complete(self, model: Model, request: Request) -> Completion:
        """One answer, whole, within `timeout_s`."""
        body = encode(request, model.api_model, stream=False, max_tokens_parameter=self._max_tokens)
        until = asyncio.get_running_loop().time() + self._config.timeout_s
        try:
            response = await self._client.post(_PATH, body, until=until, head_until=until)
            try:
                if response.status != 200:
                    raise await self._refusal(response)
                reply = await response.read(_MOST_BYTES)
            finally:
                response.close()
            return decode_reply(reply, model.name, _request_id(response))
        except _FAULTS as error:
            raise _failed(error) from None

    async def stream(self, model: Model, request: Request) -> AsyncIterator[Chunk]:
        """One answer, piece by piece; the last chunk may hold only the usage. Closing it hangs up on the host."""
        body = encode(request, model.api_model, stream=True, max_tokens_parameter=self._max_tokens)
        time = asyncio.get_running_loop().time
        now = time()
        until, first_until = now + self._config.stream_timeout_s, now + self._config.first_token_timeout_s
        try:
            response = await self._client.post(_PATH, body, until=until, head_until=first_until)
            try:
                if response.status != 200:
                    raise await self._refusal(response)
                await _require_events(response)
                parser, transcript = EventParser(), Transcript(_request_id(response))
                while not transcript.done:
                    due = time() + self._config.idle_timeout_s if transcript.begun else first_until
                    piece = await response.chunk(due)
                    if not piece:
                        break
                    for event in parser.feed(piece):
                        for chunk in transcript.read(event):
                            yield chunk
                ending = transcript.end()
                response.finish()
                for chunk in ending:
                    yield chunk
            finally:
                response.close()
        except _FAULTS as error:
            raise _failed(error) from None

    async def _refusal(self, response: Response) -> ProviderError:
        try:
            body = await response.read(_LONGEST_ERROR)
        except (BrokenError, TimeoutError):
            body = b""
        return failures.refused(response.status, response.headers, body, self._config.api_key.reveal())


@asynccontextmanager
async def opened(config: OpenAIConfig) -> AsyncIterator[OpenAIProvider]:
    """A provider with its connections, which close with it. `ConfigError` for an address or key that cannot work."""
    headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "asahi"}
    if config.api_key:
        headers["authorization"] = f"Bearer {config.api_key.reveal()}"
    try:
        client = Client(
            config.base_url,
            headers,
            limit=config.max_connections,
            connect_timeout_s=config.connect_timeout_s,
        )
    except ValueError as error:
        raise ConfigError(f"openai: {error}") from None
    try:
        yield OpenAIProvider(config, client)
    finally:
        await client.close()


async def _require_events(response: Response) -> None:
    """Some hosts answer a request for a stream with one JSON object, mostly an error."""
    if response.headers.get(b"content-type", b"").startswith(b"application/json"):
        decode_reply(await response.read(_MOST_BYTES), "", "")
        raise Garbage("no stream where one was asked for")


def _request_id(response: Response) -> str:
    text = response.headers.get(b"x-request-id", b"").decode("latin-1")
    return text if text.isprintable() and len(text) <= _LONGEST_ID else ""


def _failed(error: Exception) -> ProviderError:
    """The same failure in the pipeline's terms. Only what was surely not sent is worth the same attempt again."""
    match error:
        case ConnectError():
            return ProviderError(str(error), timed_out=error.timed_out)
        case BrokenError():
            return ProviderError(str(error), retryable=error.unsent)
        case TimeoutError():
            return ProviderError("did not answer in time", retryable=False, timed_out=True)
        case Failure():
            return failures.reported(error.error)
        case _:
            return ProviderError("answered with something that is not a complete answer", retryable=False)
