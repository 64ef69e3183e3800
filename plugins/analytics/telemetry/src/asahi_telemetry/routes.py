"""`GET /analytics/prometheus`: the metrics of the whole gateway as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get

from asahi_kernel.api.access import principal_of
from asahi_kernel.api.scraping import exposed, may_scrape, scraped

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway


def scrape_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get(
        "/analytics/prometheus",
        opt={"permission": "view_cost", "scrape": True},
        tags=["metrics"],
        media_type="text/plain",
    )
    async def scrape(request: Request[Any, Any, Any]) -> Response[bytes]:
        """What all organisations came to, for Prometheus, as text 0.0.4: for the operator, or the scrape token."""
        if not scraped(request.scope):
            may_scrape(gateway, principal_of(request))
        return await exposed(gateway, "text")

    return [scrape]
