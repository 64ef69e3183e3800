"""A call of a provider plugin: one body out, one answer back, whole or as events; every failure a `ProviderError`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from msgspec import Struct

from asahi_kernel.errors import ConfigError, ProviderError
from asahi_kernel.http import failures, official
from asahi_kernel.http.client import Client, ConnectError
from asahi_kernel.http.connection import BrokenError
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.host import CallsConfig, HostConfig
from asahi_kernel.http.official import Official
from asahi_kernel.types import Chunk
from asahi_kernel.wire.sse import Event, EventError, EventParser

T = TypeVar("T")

_MOST_BYTES = 32 << 20
_LONGEST_ERROR = 64 << 10
_LONGEST_ID = 200
_FAULTS = (ConnectError, BrokenError, TimeoutError, EventError, Garbage, Failure)


class Timeouts(Struct, frozen=True, kw_only=True):
    """In seconds: until a stream's first event, between two of its pieces, for a whole call, for a whole stream."""

    first_token_s: float
    idle_s: float
    whole_s: float
    stream_s: float

    @classmethod
    def of(cls, config: CallsConfig) -> Timeouts:
        """Those that a host is configured with."""
        if not isinstance(config, HostConfig):
            whole = config.timeout_s
            return cls(first_token_s=whole, idle_s=whole, whole_s=whole, stream_s=whole)
        return cls(
            first_token_s=config.first_token_timeout_s,
            idle_s=config.idle_timeout_s,
            whole_s=config.timeout_s,
            stream_s=config.stream_timeout_s,
        )


class Dialect(Protocol):
    """How a host names its answers and tells its failures; `request_id` is a header in lower case."""

    request_id: bytes

    def refused(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
        """The error for an answer with a status other than 200."""

    def reported(self, error: bytes) -> ProviderError:
        """The error for an error object where an answer or an event was due."""


class Transcript(Protocol):
    """Reads the events of one stream: `begun` once any has come that is a sign of an answer, `done` after the last."""

    begun: bool
    done: bool

    def read(self, event: Event) -> Sequence[Chunk]:
        """The chunks in an event. Raises `Garbage`, or `Failure` for an error event."""

    def end(self) -> Sequence[Chunk]:
        """The last chunks, once the stream is over. Raises `Garbage` if the answer is not."""


class Answer(Protocol):
    """An answer that has begun; its reader must `close` it."""

    status: int

    @property
    def headers(self) -> Mapping[bytes, bytes]: ...
    async def chunk(self, until: float) -> bytes: ...
    async def read(self, limit: int) -> bytes: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


class Transport(Protocol):
    """A way to one host: the lean client, or a vendor's SDK. Tries nothing twice and follows no redirect."""

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        until: float,
        head_until: float,
        method: str = "POST",
        kind: str = "application/json",
    ) -> Answer: ...


class Caller:
    """Calls one host. Nothing is tried twice; what goes wrong is told in the host's dialect."""

    def __init__(self, client: Transport, timeouts: Timeouts, dialect: Dialect) -> None:
        self._client = client
        self._timeouts = timeouts
        self._dialect = dialect

    async def whole(
        self,
        path: str,
        body: bytes,
        read: Callable[[bytes, str], T],
        within_s: float | None = None,
        *,
        method: str = "POST",
        kind: str = "application/json",
        most: int = _MOST_BYTES,
    ) -> T:
        """What `read` makes of the answer's body and request id; it may raise `Garbage` or `Failure`. A body of more
        than `most` bytes is none."""
        until = asyncio.get_running_loop().time() + (within_s or self._timeouts.whole_s)
        try:
            response = await self._client.post(path, body, until=until, head_until=until, method=method, kind=kind)
            try:
                if response.status != 200:
                    raise await self._refusal(response)
                reply = await response.read(most)
            finally:
                response.close()
            return read(reply, self._request_id(response))
        except _FAULTS as error:
            raise self._failed(error) from None

    async def chunks(self, path: str, body: bytes, begin: Callable[[str], Transcript]) -> AsyncIterator[Chunk]:
        """What the transcript that `begin` makes of a request id reads. Closing the iterator hangs up on the host."""
        time = asyncio.get_running_loop().time
        now = time()
        until, first_until = now + self._timeouts.stream_s, now + self._timeouts.first_token_s
        try:
            response = await self._client.post(path, body, until=until, head_until=first_until)
            try:
                if response.status != 200:
                    raise await self._refusal(response)
                await _require_events(response)
                parser, transcript = EventParser(), begin(self._request_id(response))
                while not transcript.done:
                    due = time() + self._timeouts.idle_s if transcript.begun else first_until
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
            raise self._failed(error) from None

    async def _refusal(self, response: Answer) -> ProviderError:
        try:
            body = await response.read(_LONGEST_ERROR)
        except (BrokenError, TimeoutError):
            body = b""
        return self._dialect.refused(response.status, response.headers, body)

    def _request_id(self, response: Answer) -> str:
        text = response.headers.get(self._dialect.request_id, b"").decode("latin-1")
        return text if text.isprintable() and len(text) <= _LONGEST_ID else ""

    def refusal(self, status: int, body: bytes) -> ProviderError:
        """The error of one member of a batch, which was answered with that status and body."""
        return self._dialect.refused(status, {}, body)

    def failure(self, error: Garbage | Failure) -> ProviderError:
        """The error of one member of a batch whose answer cannot be read."""
        return self._failed(error)

    def _failed(self, error: Exception) -> ProviderError:
        return self._dialect.reported(error.error) if isinstance(error, Failure) else failures.broken(error)


@asynccontextmanager
async def connected(name: str, base_url: str, headers: Mapping[str, str], config: CallsConfig) -> AsyncIterator[Client]:
    """A client for JSON calls, whose connections close with it. `ConfigError` for an address or key that cannot
    work; `name` is the provider at fault."""
    limit, patience = config.max_connections, config.connect_timeout_s
    fixed = {"accept-encoding": "identity", "user-agent": "asahi"}
    try:
        client = Client(base_url, {**fixed, **headers}, limit=limit, connect_timeout_s=patience)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def officially(
    name: str, base_url: str, config: HostConfig, make: Callable[[], Official]
) -> AsyncIterator[Official]:
    """The same over a vendor's SDK, which `make` imports and opens. `ConfigError` too where it is not installed."""
    try:
        official.check(config, base_url)
        transport = make()
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    except ImportError as error:
        needs = f"it needs `pip install asahi-{name}[sdk]`"
        raise ConfigError(f"{name}: transport: sdk cannot be opened ({error}); {needs}") from None
    try:
        yield transport
    finally:
        await transport.close()


async def _require_events(response: Answer) -> None:
    """Some hosts answer a request for a stream with one JSON object, mostly an error."""
    if response.headers.get(b"content-type", b"").startswith(b"application/json"):
        raise failures.unasked(await response.read(_MOST_BYTES))
