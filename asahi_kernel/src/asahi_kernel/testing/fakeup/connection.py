"""One HTTP/1.1 connection of the fake upstream: requests in, responses out, and the ways to break off."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools
from msgspec import Struct

_REASONS = {200: b"OK", 307: b"Temporary Redirect", 400: b"Bad Request", 429: b"Too Many Requests"}


class Ask(Struct, frozen=True):
    """An HTTP request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Gone(Exception):
    """The connection is over. `by_client` says who ended it."""

    def __init__(self, *, by_client: bool) -> None:
        super().__init__()
        self.by_client = by_client


class Connection(asyncio.Protocol):
    """Hands requests to `serve` one after the other; the answer is written through the methods below.

    Every write raises `Gone` once the client is, and counts towards `sent`; `cut_at` resets the connection after that
    many bytes of a response.
    """

    def __init__(self, serve: Callable[[Connection, Ask], None], peers: set[Connection]) -> None:
        self._serve = serve
        self._peers = peers
        self._waiting: deque[Ask] = deque()
        self._busy = False
        self._chunked = False
        self.sent = 0
        self.cut_at: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._gone = loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._peers.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._peers.discard(self)
        self._writable.set()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""
        self._headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        method = self._parser.get_method().decode()
        self._waiting.append(Ask(method, path, self._headers, self._body, self._parser.should_keep_alive()))
        self._next()

    def _next(self) -> None:
        if not self._busy and self._waiting:
            self._busy, self.sent, self.cut_at = True, 0, None
            self._serve(self, self._waiting.popleft())

    @property
    def lost(self) -> bool:
        """Whether the client is gone."""
        return self._gone.done()

    async def pause(self, seconds: float | None) -> None:
        """Waits, for ever if None, but not beyond the client's patience."""
        if seconds is None or seconds > 0:
            await asyncio.wait((self._gone,), timeout=seconds)
        else:
            await asyncio.sleep(0)
        if self.lost:
            raise Gone(by_client=True)

    def head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        """Writes the status line and headers; without a length the body is chunked."""
        self._chunked = length is None
        lines = [f"{name}: {value}" for name, value in headers.items()]
        lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
        reason = _REASONS.get(status, b"Status").decode()
        self.write("\r\n".join([f"HTTP/1.1 {status} {reason}", *lines, "", ""]).encode("latin-1"))

    async def body(self, data: bytes) -> None:
        """Writes a piece of the body, and waits while the client does not read."""
        self.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        if not self._writable.is_set():
            await self._writable.wait()

    def write(self, data: bytes) -> None:
        """Writes bytes as they are."""
        if self.lost:
            raise Gone(by_client=True)
        if self.cut_at is not None and self.sent + len(data) >= self.cut_at:
            part = data[: self.cut_at - self.sent]
            self._transport.write(part)
            self.sent += len(part)
            self.reset()
        self._transport.write(data)
        self.sent += len(data)

    def end(self, keep_alive: bool) -> None:
        """Ends the response, and takes the next request."""
        if self._chunked:
            self.write(b"0\r\n\r\n")
        self._chunked = self._busy = False
        if keep_alive:
            self._next()
        else:
            self._transport.close()

    def reset(self) -> None:
        """Breaks off with a TCP reset."""
        self._linger()
        self._transport.abort()
        raise Gone(by_client=False)

    def drop(self) -> None:
        """Breaks off with a plain end of file."""
        self._transport.close()
        raise Gone(by_client=False)

    def close(self) -> None:
        """Ends the connection for a server that stops."""
        self._transport.abort()

    def _linger(self) -> None:
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
