"""Reads the body of one ASGI request within a bound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from asahi_kernel.errors import AsahiError, TooLarge

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Gate: TypeAlias = AbstractAsyncContextManager[Any]


class ClientLeft(AsahiError):
    """The client was gone before its whole request had come; whatever is answered is never sent."""

    status = 499
    code = "client_closed_request"


async def read_body(receive: Receive, limit: int, gate: Gate | None = None) -> bytes:
    """The whole body. Raises `TooLarge` beyond `limit` bytes, before the rest is kept, and `ClientLeft`.

    A body that does not come at once passes `gate` first, so that only so many are held half-read.
    """
    message = await receive()
    if message["type"] != "http.disconnect" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return body
    if gate is None:
        return await _rest(message, receive, limit)
    async with gate:
        return await _rest(message, receive, limit)


async def _rest(message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeft("the client left before its body was read")
        part: bytes = message.get("body", b"")
        total += len(part)
        if total > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
