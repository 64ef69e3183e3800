"""Pages: what may stand in front of the API, such as a dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Any], Awaitable[None]]


class Pages(Protocol):
    """Asked before every route but inference. A service sets `gateway.pages` while it is open."""

    async def screen(self, scope: Scope, send: Send) -> Send | None:
        """How the API is to answer this request, or None when a page was sent."""
