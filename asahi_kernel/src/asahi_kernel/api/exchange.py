"""One exchange: an HTTP request that asks for inference, from its headers to its last byte."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from asahi_kernel.api.access import identify
from asahi_kernel.api.reply import Reply
from asahi_kernel.api.stored import stored
from asahi_kernel.caller import headers_of
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
from asahi_kernel.served import served_of
from asahi_kernel.server.body import ClientLeft, read_body
from asahi_kernel.trace import Trace

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.server.body import Receive as BodyReceive
    from asahi_kernel.types import Principal, Request
    from asahi_kernel.wire.asked import Asked

log = logging.getLogger(__name__)

#: What an answer may take beyond its provider's longest time before its claim lapses.
_MARGIN_S = 30.0
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Dialect(Protocol):
    """How one route reads a request and tells an error."""

    route: str
    error_type: bytes

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked: ...
    def told(self, error: AsahiError) -> AsahiError: ...
    def error(self, error: AsahiError, request_id: str) -> bytes: ...


class Work(Protocol):
    """What is done with a request once it is decoded and its caller known. `named` finds the model that is named."""

    def named(self, request: Request) -> Request: ...
    async def answer(
        self, asked: Asked, request: Request, principal: Principal, receive: Receive, reply: Reply, trace: Trace
    ) -> None: ...


class Exchange:
    """Identify, read, admit, decode, infer, answer; every failure becomes one well-formed error."""

    def __init__(self, gateway: Gateway, wire: Dialect, work: Work) -> None:
        self._gateway = gateway
        self._wire = wire
        self._work = work
        self._limit = gateway.settings.api.max_inference_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        served = served_of(scope)
        served.route = self._wire.route
        trace = Trace(self._wire.route, served.request_id, served.parent)
        reply = Reply(send, trace)
        try:
            await self._answer(scope, receive, reply, trace)
        except (Aborted, ClientLeft):
            served.error = Aborted.code
            return
        except AsahiError as error:
            served.error = error.code
            await self._refuse(reply, error, trace)
        except Exception:
            log.exception("request %s failed", trace.request_id)
            served.error = AsahiError.code
            await self._refuse(reply, AsahiError("something went wrong inside the gateway"), trace)
        finally:
            served.status = reply.status or (Aborted.status if served.error == Aborted.code else None)
            served.error = reply.fault or served.error
            if reply.claim is not None:
                await asyncio.shield(self._gateway.detach(reply.settle(self._gateway)))

    async def _answer(self, scope: Scope, receive: Receive, reply: Reply, trace: Trace) -> None:
        gateway = self._gateway
        if scope["method"] != "POST":  # type: ignore[typeddict-item]
            raise MethodNotAllowed(f"{scope['path']} takes POST only")
        headers = headers_of(scope)
        _check_type(headers)
        principal = await identify(gateway, scope, headers)
        if "infer" not in principal.permissions:
            raise Denied(f"the role {principal.role!r} of this key may not ask for inference")
        body = await read_body(cast("BodyReceive", receive), self._limit, gateway.reading)
        if gateway.admission.full:
            await _queue(gateway, principal.org, receive)
        else:
            await gateway.admission.enter(principal.org)
        try:
            asked = self._wire.decode(body, headers)
            request = self._work.named(narrow(asked, principal))
            principal = acting(asked, principal)
            if asked.idempotency_key and await self._replayed(
                asked.idempotency_key, _digest(body, headers), principal, reply, trace
            ):
                return
            await self._work.answer(asked, request, principal, receive, reply, trace)
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
            user=principal.user,
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
    leaving = loop.create_task(left(receive))
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


def narrow(asked: Asked, principal: Principal) -> Request:
    """The body may repeat the key's org and user, never widen them. An end user that is no identity is a tag."""
    if asked.organization_id is not None and asked.organization_id != principal.org:
        raise Denied(
            "organization_id is not the organisation of this key", code="org_mismatch", param="organization_id"
        )
    if asked.user_id is not None and asked.user_id != principal.user and not principal.may_act_for_users:
        raise Denied(
            "user_id is not the user of this key, which may not act for others", code="user_mismatch", param="user_id"
        )
    request = asked.request
    if asked.end_user is None or asked.end_user in {principal.user, _user(asked, principal)}:
        return request
    tags = {**request.terms.tags, "end_user": asked.end_user}
    return msgspec.structs.replace(request, terms=msgspec.structs.replace(request.terms, tags=tags))


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
    found = gateway.registry.find(request.model)
    if found.embeds:
        raise Invalid(f"{found.name!r} only embeds: it answers on /v1/embeddings and nowhere else", param="model")
    model = found.name
    if request.terms.mode == "explicit":
        return msgspec.structs.replace(request, model=model)
    return msgspec.structs.replace(request, model=None, terms=msgspec.structs.replace(request.terms, baseline=model))


def acting(asked: Asked, principal: Principal) -> Principal:
    """The principal, as the user it acts for."""
    user = _user(asked, principal)
    if user is None or user == principal.user:
        return principal
    return msgspec.structs.replace(principal, user=user)


def _user(asked: Asked, principal: Principal) -> str | None:
    """The user that is asked for; an end user only where the key may act for users, and the name is a user's."""
    if asked.user_id is not None or asked.end_user is None or not principal.may_act_for_users:
        return asked.user_id
    return asked.end_user if _ID.fullmatch(asked.end_user) else None


def _check_type(headers: Mapping[str, str]) -> None:
    kind = headers.get("content-type", "")
    if kind != "application/json":
        essence, _, parameters = kind.partition(";")
        charset = parameters.strip().lower()
        if essence.strip().lower() != "application/json" or charset not in {"", "charset=utf-8", 'charset="utf-8"'}:
            raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
    if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")


async def left(receive: Receive) -> None:
    """Wait until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
