"""A vendor's own SDK as the way to its host: what it knows of clouds and credentials, under our rules for calls.

The SDK builds the address and signs the request; it tries nothing twice, follows no redirect, knows no proxy of the
environment, and hands over the answer as bytes, which the plugin reads as it reads any other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from asahi_kernel.http.client import ConnectError, check_fields, split_url, trust
from asahi_kernel.http.connection import BrokenError
from asahi_kernel.http.host import HostConfig
from asahi_kernel.tracing import told

_RAW = {"X-Stainless-Raw-Response": "stream"}
_DRAIN_S = 1.0
_UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})


class Faults:
    """The classes that an SDK raises: for an answer with an error's status, and for none at all."""

    def __init__(self, status: type[Exception], connection: type[Exception], other: type[Exception]) -> None:
        self.status = status
        self.connection = connection
        self.other = other


class Official:
    """The transport of a `Caller`, made of an open SDK client. `headers` go with every call, `further` members with
    every JSON body. Closing waits for what is being hung up."""

    def __init__(
        self, client: Any, faults: Faults, headers: Mapping[str, Any], further: Mapping[str, str] | None = None
    ) -> None:
        self._further = further or {}
        self._client = client
        self._headers = {**headers, **_RAW}
        self._faults = faults
        self._closing: set[asyncio.Task[None]] = set()

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        until: float,
        head_until: float,
        method: str = "POST",
        kind: str = "application/json",
    ) -> Reply:
        """As the lean client's: the head of the answer, or `ConnectError`, `BrokenError`, `TimeoutError`."""
        options: dict[str, Any] = {"headers": {**self._headers, **_traced()}, "follow_redirects": False}
        try:
            async with asyncio.timeout_at(min(until, head_until)):
                if method == "GET":
                    answer = await self._client.get(path, cast_to=object, options=options)
                elif kind == "application/json":
                    told = {**json.loads(body), **self._further}
                    answer = await self._client.post(path, cast_to=object, body=told, options=options)
                else:
                    # SDKs take a form in small letters for one that they are to build. Kinds know no case (RFC 9110).
                    options["headers"]["Content-Type"] = kind[:1].upper() + kind[1:]
                    answer = await self._client.post(path, cast_to=object, content=body, options=options)
        except self._faults.status as error:
            return Reply(self, error.response, until)  # type: ignore[attr-defined]
        except self._faults.connection as error:
            raise _named(error.__cause__ or error) from None
        except self._faults.other as error:
            raise BrokenError(f"could not be asked: {type(error).__name__}") from None
        return Reply(self, answer.http_response, until)

    def later(self, work: Any) -> None:
        """Runs what ends an answer; nobody waits for it but `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends every connection."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=_DRAIN_S)
        await self._client.close()


class Reply:
    """An answer, as its reader sees it."""

    def __init__(self, official: Official, response: Any, until: float) -> None:
        self._official: Official | None = official
        self._response = response
        self._until = until
        self._bytes: AsyncIterator[bytes] = response.aiter_bytes()
        self.status: int = response.status_code
        self.headers: Mapping[bytes, bytes] = {name.lower(): value for name, value in response.headers.raw}

    async def chunk(self, until: float) -> bytes:
        """The bytes that come next, until that loop time; empty at the end of the body."""
        try:
            async with asyncio.timeout_at(min(until, self._until)):
                return await anext(self._bytes, b"")
        except (TimeoutError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise BrokenError("broke off its answer") from error

    async def read(self, limit: int) -> bytes:
        """The whole body; `BrokenError` if it is longer than `limit` bytes."""
        parts, size = [], 0
        while chunk := await self.chunk(self._until):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise BrokenError("answered with too many bytes")
        return b"".join(parts)

    def finish(self) -> None:
        """Ends an answer that has said all it has to: the connection is kept if its last bytes come soon."""
        self._end(self._drain())

    def close(self) -> None:
        """Ends the answer at once. An unfinished one takes its connection with it, which tells the host to stop."""
        self._end(self._response.aclose())

    def _end(self, work: Any) -> None:
        official, self._official = self._official, None
        if official is None:
            work.close()
        else:
            official.later(work)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                async for _ in self._bytes:
                    pass
        except (TimeoutError, OSError):
            pass
        finally:
            await self._response.aclose()


def http_client(httpx: Any, config: HostConfig) -> Any:
    """The HTTP client that an SDK is given: `httpx` is the library that it is made with. Only the waits before a call
    are its own; the others are ours."""
    most = config.max_connections
    return httpx.AsyncClient(
        verify=trust(),
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
        timeout=httpx.Timeout(None, connect=config.connect_timeout_s, pool=config.connect_timeout_s),
    )


def check(config: HostConfig, base_url: str) -> None:
    """Raises `ValueError` for an address or key that cannot work."""
    split_url(base_url)
    check_fields({"authorization": config.api_key.reveal()})


def _traced() -> dict[str, str]:
    return {name: value for name, _, value in (field.partition(": ") for field in told().splitlines())}


def _named(cause: BaseException) -> Exception:
    """What the SDK's transport says, in our words. Only what was surely not sent is worth the same attempt again."""
    kind = type(cause).__name__
    if kind not in _UNSENT:
        return TimeoutError() if "Timeout" in kind else BrokenError("broke off before it answered")
    text = "has no connection free" if kind == "PoolTimeout" else "could not be reached"
    return ConnectError(text, timed_out=kind == "ConnectTimeout", busy=kind == "PoolTimeout")
