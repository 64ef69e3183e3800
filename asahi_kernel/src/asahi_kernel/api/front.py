"""The front: takes the inference paths straight to their exchange, everything else to Litestar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import Receive, Scope, Send

    from asahi_kernel.api.exchange import Exchange


class Front:
    """The same exchanges that the routes have: routing and error middleware cost as much as a cache hit does."""

    def __init__(self, app: Litestar, exchanges: Mapping[str, Exchange]) -> None:
        self.app = app
        self._exchanges = exchanges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._exchanges.get(scope.get("path", ""))
        if exchange is None:
            await self.app(scope, receive, send)
        else:
            await exchange(scope, receive, send)
