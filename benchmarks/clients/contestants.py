"""The clients compared: each posts one body and reads the answer whole, or piece by piece until the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Protocol

import aiohttp

from asahi_kernel.http.client import Client

PATH = "/v1/chat/completions"
KEY = {"authorization": "Bearer sk-bench", "content-type": "application/json"}


class Contestant(Protocol):
    async def whole(self, body: bytes) -> bytes: ...
    def pieces(self, body: bytes) -> AsyncIterator[bytes]: ...


class Own:
    """The client of asahi-openai."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._time = asyncio.get_running_loop().time

    async def whole(self, body: bytes) -> bytes:
        until = self._time() + 30
        response = await self._client.post("/chat/completions", body, until=until, head_until=until)
        try:
            return await response.read(1 << 25)
        finally:
            response.close()

    async def pieces(self, body: bytes) -> AsyncIterator[bytes]:
        until = self._time() + 30
        response = await self._client.post("/chat/completions", body, until=until, head_until=until)
        try:
            while piece := await response.chunk(self._time() + 30):
                yield piece
        finally:
            response.close()


@asynccontextmanager
async def own(url: str, limit: int) -> AsyncIterator[Contestant]:
    client = Client(url + "/v1", {"authorization": KEY["authorization"]}, limit=limit, connect_timeout_s=5)
    try:
        yield Own(client)
    finally:
        await client.close()


class Aiohttp:
    """aiohttp with what it offers for speed: no cookies, no trust in the environment, no unpacking."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url + PATH

    async def whole(self, body: bytes) -> bytes:
        async with self._session.post(self._url, data=body, headers=KEY, allow_redirects=False) as response:
            return await response.read()

    async def pieces(self, body: bytes) -> AsyncIterator[bytes]:
        async with self._session.post(self._url, data=body, headers=KEY, allow_redirects=False) as response:
            while piece := await response.content.readany():
                yield piece


@asynccontextmanager
async def aio(url: str, limit: int) -> AsyncIterator[Contestant]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=30, sock_connect=5, sock_read=30),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Aiohttp(session, url)


@asynccontextmanager
async def pyreqwest(url: str, limit: int) -> AsyncIterator[Contestant]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().default_headers(KEY).max_connections(limit).follow_redirects(False).no_proxy()
    builder = builder.timeout(timedelta(seconds=30)).read_timeout(timedelta(seconds=30))

    class Rust:
        async def whole(self, body: bytes) -> bytes:
            response = await client.post(url + PATH).body_bytes(body).build().send()
            return bytes(await response.bytes())

        async def pieces(self, body: bytes) -> AsyncIterator[bytes]:
            async with client.post(url + PATH).body_bytes(body).build_streamed() as response:
                reader = response.body_reader
                while (piece := await reader.read_chunk()) is not None:
                    yield bytes(piece)

    async with builder.build() as client:
        yield Rust()


Open = Callable[[str, int], AbstractAsyncContextManager[Contestant]]
CONTESTANTS: dict[str, Open] = {"own": own, "pyreqwest": pyreqwest, "aiohttp": aio}
