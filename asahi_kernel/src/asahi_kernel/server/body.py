"""Reads the body of one ASGI request within a bound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from asahi_kernel.errors import AsahiError, TooLarge

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientLeft(AsahiError):
    """The client was gone before its whole request had come; whatever is answered is never sent."""

    status = 499
    code = "client_closed_request"


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` beyond `limit` bytes, before the rest is kept, and `ClientLeft`."""
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("the client left before its body was read")
        part: bytes = message.get("body", b"")
        total += len(part)
        if total > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        if not message.get("more_body", False):
            return part if not parts else b"".join([*parts, part])
        parts.append(part)
