"""JSON bodies, read at the strict edge."""

from __future__ import annotations

from typing import Any, TypeVar

from litestar import Request
from msgspec import Struct

from asahi_kernel.errors import UnsupportedMediaType
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import scan

T = TypeVar("T", bound=Struct)


async def body_of(request: Request[Any, Any, Any], kind: type[T], empty: T | None = None) -> T:
    """The body as this kind; `empty` is what no body means. Raises `Invalid` and `UnsupportedMediaType`."""
    body = await request.body()
    if not body and empty is not None:
        return empty
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
    return checked(scan(body), kind)
