"""The link to the server: bounded waits, a breaker, one probe while it is away, two lines of log for each outage."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from asahi_kernel.lines import CHANGE
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.settings import BreakerSettings
from asahi_redis.config import ServerConfig, url_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)
T = TypeVar("T")

_FIRST_PROBE_S, _LAST_PROBE_S = 0.1, 1.0
#: It is the probe that closes this one, never time.
_BREAKER = BreakerSettings(consecutive_failures=3, open_s=86_400, failure_rate=0.5, min_calls=20)


class Away(Exception):
    """The server cannot be used now: it failed, or it is known to be away. Every caller has something else to do."""


class Link:
    """Asks the server, for at most `most_s` in all. `up` is false while it is away, `writable` while it answers but
    takes nothing (full, a replica).

    Nobody waits for a server that is away: a task of its own probes it, soon at first and then every second, and
    calls `on_return` before it lets anybody ask again.
    """

    def __init__(self, client: Redis, probe_key: str, faults: Counter[str], most_s: float) -> None:
        #: Its answers are typed for clients that decode and for those that do not, so no type of its own is of use.
        self.client: Any = client
        self.up = True
        self.writable = True
        self.on_return: list[Callable[[], Awaitable[None]]] = []
        self._probe_key = probe_key
        self._most_s = most_s
        self._faults = faults
        self._breaker = Breaker(_BREAKER)
        self._probing: asyncio.Task[None] | None = None

    async def ask(self, work: Callable[[], Awaitable[T]], *, writes: bool = False, frees: bool = False) -> T:
        """What `work` gives; raises `Away`. A full server still takes what `frees` its memory."""
        if not self.up or (writes and not self.writable and not frees):
            raise Away
        try:
            async with asyncio.timeout(self._most_s):
                result = await work()
        except _failures() as error:
            self._note(error, writes)
            raise Away from error
        self._breaker.succeed()
        return result

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing
        await self.client.aclose()

    def _note(self, error: Exception, writes: bool) -> None:
        from redis.exceptions import ResponseError

        self._faults["redis"] += 1
        if writes and isinstance(error, ResponseError):
            self._refused(error)
        else:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._breaker.fail()
        if self.up and self._breaker.open:
            self.up = False
            log.warning("redis is away (%s): going on without it", type(error).__name__, extra=CHANGE)
            self._probe()

    def _refused(self, error: Exception) -> None:
        if self.writable:
            self.writable = False
            log.warning("redis takes no writes (%s): going on without them", type(error).__name__, extra=CHANGE)
            self._probe()

    def _probe(self) -> None:
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._watch(), context=Context())

    async def _watch(self) -> None:
        wait_s = _FIRST_PROBE_S
        while not (self.up and self.writable):
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LAST_PROBE_S)
            try:
                await self.client.ping()
                writable = await self._writes()
                for tell in self.on_return if writable else ():
                    await tell()
            except _failures():
                continue
            if not self.up or writable != self.writable:
                self._breaker = Breaker(_BREAKER)
                log.warning("redis is back%s", "" if writable else ", but takes no writes", extra=CHANGE)
            self.up, self.writable = True, writable

    async def _writes(self) -> bool:
        from redis.exceptions import ResponseError

        try:
            await self.client.set(self._probe_key, b"1", px=1_000)
        except ResponseError:
            return False
        return True


@asynccontextmanager
async def linked(config: ServerConfig, prefix: str, faults: Counter[str]) -> AsyncIterator[Link]:
    """A link with a pool of its own. Whether the server is there is seen when it is first asked."""
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as Lost

    timeout_s = config.timeout_ms / 1e3
    pool = BlockingConnectionPool.from_url(
        url_of(config),
        max_connections=config.pool_size,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # A connection that died while idle is replaced; a slow server is not asked twice.
        retry=Retry(NoBackoff(), 1, supported_errors=(Lost,)),
        protocol=2,
        driver_info=None,
    )
    link = Link(Redis.from_pool(pool), f"{prefix}:probe", faults, 2 * timeout_s)
    try:
        yield link
    finally:
        await link.close()


def _failures() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return (RedisError, OSError, TimeoutError, Away)
