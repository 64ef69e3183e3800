"""The caller of a route: what a request says of who asks, and from where."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from asahi_kernel.types import Principal


class Caller(Struct, frozen=True, kw_only=True):
    """`address` is the client's, as a trusted proxy names it or as the connection has it; None when that is no IP
    address. `headers` are in lower case."""

    headers: Mapping[str, str]
    method: str
    path: str
    scheme: str = "http"
    address: str | None = None


@runtime_checkable
class CallerAuthenticator(Protocol):
    """An authenticator that wants to know more than the headers: where a caller comes from, and what it asks for.

    Every route asks this instead of `identify` then. It may raise `Denied` and `Limited` too.
    """

    async def identify(self, headers: Mapping[str, str]) -> Principal: ...
    async def identify_caller(self, caller: Caller) -> Principal: ...


@runtime_checkable
class ConfirmingAuthenticator(Protocol):
    """An authenticator with logins, which ask for the key again before a route whose `opt` has `confirm`."""

    async def check_confirmed(self, caller: Caller) -> None:
        """Raises `Denied` with the code `confirmation_required` for a login whose key was shown too long ago. Whoever
        shows a key with the call itself is not asked."""


def caller_of(scope: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Caller:
    """The caller of an ASGI request."""
    return Caller(
        headers=headers_of(scope) if headers is None else headers,
        method=scope["method"],
        path=scope["path"],
        scheme=scope.get("scheme", "http"),
        address=address_of(scope),
    )


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of an ASGI request; of one that is sent twice the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def address_of(scope: Mapping[str, Any]) -> str | None:
    """Where an ASGI request comes from. The server has put a trusted proxy's word in place already."""
    client = scope.get("client")
    return _address(client[0]) if client else None


@lru_cache(maxsize=10_000)
def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
