"""`POST /v1/messages/count_tokens`: the vendor's own count where it gives one, else our estimate."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, post

from asahi_kernel.api.access import principal_of
from asahi_kernel.api.exchange import named, narrow
from asahi_kernel.errors import NotFound, ProviderError
from asahi_kernel.money import count_input
from asahi_kernel.registry import UnknownModel
from asahi_kernel.rendering import render
from asahi_kernel.upstream import ANY_WIRE
from asahi_kernel.wire import anthropic

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Request as Asked

log = logging.getLogger(__name__)

PATH = "/v1/messages/count_tokens"
_PATIENCE_S = 5.0


def counting_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    limit, strict = gateway.settings.api.max_inference_body_bytes, gateway.settings.api.strict_fields

    @post(PATH, opt={"permission": "infer"}, status_code=200, include_in_schema=False, request_max_body_size=limit)
    async def count_tokens(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Input tokens of a request, free of charge; an estimate says so in `x-asahi-estimate`."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
        asked = anthropic.decode_count(await request.body(), headers, strict_fields=strict)
        try:
            wanted = named(gateway, narrow(asked, principal_of(request)))
        except UnknownModel as error:
            raise NotFound(error.message, code="model_not_found", param="model") from None
        for policy in gateway.clearances:
            wanted = await policy.clear(wanted, principal_of(request))
        rendered = render(wanted)
        counted = await _counted(gateway, rendered)
        told = {"x-asahi-estimate": "true"} if counted is None else {}
        body = msgspec.json.encode({"input_tokens": count_input(rendered) if counted is None else counted})
        return Response(body, media_type="application/json", headers=told)

    return [count_tokens]


async def _counted(gateway: Gateway, request: Asked) -> int | None:
    """The count of the named model's vendor; None if it gives none, or not in time."""
    model = gateway.registry.by_name.get(request.model or "")
    upstream = None if model is None else gateway.upstreams[model.provider]
    if model is None or upstream is None or upstream.counting is None or upstream.refuses(request):
        return None
    if request.wire not in ("", ANY_WIRE, upstream.wire):
        return None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await upstream.counting.count_tokens(model, request)
    except (ProviderError, TimeoutError) as error:
        status = getattr(error, "status", None)
        log.warning("provider %s did not count tokens (%s)", upstream.name, status or "no answer")
        return None
