"""The front: takes inference straight to its exchange, pages to who has them, everything else to Litestar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from asahi_kernel.api.transport import Transport
from asahi_kernel.served import Served, current

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import Message, Receive, Scope, Send

    from asahi_kernel.api.exchange import Exchange
    from asahi_kernel.gateway import Gateway


class Front:
    """The same exchanges that the routes have: routing and error middleware cost as much as a cache hit does."""

    def __init__(self, app: Litestar, exchanges: Mapping[str, Exchange], gateway: Gateway) -> None:
        self.app = app
        self._exchanges = exchanges
        self._gateway = gateway
        transport = Transport(gateway.settings, gateway.faults)
        self._transport = None if transport.idle else transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if str(scope["type"]) == "lifespan":
            await self._live(scope, receive, send)
            return
        served = Served(scope)
        token = current.set(served)
        try:
            await self._answer(scope, receive, send, served)
        finally:
            if served.route is None:
                served.route = cast("dict[str, Any]", scope).get("path_template")
            served.end()
            current.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, served: Served) -> None:
        if self._transport is not None:
            answering = await self._transport.screen(cast("dict[str, Any]", scope), _noting(send, served))
            if answering is None:
                return
            send = answering
        exchange = self._exchanges.get(scope.get("path", ""))
        if exchange is not None:
            await exchange(scope, receive, send)
            return
        send = _noting(send, served)
        if self._gateway.pages is not None:
            answering = await self._gateway.pages.screen(cast("dict[str, Any]", scope), send)
            if answering is None:
                return
            send = answering
        await self.app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A mistake in the configuration is told in its own words, not as a traceback."""

        async def told(message: Message) -> None:
            said = cast("dict[str, object]", message)
            if said["type"] == "lifespan.startup.failed" and self._gateway.refusal is not None:
                said["message"] = f"the gateway does not start: {self._gateway.refusal.message}"
            await send(message)

        try:
            await self.app(scope, receive, told)
        except Exception:
            if self._gateway.refusal is None:
                raise


def _noting(send: Send, served: Served) -> Send:
    """The status is noted on its way out."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            served.status = message["status"]
        await send(message)

    return told
