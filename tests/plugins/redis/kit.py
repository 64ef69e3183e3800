"""What the tests of Redis share: a tier and a counter as a gateway opens them, and a proxy that can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from asahi_kernel import Secret
from asahi_kernel.gateway import Gateway
from asahi_kernel.keyring import Keyring
from asahi_kernel.settings import Cache, Settings
from asahi_kernel.standing import Standings
from asahi_kernel.vault import Vault
from asahi_redis import open_counter, open_tier
from asahi_redis.config import CounterConfig, TierConfig

VAULT = Vault({"test": bytes(32)})


def fresh() -> str:
    """A prefix that no other test uses."""
    return f"test:{uuid4().hex[:12]}"


@asynccontextmanager
async def tier(
    url: str, cache: Cache | None = None, vault: Vault = VAULT, keyring: Keyring | None = None, **fields: Any
) -> AsyncIterator[Any]:
    gateway = Gateway(Settings(profile="development", cache=cache or Cache()))
    gateway.vault, gateway.keyring = vault, keyring or Keyring(vault)
    gateway.standings = Standings(object(), gateway.settings.governance.default_policy)
    fields = {"cache_prefix": fresh(), **fields}
    async with open_tier(TierConfig(url=Secret(url), **fields), gateway) as opened:
        yield opened


@asynccontextmanager
async def counter(url: str, workers: int = 1, **fields: Any) -> AsyncIterator[Any]:
    from asahi_kernel.settings import Api

    gateway = Gateway(Settings(profile="development", api=Api(workers=workers)))
    fields = {"rate_limit_prefix": fresh(), **fields}
    async with open_counter(CounterConfig(url=Secret(url), **fields), gateway) as opened:
        yield opened


class Toxi:
    """A proxy in front of a server: `delay_s` holds back what the server says, `refusing` closes every connection,
    `saying` answers every command by itself."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0
        self.refusing = False
        self.saying = b""
        self.url = ""

    def cut(self) -> None:
        """Close what is open."""
        for writer in tuple(self._open):
            writer.transport.abort()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._target)
        self._open |= {writer, back}
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, back, False), self._pump(there, writer, True))
        for each in (writer, back):
            self._open.discard(each)
            each.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, slow: bool) -> None:
        while data := await source.read(65_536):
            if self.saying:
                data = self.saying if slow else data
            if slow and self.delay_s:
                await asyncio.sleep(self.delay_s)
            sink.write(data)
            await sink.drain()
        sink.close()


@asynccontextmanager
async def toxi(url: str) -> AsyncIterator[Toxi]:
    proxy = Toxi(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
