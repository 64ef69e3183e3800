"""A lean HTTP/1.1 client for one configured host: asyncio connections, httptools for parsing, a bounded pool.

It does what a gateway needs and nothing else: requests with a body in memory, answers read whole or in pieces with
backpressure, a deadline on every wait. It follows no redirect, knows no proxy and no cookie, unpacks nothing, and
verifies TLS with the system's certificates. Why it exists: docs/decisions/0001-lean-upstream-client.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from urllib.parse import SplitResult, urlsplit

from asahi_kernel.http.connection import HIGH_WATER, Answer, BrokenError, Connection
from asahi_kernel.tracing import told

_IDLE_S = 30.0
_DRAIN_S = 1.0
_DRAIN_LIMIT = 64 * 1024


class ConnectError(Exception):
    """No connection: nothing was sent. `busy` says that ours are all in use, which is no fault of the host."""

    def __init__(self, message: str, *, timed_out: bool = False, busy: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.busy = busy


class Client:
    """A pool of connections to the host of `base_url`; `headers` go with every request and to no other host.

    At most `limit` requests are under way, the others wait their turn. Cancelling a task at any point leaks nothing.
    """

    def __init__(self, base_url: str, headers: dict[str, str], *, limit: int, connect_timeout_s: float) -> None:
        url = split_url(base_url)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._path = url.path.rstrip("/")
        self._tls = trust() if url.scheme == "https" else None
        self._fields = check_fields({"host": url.netloc, **headers})
        self._connect_timeout_s = connect_timeout_s
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[Connection] = []
        self._live: set[Connection] = set()

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        until: float,
        head_until: float,
        method: str = "POST",
        kind: str = "application/json",
    ) -> Response:
        """Sends a body of a kind and waits for the head of the answer, which the caller must `close()`.

        The head must come before the loop time `head_until`, the whole answer before `until`. Raises `ConnectError`,
        `BrokenError` or `TimeoutError`.
        """
        loop = asyncio.get_running_loop()
        connection = await self._connection(loop, min(until, head_until))
        response = Response(self, connection, loop, until)
        try:
            entity = f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n" if method == "POST" else "\r\n"
            head = f"{method} {self._path}{path} HTTP/1.1\r\n{self._fields}{told()}{entity}"
            connection.send(head.encode("latin-1") + body, response)
            await response.wait(head_until)
        except BaseException:
            response.close()
            raise
        return response

    async def close(self) -> None:
        """Ends every connection, busy or idle."""
        self._idle.clear()
        for connection in tuple(self._live):
            connection.abort()
        await asyncio.sleep(0)

    def release(self, connection: Connection, now: float) -> None:
        """Takes a connection back whose answer is over, whichever way it ended."""
        if connection.rest(now + _IDLE_S):
            self._idle.append(connection)
        else:
            connection.abort()
        self._pass_on()

    async def _connection(self, loop: asyncio.AbstractEventLoop, until: float) -> Connection:
        if self._free > 0:
            self._free -= 1
        else:
            await self._turn(loop, until)
        try:
            while self._idle:
                connection = self._idle.pop()
                if connection.fresh(loop.time()):
                    return connection
                connection.abort()
            return await self._connect(loop, until)
        except BaseException:
            self._pass_on()
            raise

    async def _connect(self, loop: asyncio.AbstractEventLoop, until: float) -> Connection:
        try:
            async with asyncio.timeout_at(min(until, loop.time() + self._connect_timeout_s)):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._live), self._host, self._port, ssl=self._tls
                )
        except TimeoutError:
            raise ConnectError("could not be reached in time", timed_out=True) from None
        except ssl.SSLCertVerificationError:
            raise ConnectError("has no certificate that this machine trusts") from None
        except OSError:
            raise ConnectError("could not be reached") from None
        return connection

    async def _turn(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(min((until - loop.time()) / 2, self._connect_timeout_s)):
                await waiter
        except TimeoutError:
            self._forget(waiter)
            raise ConnectError("has no connection free", busy=True) from None
        except BaseException:
            self._forget(waiter)
            raise

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        """Who gave up waiting takes no turn, and passes on one that came too late."""
        if waiter.done() and not waiter.cancelled():
            self._pass_on()
        with contextlib.suppress(ValueError):
            self._waiting.remove(waiter)

    def _pass_on(self) -> None:
        """Gives a turn back: to who has waited longest, if anyone does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


class Response(Answer):
    """An answer, as its reader sees it."""

    def __init__(self, client: Client, connection: Connection, loop: asyncio.AbstractEventLoop, until: float) -> None:
        super().__init__()
        self._client: Client | None = client
        self._connection = connection
        self._loop = loop
        self._until = self._due = until
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._draining = False

    async def chunk(self, until: float) -> bytes:
        """The bytes that have come, waiting for the first until that loop time; empty at the end of the body."""
        while not self.pieces:
            if self.complete:
                return b""
            await self.wait(until)
        if self._loop.time() > self._until:
            raise TimeoutError
        chunk = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        if self.size >= HIGH_WATER:
            self._connection.resume()
        self.size = 0
        return chunk

    async def read(self, limit: int) -> bytes:
        """The whole body; `BrokenError` if it is longer than `limit` bytes."""
        body = await self.chunk(self._until)
        if self.complete and not self.pieces:
            return body
        parts, size = [body], len(body)
        while chunk := await self.chunk(self._until):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise BrokenError("answered with too many bytes")
        return b"".join(parts)

    async def wait(self, until: float) -> None:
        """Waits for something new until that loop time, but never beyond the end of the call."""
        if self.broken is not None:
            raise self.broken
        self._due = min(until, self._until)
        if self._timer is None or self._due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._due, self._expire)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        if self._draining:
            self.pieces.clear()
            if self.complete or self.broken is not None or self.size > _DRAIN_LIMIT:
                self._release()
        elif self._waiter is not None and not self._waiter.done():
            if self.broken is not None:
                self._waiter.set_exception(self.broken)
            else:
                self._waiter.set_result(None)

    def finish(self) -> None:
        """Ends an answer that has said all it has to: the connection is kept if its last bytes come soon."""
        if self.complete or self.broken is not None or self._client is None:
            self.close()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._draining, self.size = True, 0
        self._connection.resume()
        self._timer = self._loop.call_later(_DRAIN_S, self._release)

    def close(self) -> None:
        """Ends the answer at once. An unfinished one takes its connection with it, which tells the host to stop."""
        if not self._draining:
            self._release()

    def _release(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        client.release(self._connection, self._loop.time())

    def _expire(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._expire)
        else:
            self._waiter.set_exception(TimeoutError())


def split_url(base_url: str) -> SplitResult:
    """The parts of an address; `ValueError` for one that is none of a host."""
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
        raise ValueError("a base URL is written https://host[:port][/path]")
    return url


def check_fields(headers: dict[str, str]) -> str:
    """The headers as HTTP has them; `ValueError` for what could split one."""
    for name, value in headers.items():
        if not (name + value).isascii() or not (name + value).isprintable():
            raise ValueError(f"header {name!r} holds a character that HTTP does not allow")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def trust() -> ssl.SSLContext:
    """TLS 1.2 or newer, by the system's certificates."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
