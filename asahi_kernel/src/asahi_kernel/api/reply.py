"""The HTTP answer as it is being sent, and kept where the caller may ask for it again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asahi_kernel import allowances
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import AsahiError
from asahi_kernel.records import Claim, Kept
from asahi_kernel.wire.headers import request_headers

if TYPE_CHECKING:
    from litestar.types import Send

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Idempotency
    from asahi_kernel.trace import Trace

log = logging.getLogger(__name__)

#: An answer with one of these says "not now": it is not kept, so that the same key may try again.
_PASSING = frozenset({408, 409, 425, 429, 499})


class Reply:
    """One answer. With a claim every byte is kept, whether or not the client is still there to read it. `broken` says
    that a stream ended in an error after its head was sent, `fault` in which; `status` is 0 until there is one."""

    def __init__(self, send: Send, trace: Trace) -> None:
        self._send = send
        self._trace = trace
        self.status = 0
        self.fault: str | None = None
        self._headers: tuple[tuple[bytes, bytes], ...] = ()
        self._parts: list[bytes] = []
        self.begun = False
        self.ended = False
        self.broken = False
        self.claim: Claim | None = None

    def identity(self) -> list[tuple[bytes, bytes]]:
        return request_headers(self._trace.request_id)

    async def whole(self, status: int, body: bytes, kind: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """The whole answer at once."""
        fixed = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await self._start(status, [*fixed, *headers])
        await self._body(body, more=False)

    async def begin(self, headers: list[tuple[bytes, bytes]] | None) -> None:
        """The head of a stream."""
        fixed = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await self._start(200, [*fixed, *(headers or self.identity())])

    async def piece(self, body: bytes) -> None:
        if body:
            await self._body(body, more=True)

    async def end(self) -> None:
        await self._body(b"", more=False)

    async def replay(self, kept: Kept) -> None:
        """An earlier answer once more, byte for byte."""
        await self._start(kept.status, [*kept.headers, (b"idempotency-replayed", b"true")])
        await self._body(kept.body, more=False)

    async def settle(self, gateway: Gateway) -> None:
        """Keep a whole answer under its claim; give the claim back where there is none to keep."""
        if self.claim is None:
            return
        try:
            await stored(gateway, self._settled(gateway.storage.idempotency))
        except AsahiError:
            log.warning("the answer to an Idempotency-Key could not be kept; its claim lapses")

    async def _settled(self, store: Idempotency) -> None:
        assert self.claim is not None
        if self.ended and not self.broken and self.status < 500 and self.status not in _PASSING:
            body = b"".join(self._parts)
            kept = Kept(fingerprint=self.claim.fingerprint, status=self.status, headers=self._headers, body=body)
            await store.keep(self.claim, kept)
        else:
            await store.release(self.claim)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun, self.status = True, status
        if self._trace.allowances:
            headers = [*headers, *allowances.headers(self._trace)]
        if self.claim is not None:
            self._headers = tuple(headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, body: bytes, *, more: bool) -> None:
        self.ended = not more
        if self.claim is not None:
            self._parts.append(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
