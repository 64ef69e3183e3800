"""`GET /analytics/<name>`: every registered report, for the org of the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, Response, get

from asahi_kernel import csvtext
from asahi_kernel.api.access import principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import Invalid
from asahi_kernel.reports import Told, ask, scope_of, wrapped

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.factory import Report
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.plugins import Plugins

_FORMATS = ("json", "csv")
_encode = msgspec.json.Encoder().encode


def report_routes(gateway: Gateway, plugins: Plugins) -> list[HTTPRouteHandler]:
    return [_route(gateway, report) for report in plugins.reports().values()]


def _route(gateway: Gateway, report: Report) -> HTTPRouteHandler:
    @get(
        f"/analytics/{report.name}",
        opt={"permission": report.permission, "parameters": report.params},
        tags=["analytics"],
        description=report.run.__doc__,
        operation_id=f"analytics-{report.name}",
    )
    async def answer(request: Request[Any, Any, Any]) -> Response[bytes]:
        query = _query(request)
        form = query.pop("format", "json")
        if form not in _FORMATS:
            raise Invalid(f"format must be one of: {', '.join(_FORMATS)}", param="format")
        scope = scope_of(gateway, principal_of(request), query.pop("org_id", None))
        await gateway.journal.catch_up()
        partial = gateway.journal.lag > 0
        told = await stored(gateway, ask(gateway, report, scope, query))
        if form == "csv":
            return _file(report.name, told)
        return Response(_encode(wrapped(told, scope, partial=partial)), media_type="application/json")

    return answer


def _query(request: Request[Any, Any, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name in found:
            raise Invalid(f"the parameter {name[:64]!r} is given twice", param=name[:64])
        found[name] = text
    return found


def _file(name: str, told: Told) -> Response[bytes]:
    dates = "_".join(moment.date().isoformat() for moment in (told.start, told.end))
    headers = {"content-disposition": f'attachment; filename="{name}_{dates}.csv"'}
    return Response(csvtext.table(told.table), media_type="text/csv; charset=utf-8", headers=headers)
