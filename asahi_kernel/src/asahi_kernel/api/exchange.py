"""One exchange: an HTTP request that asks for inference, from its headers to its last byte."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from asahi_kernel import pipeline
from asahi_kernel.answer import Answer
from asahi_kernel.api.reply import Reply
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import (
    Aborted,
    AsahiError,
    Conflict,
    Denied,
    Invalid,
    MethodNotAllowed,
    Unprocessable,
    UnsupportedMediaType,
)
from asahi_kernel.records import Claim
from asahi_kernel.server.body import ClientLeft, read_body
from asahi_kernel.trace import Trace
from asahi_kernel.types import Chunk
from asahi_kernel.wire.headers import answer_headers

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.relay import Relay
    from asahi_kernel.server.body import Receive as BodyReceive
    from asahi_kernel.types import Principal, Request
    from asahi_kernel.wire.asked import Asked

log = logging.getLogger(__name__)

_JSON = b"application/json"
#: What an answer may take beyond its provider's longest time before its claim lapses.
_MARGIN_S = 30.0


class StreamWriter(Protocol):
    """Encodes one stream's events."""

    def role(self) -> bytes: ...
    def chunk(self, chunk: Chunk) -> bytes: ...
    def finish(self, answer: Answer) -> bytes: ...
    def error(self, error: AsahiError) -> bytes: ...


class Wire(Protocol):
    """One dialect of HTTP inference: how it reads a request and writes an answer, a stream, an error."""

    route: str
    error_type: bytes

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked: ...
    def encode(self, answer: Answer) -> bytes: ...
    def told(self, error: AsahiError) -> AsahiError: ...
    def error(self, error: AsahiError, request_id: str) -> bytes: ...
    def writer(self, asked: Asked, trace: Trace) -> StreamWriter: ...


class Exchange:
    """Identify, read, admit, decode, infer, answer; every failure becomes one well-formed error."""

    def __init__(self, gateway: Gateway, wire: Wire) -> None:
        self._gateway = gateway
        self._wire = wire
        self._limit = gateway.settings.api.max_inference_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = Trace(self._wire.route)
        reply = Reply(send, trace.request_id)
        try:
            await self._answer(scope, receive, reply, trace)
        except (Aborted, ClientLeft):
            return
        except AsahiError as error:
            await self._refuse(reply, error, trace)
        except Exception:
            log.exception("request %s failed", trace.request_id)
            await self._refuse(reply, AsahiError("something went wrong inside the gateway"), trace)
        finally:
            if reply.claim is not None:
                await asyncio.shield(self._gateway.detach(reply.settle(self._gateway)))

    async def _answer(self, scope: Scope, receive: Receive, reply: Reply, trace: Trace) -> None:
        gateway = self._gateway
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise MethodNotAllowed(f"{scope['path']} takes POST only")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        _check_type(headers)
        principal = await gateway.authenticator.identify(headers)
        if "infer" not in principal.permissions:
            raise Denied(f"the role {principal.role!r} of this key may not ask for inference")
        body = await read_body(cast("BodyReceive", receive), self._limit, gateway.reading)
        if gateway.admission.full:
            await _queue(gateway, principal.org, receive)
        else:
            await gateway.admission.enter(principal.org)
        try:
            asked = self._wire.decode(body, headers)
            request = narrow(gateway, asked, principal)
            principal = acting(asked, principal)
            if asked.idempotency_key and await self._replayed(
                asked.idempotency_key, _digest(body, headers), principal, reply, trace
            ):
                return
            if request.terms.stream and not request.terms.dry_run:
                await self._stream(asked, request, principal, receive, reply, trace)
            else:
                await self._whole(request, principal, reply, trace)
        finally:
            gateway.admission.leave()

    async def _replayed(self, key: str, digest: bytes, principal: Principal, reply: Reply, trace: Trace) -> bool:
        """Whether the same request was answered before, and so again now; else its claim is ours."""
        claim = Claim(
            org_id=principal.org,
            route=self._wire.route,
            key=key,
            fingerprint=digest,
            request_id=trace.request_id,
            lease_s=self._gateway.longest_s + _MARGIN_S,
        )
        kept = await stored(self._gateway, self._gateway.storage.idempotency.claim(claim))
        if kept is None:
            reply.claim = claim
            return False
        if kept.fingerprint != claim.fingerprint:
            raise Unprocessable("this Idempotency-Key was used with another body", code="idempotency_mismatch")
        if not kept.status:
            raise Conflict("the first request with this Idempotency-Key is still being answered", retry_after=1)
        await reply.replay(kept)
        return True

    async def _whole(self, request: Request, principal: Principal, reply: Reply, trace: Trace) -> None:
        run = pipeline.rehearse if request.terms.dry_run else pipeline.infer
        answer = await run(self._gateway, request, principal, trace)
        await reply.whole(200, self._wire.encode(answer), _JSON, answer_headers(answer))

    async def _stream(
        self, asked: Asked, request: Request, principal: Principal, receive: Receive, reply: Reply, trace: Trace
    ) -> None:
        relay = pipeline.stream(self._gateway, request, principal, trace)
        watcher = None
        if reply.claim is None:  # else the answer is made to its end, for when the client comes back
            watcher = asyncio.get_running_loop().create_task(_watch(receive, relay))
        try:
            items = await relay.take()
            writer = self._wire.writer(asked, trace)
            known = answer_headers(items[-1]) if items and isinstance(items[-1], Answer) else None
            await reply.begin(known)
            await reply.piece(writer.role())
            while items:
                await reply.piece(b"".join([_encoded(writer, item) for item in items]))
                try:
                    items = await relay.take()
                except AsahiError as error:
                    reply.broken = True
                    await reply.piece(writer.error(error))
                    break
            await reply.end()
        finally:
            relay.abandon()
            if watcher is not None:
                watcher.cancel()

    async def _refuse(self, reply: Reply, error: AsahiError, trace: Trace) -> None:
        if reply.begun:
            reply.broken = True
            await reply.end()
            return
        error = self._wire.told(error)
        body = self._wire.error(error, trace.request_id)
        extra: list[tuple[bytes, bytes]] = [(b"allow", b"POST")] if error.status == 405 else []
        if error.retry_after is not None or error.status in {429, 503}:
            extra.append((b"retry-after", str(max(1, round(error.retry_after or 30))).encode()))
        if error.status == 401:
            extra.append((b"www-authenticate", b"Bearer"))
        await reply.whole(error.status, body, self._wire.error_type, [*reply.identity(), *extra])


def _digest(body: bytes, headers: Mapping[str, str]) -> bytes:
    """What makes a request the same one: its body, and the fields of ours that came as headers."""
    fields = sorted((name, value) for name, value in headers.items() if name.startswith("x-asahi-"))
    return hashlib.sha256(body + repr(fields).encode()).digest()


async def _queue(gateway: Gateway, org: str, receive: Receive) -> None:
    """Wait for a place for as long as the client waits for an answer."""
    loop = asyncio.get_running_loop()
    entering = loop.create_task(gateway.admission.enter(org))
    leaving = loop.create_task(_left(receive))
    try:
        await asyncio.wait({entering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if entering.done():
            return entering.result()
        raise ClientLeft("the client left while it waited for a place")
    finally:
        leaving.cancel()
        if entering.cancel() or not entering.done():
            await asyncio.wait({entering})
            if not entering.cancelled() and entering.exception() is None:
                gateway.admission.leave()


def narrow(gateway: Gateway, asked: Asked, principal: Principal) -> Request:
    """The body may repeat the key's org and user, never widen them; a named model is looked up by name or alias."""
    if asked.organization_id is not None and asked.organization_id != principal.org:
        raise Denied(
            "organization_id is not the organisation of this key", code="org_mismatch", param="organization_id"
        )
    if asked.user_id is not None and asked.user_id != principal.user and not principal.may_act_for_users:
        raise Denied(
            "user_id is not the user of this key, which may not act for others", code="user_mismatch", param="user_id"
        )
    return named(gateway, asked.request)


def named(gateway: Gateway, request: Request) -> Request:
    """The request with an alias replaced by its model; raises `UnknownModel`. Outside explicit mode a named model is
    only the baseline to save against. Guided mode is refused where no rule would heed the preferences."""
    if request.terms.mode == "guided" and "guided" not in gateway.rules:
        raise Invalid(
            "guided mode needs the routing rule 'guided', which is not in use here: install the package "
            "asahi-optimizer, and list the rule if routing.rules is set; or use the bounds quality_threshold and "
            "latency_budget_ms instead of preferences",
            param="routing_mode",
        )
    if request.model is None:
        return request
    model = gateway.registry.find(request.model).name
    if request.terms.mode == "explicit":
        return msgspec.structs.replace(request, model=model)
    return msgspec.structs.replace(request, model=None, terms=msgspec.structs.replace(request.terms, baseline=model))


def acting(asked: Asked, principal: Principal) -> Principal:
    """The principal, as the user it acts for."""
    if asked.user_id is None or asked.user_id == principal.user:
        return principal
    return msgspec.structs.replace(principal, user=asked.user_id)


def _check_type(headers: Mapping[str, str]) -> None:
    kind = headers.get("content-type", "")
    if kind != "application/json":
        essence, _, parameters = kind.partition(";")
        charset = parameters.strip().lower()
        if essence.strip().lower() != "application/json" or charset not in {"", "charset=utf-8", 'charset="utf-8"'}:
            raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
    if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")


def _encoded(writer: StreamWriter, item: Chunk | Answer) -> bytes:
    return writer.finish(item) if isinstance(item, Answer) else writer.chunk(item)


async def _watch(receive: Receive, relay: Relay) -> None:
    """A client that leaves is only seen here: the server swallows what is sent after it."""
    await _left(receive)
    relay.abandon()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
