"""The door: asks a gateway of this process as an HTTP client would, without a socket between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.api.front import Front


class Reply(Struct, frozen=True):
    """What came back. `request_id` is empty where the answer has none."""

    status: int
    request_id: str
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Door:
    """Every request goes through the whole application: transport rules, login, policies, pipeline, audit."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def ask(self, method: str, path: str, key: str, body: Any = None, *, address: str = "127.0.0.1") -> Reply:
        """One request with a key, from an address."""
        place, _, query = path.partition("?")
        sent = b"" if body is None else msgspec.json.encode(body)
        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(sent)).encode())]
        scope: Any = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": place,
            "raw_path": place.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": (address, 50_000),
            "server": ("localhost", 80),
        }
        exchange = _Exchange(sent)
        await self._front(scope, exchange.receive, exchange.send)
        return exchange.reply()


class _Exchange:
    """One request's messages. A client that never leaves: who waits for it to waits for good."""

    def __init__(self, sent: bytes) -> None:
        self._sent: bytes | None = sent
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    async def receive(self) -> Any:
        if self._sent is None:
            await asyncio.Event().wait()
        body, self._sent = self._sent, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], dict(message["headers"])
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))

    def reply(self) -> Reply:
        return Reply(self._status, self._headers.get(b"x-asahi-request-id", b"").decode(), b"".join(self._parts))
