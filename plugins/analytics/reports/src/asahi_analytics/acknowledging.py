"""`POST /analytics/anomalies/{id}/acknowledge`: somebody knows of an alert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, post
from litestar.params import FromPath

from asahi_kernel import clock
from asahi_kernel.api.access import principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import NotFound
from asahi_kernel.identity import new_id
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.audit import AuditEntry

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal


def alert_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    @post(
        "/analytics/anomalies/{alert_id:str}/acknowledge",
        opt={"permission": "manage_policy"},
        tags=["analytics"],
        status_code=204,
    )
    async def acknowledge(request: Request[Any, Any, Any], alert_id: FromPath[str]) -> None:
        """Note that somebody knows of an alert. The first who did stays named; another org's alert is not there."""
        storage, principal = gateway.storage, principal_of(request)
        if len(alert_id) > 26 or not isinstance(storage, Governing):
            raise NotFound("there is no such anomaly")
        if not await stored(gateway, acknowledged(storage, principal, alert_id)):
            raise NotFound("there is no such anomaly")

    return [acknowledge]


async def acknowledged(storage: Governing, principal: Principal, alert_id: str) -> bool:
    """Acknowledge together with the entry in the audit log; False when the org has no such alert."""
    now, by = clock.now(), principal.user or principal.key_id or principal.role
    async with storage.together() as repositories:
        if await repositories.alerts.get(principal.org, alert_id) is None:
            return False
        if await repositories.alerts.acknowledge(principal.org, alert_id, by, now):
            entry = AuditEntry(
                entry_id=new_id(),
                timestamp=now,
                org_id=principal.org,
                user_id=by,
                action="alert_acknowledge",
                resource=f"alert {alert_id}",
            )
            await repositories.audit.append([entry])
    return True
