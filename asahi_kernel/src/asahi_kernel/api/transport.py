"""Transport: plain HTTP is refused where HTTPS is asked for, and browsers of other origins only read what they may."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, TypeAlias

from asahi_kernel.api.refusing import identity, shape
from asahi_kernel.errors import AsahiError, ConfigError, Denied
from asahi_kernel.served import told_of

if TYPE_CHECKING:
    from collections import Counter

    from asahi_kernel.settings import Settings

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[1-9]\d{0,4})?")
#: Asked by probes inside the network, and they tell nothing.
_PROBES = frozenset({"/health/live", "/health/ready"})
_DEVELOPMENT = ("http://localhost:3000",)
_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_ALLOWED = re.compile(rb"(?:authorization|content-type|idempotency-key|if-match|accept|x-[a-z0-9-]{1,64})")
_EXPOSED = (
    b"x-asahi-request-id, x-request-id, x-asahi-model, x-asahi-cache, x-asahi-cost, x-asahi-baseline-cost, "
    b"x-asahi-saved, retry-after, idempotency-replayed, etag, content-disposition"
)
#: Said on every answer, errors of the edge included. An application may say it more strictly, after these.
_ALWAYS = (("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"))
_HSTS = ("strict-transport-security", "max-age=31536000; includeSubDomains")


def fixed_headers(settings: Settings) -> list[tuple[str, str]]:
    """What the server says on every answer. Browsers heed the last of them only where it came over HTTPS."""
    return [*_ALWAYS, *([_HSTS] if settings.api.require_https else [])]


def trusted_proxies(settings: Settings) -> tuple[str, ...]:
    """Addresses and networks whose `X-Forwarded-For` and `-Proto` count; raises `ConfigError` for anything else."""
    for each in settings.api.trusted_proxies:
        try:
            network = ip_network(each)
        except ValueError:
            raise ConfigError(
                f"api.trusted_proxies: {each[:50]!r} is no IP address and no network such as 10.0.0.0/8"
            ) from None
        if network.prefixlen == 0:
            raise ConfigError(f"api.trusted_proxies: {each!r} is everybody, who could then claim any address")
    return settings.api.trusted_proxies


def cors_origins(settings: Settings) -> frozenset[bytes]:
    """Origins whose pages may call, in full; the development server of the dashboard in the development profile."""
    given = settings.api.cors_origins
    for each in given:
        if not _ORIGIN.fullmatch(each):
            raise ConfigError(
                f"api.cors_origins: {each[:80]!r} is no origin: write scheme and host in lower case, and the port "
                "unless it is the usual one, such as https://dashboard.example.com; patterns are not taken"
            )
    return frozenset(each.encode() for each in given or (_DEVELOPMENT if settings.profile == "development" else ()))


class Transport:
    """Looks at a request before its route does."""

    def __init__(self, settings: Settings, faults: Counter[str]) -> None:
        self._https = settings.api.require_https
        self._origins = cors_origins(settings)
        self._faults = faults
        trusted_proxies(settings)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to look at."""
        return not (self._https or self._origins)

    async def screen(self, scope: Scope, send: Send) -> Send | None:
        """How to answer the request, or None when it is answered."""
        if self._https and scope.get("scheme") != "https" and scope["path"] not in _PROBES:
            await self._insist(scope, send)
            return None
        found = [value for name, value in scope["headers"] if name == b"origin"]
        if not found or not self._origins:
            return send
        origin = found[0] if len(found) == 1 and found[0] in self._origins else None
        asked = _header(scope, b"access-control-request-method")
        if scope["method"] == "OPTIONS" and asked is not None:
            await self._preflight(scope, send, origin)
            return None
        return _adding(send, [(b"vary", b"Origin"), *([] if origin is None else _granted(origin))])

    async def _insist(self, scope: Scope, send: Send) -> None:
        """A page is sent to HTTPS; a call is refused, as a redirect would hide that its key went over the line."""
        self._faults["https_required"] += 1
        host = _header(scope, b"host")
        if _is_page(scope) and host is not None:
            query = b"?" + scope["query_string"] if scope.get("query_string") else b""
            place = b"https://" + host + scope.get("raw_path", scope["path"].encode()) + query
            await _answer(send, 308, [(b"location", place)])
            return
        await _refuse(scope, send, Denied("this gateway is called over https only", code="https_required"), [])

    async def _preflight(self, scope: Scope, send: Send, origin: bytes | None) -> None:
        vary = (b"vary", b"Origin")
        if origin is None:
            await _refuse(scope, send, Denied("pages of this origin may not call this gateway"), [vary])
            return
        asked = (_header(scope, b"access-control-request-headers") or b"").lower().split(b",")
        allowed = [name.strip() for name in asked if _ALLOWED.fullmatch(name.strip())]
        more = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", b"600")]
        named = [(b"access-control-allow-headers", b", ".join(allowed))] if allowed else []
        await _answer(send, 204, [vary, *_granted(origin), *more, *named])


def _granted(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
    ]


def _adding(send: Send, headers: Headers) -> Send:
    async def told(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return told


def _is_page(scope: Scope) -> bool:
    """What a person typed into a browser, without a credential."""
    names = {name for name, _ in scope["headers"]}
    secret = names & {b"authorization", b"x-api-key", b"cookie"}
    wants = b"text/html" in (_header(scope, b"accept") or b"")
    return scope["method"] in {"GET", "HEAD"} and wants and not secret


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)


async def _refuse(scope: Scope, send: Send, error: AsahiError, headers: Headers) -> None:
    request_id = told_of(error)
    kind, body = shape(error, scope["path"], request_id)
    named = [(name.encode(), value.encode()) for name, value in identity(request_id).items()]
    await _answer(send, error.status, [(b"content-type", kind.encode()), *named, *headers], body)


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    sized = [*headers, (b"content-length", str(len(body)).encode())] if status != 204 else list(headers)
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body, "more_body": False})
