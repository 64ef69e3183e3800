"""Bodies of the routes that are not inference: strict JSON of one shape."""

from __future__ import annotations

from typing import Any, TypeVar

from litestar import Request

from asahi_kernel.errors import UnsupportedMediaType
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import scan

T = TypeVar("T")


async def body_of(request: Request[Any, Any, Any], kind: type[T], empty: T | None = None) -> T:
    """The body as a Struct, or `empty` where that is given and there is none. Raises `Invalid`, which names the field,
    and `UnsupportedMediaType`."""
    body = await request.body()
    if not body and empty is not None:
        return empty
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
    return checked(scan(body), kind)
