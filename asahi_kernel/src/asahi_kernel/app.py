"""The Litestar application: the routes, default deny, and every error as one well-formed body."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig

from asahi_kernel.api.access import guard, refuse_undeclared
from asahi_kernel.api.analytics import report_routes
from asahi_kernel.api.cache import cache_routes
from asahi_kernel.api.counting import counting_routes
from asahi_kernel.api.docs import docs_routes
from asahi_kernel.api.exchange import Exchange
from asahi_kernel.api.explain import explain_routes
from asahi_kernel.api.feedback import feedback_routes
from asahi_kernel.api.front import Front
from asahi_kernel.api.health import VERSION, health_routes
from asahi_kernel.api.inference import exchanges, inference_route
from asahi_kernel.api.metrics import metrics_routes
from asahi_kernel.api.models import model_routes
from asahi_kernel.api.refusing import identity, shape
from asahi_kernel.errors import AsahiError, Invalid, MethodNotAllowed, NotFound
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import Plugins, load_plugins
from asahi_kernel.served import told_of
from asahi_kernel.settings import Settings

log = logging.getLogger(__name__)


def create_app(settings: Settings, plugins: Plugins | None = None, gateway: Gateway | None = None) -> Front:
    """The ASGI application for these settings. Backends open in its lifespan; a fault there stops the start."""
    gateway = gateway or Gateway(settings)
    inference = exchanges(gateway)
    return Front(_routes(settings, plugins or load_plugins(), gateway, inference), inference, gateway)


def _routes(settings: Settings, plugins: Plugins, gateway: Gateway, inference: Mapping[str, Exchange]) -> Litestar:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        try:
            async with running(gateway, plugins):
                yield
        except AsahiError as error:
            gateway.refusal = error
            raise

    guarded = Router("/", route_handlers=_guarded(gateway, plugins), guards=[guard(gateway)])
    app = Litestar(
        [*(inference_route(path, exchange) for path, exchange in inference.items()), guarded],
        lifespan=[lifespan],
        exception_handlers={AsahiError: refuse, HTTPException: refuse_http, Exception: refuse_bug},
        openapi_config=OpenAPIConfig(title="Asahi", version=VERSION, path="/_schema", render_plugins=[]),
        logging_config=None,
        request_max_body_size=settings.api.max_body_bytes,
        state=None,
    )
    refuse_undeclared(handler for route in app.routes for handler in _handlers(route) if not _internal(handler))
    return app


def _guarded(gateway: Gateway, plugins: Plugins) -> list[Any]:
    own = [*health_routes(gateway), *model_routes(gateway), *explain_routes(gateway), *metrics_routes(gateway)]
    own += feedback_routes(gateway)
    own += counting_routes(gateway)
    own += cache_routes(gateway)
    own += report_routes(gateway, plugins)
    docs = docs_routes() if gateway.settings.api.docs else []
    registered = plugins.manager.hook.register_routes(gateway=gateway)
    return [*own, *docs, *(route for routes in registered for route in routes or ())]


def refuse(request: Request[Any, Any, Any], error: AsahiError) -> Response[bytes]:
    """Problem+json (RFC 9457) natively, the vendors' error shapes under `/v1`."""
    request_id = told_of(error)
    kind, body = shape(error, request.scope["path"], request_id)
    headers = identity(request_id)
    if error.retry_after is not None or error.status in {429, 503}:
        headers["retry-after"] = str(max(1, round(error.retry_after or 30)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(body, status_code=error.status, media_type=kind, headers=headers)


def refuse_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The framework's own refusals, in our shape."""
    if error.status_code == 404:
        return refuse(request, NotFound("there is nothing at this path"))
    if error.status_code == 405:
        told = refuse(request, MethodNotAllowed("this path does not take that method"))
        told.headers["allow"] = ", ".join(methods_of(request))
        return told
    if error.status_code < 500:
        return refuse(request, Invalid("the request's parameters are not valid"))
    return refuse_bug(request, error)


def methods_of(request: Request[Any, Any, Any]) -> list[str]:
    """The methods that the path of a request does take."""
    found = []
    for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"):
        with suppress(HTTPException):
            request.app.asgi_router.handle_routing(path=request.scope["path"], method=method)
            found.append(method)
    return found


def refuse_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A bug: the log has it all, the client only the id."""
    log.error("a request failed", exc_info=error)
    return refuse(request, AsahiError("something went wrong inside the gateway"))


def _handlers(route: Any) -> list[BaseRouteHandler]:
    return list(getattr(route, "route_handlers", None) or [route.route_handler])


def _internal(handler: BaseRouteHandler) -> bool:
    """Litestar's own automatic OPTIONS answers carry no data."""
    return handler.fn.__module__.startswith("litestar.")
