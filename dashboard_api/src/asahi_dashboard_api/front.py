"""The front: tells pages from endpoints, and sends the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from asahi_dashboard_api.accepting import packs, prefers_html
from asahi_dashboard_api.export import Export, File

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

_FOREVER, _ASK_AGAIN = b"public, max-age=31536000, immutable", b"no-cache"
_ALWAYS: Headers = [(b"cross-origin-opener-policy", b"same-origin"), (b"x-frame-options", b"DENY")]


class Front:
    """`base` is where pages begin on this gateway, `links` the same as browsers see it."""

    def __init__(self, export: Export, base: str, links: str) -> None:
        self._export = export
        self._base = base
        self._links = links

    async def screen(self, scope: Scope, send: Send) -> Send | None:
        """How the API answers, or None when a page was sent. A path that ends in a slash is a page, one that does not
        is an endpoint, unless the client prefers HTML: then it is sent on to the page."""
        path: str = scope["path"]
        own, export = path[len(self._base) :], self._export
        if scope["method"] not in {"GET", "HEAD"} or not path.startswith(self._base) or own[:1] not in {"", "/"}:
            return send
        accept = _header(scope, b"accept")
        if (file := export.pages.get(own) or export.files.get(own)) is not None:
            await _deliver(scope, send, file)
            return None
        if f"{own}/" in export.pages:
            if prefers_html(accept):
                await self._onwards(scope, send, own)
                return None
            return _varying(send)
        if export.missing is not None and prefers_html(accept):
            return _Missing(scope, send, export.missing)
        return send

    async def _onwards(self, scope: Scope, send: Send, own: str) -> None:
        query = b"?" + scope["query_string"] if scope.get("query_string") else b""
        place = f"{self._links}{own}/".encode() + query
        await _start(send, 308, [(b"location", place), (b"vary", b"Accept"), (b"content-length", b"0")])
        await send({"type": "http.response.body", "body": b""})


class _Missing:
    """Lets an endpoint answer, and puts the page in the place of what a browser cannot show: that nothing is there."""

    def __init__(self, scope: Scope, send: Send, page: File) -> None:
        self._scope = scope
        self._send = send
        self._page = page
        self._replaced = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] == 404:
            self._replaced = True
            await _deliver(self._scope, self._send, self._page, status=404)
        elif not self._replaced:
            await self._send(message)


async def _deliver(scope: Scope, send: Send, file: File, status: int = 200) -> None:
    packed = file.packed if packs(_header(scope, b"accept-encoding")) else None
    tag = f'"{file.etag}{"-gz" if packed else ""}"'.encode()
    headers: Headers = [
        (b"etag", tag),
        (b"cache-control", _FOREVER if file.immutable else _ASK_AGAIN),
        (b"vary", b"Accept-Encoding"),
        *_ALWAYS,
    ]
    if file.policy is not None:
        headers.append((b"content-security-policy", file.policy.encode()))
    asked = {each.strip() for each in _header(scope, b"if-none-match").split(b",")}
    if status == 200 and (tag in asked or b"*" in asked):
        await _start(send, 304, headers)
        await send({"type": "http.response.body", "body": b""})
        return
    body = packed or file.body
    headers += [(b"content-type", file.media_type.encode()), (b"content-length", str(len(body)).encode())]
    if packed:
        headers.append((b"content-encoding", b"gzip"))
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _start(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _varying(send: Send) -> Send:
    async def told(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"vary", b"Accept")]}
        await send(message)

    return told


def _header(scope: Scope, wanted: bytes) -> bytes:
    return b", ".join(value for name, value in scope["headers"] if name == wanted)
