"""`/governance/tenants`: the operator makes, changes and suspends organisations; each reads its own entry."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from litestar import Request, delete, get, patch, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from asahi_access.tenants import Registrar
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.bodies import body_of
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import Denied, Invalid, NotFound, Unavailable
from asahi_kernel.repositories import Governing

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.people import Tenant

Id = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


class NewTenant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a new tenant."""

    org_id: Id
    name: Name
    plan: str = "starter"


class Change(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be another."""

    name: Name | None = None
    plan: str | None = None
    status: Literal["active", "suspended"] | None = None


class Row(Struct, frozen=True, kw_only=True):
    """A tenant as it is shown."""

    org_id: str
    name: str
    plan: str
    status: str
    created_at: datetime
    updated_at: datetime


def tenant_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""
    return [*_reading(gateway), *_changing(gateway)]


def _reading(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/governance/tenants", opt={"permission": "manage_users"}, tags=["tenants"])
    async def listed(request: Request[Any, Any, Any]) -> dict[str, list[Row]]:
        """Every organisation; for the operator."""
        _operator(gateway, request)
        return {"tenants": [_row(each) for each in await stored(gateway, _registrar(gateway).all())]}

    @get("/governance/tenants/{org:str}", opt={"permission": "view_metrics"}, tags=["tenants"])
    async def one(request: Request[Any, Any, Any], org: FromPath[str]) -> Row:
        """One's own organisation; the operator's admins see any."""
        principal = principal_of(request)
        runs = principal.org == gateway.settings.governance.operator_org and "manage_users" in principal.permissions
        if _id(org) != principal.org and not runs:
            raise NotFound("there is no such tenant")
        return _row(await stored(gateway, _registrar(gateway).get(org)))

    return [listed, one]


def _changing(gateway: Gateway) -> list[HTTPRouteHandler]:
    @post("/governance/tenants", opt={"permission": "manage_users", "confirm": True}, tags=["tenants"], status_code=201)
    async def create(request: Request[Any, Any, Any]) -> Row:
        """Make an organisation, on a plan."""
        _operator(gateway, request)
        given = await body_of(request, NewTenant)
        work = _registrar(gateway).create(given.org_id, given.name, given.plan, actor_of(request))
        made = await stored(gateway, work)
        gateway.standings.forget(made.org_id)
        return _row(made)

    @patch("/governance/tenants/{org:str}", opt={"permission": "manage_users", "confirm": True}, tags=["tenants"])
    async def change(request: Request[Any, Any, Any], org: FromPath[str]) -> Row:
        """Rename it, put it on another plan, suspend it or let it in again. Suspended, it gets 403 everywhere."""
        _operator(gateway, request, org)
        given = await body_of(request, Change)
        if given.plan is not None and "manage_billing" not in principal_of(request).permissions:
            raise Denied("a plan is changed by who may manage_billing")
        told = {"name": given.name, "plan": given.plan, "status": given.status}
        changed = await stored(gateway, _registrar(gateway).change(_id(org), actor_of(request), **told))  # type: ignore[arg-type]
        gateway.standings.forget(org)
        return _row(changed)

    @delete(
        "/governance/tenants/{org:str}",
        opt={"permission": "manage_users", "confirm": True},
        tags=["tenants"],
        status_code=202,
    )
    async def erase(request: Request[Any, Any, Any], org: FromPath[str]) -> Row:
        """Mark it to be erased: from now on its people get 403. What is stored of it goes afterwards."""
        _operator(gateway, request, org)
        work = _registrar(gateway).change(_id(org), actor_of(request), status="erasing")
        marked = await stored(gateway, work)
        gateway.standings.forget(org)
        return _row(marked)

    return [create, change, erase]


def _operator(gateway: Gateway, request: Request[Any, Any, Any], org: str | None = None) -> None:
    """Raises `NotFound` for an org that is not the caller's, as if it were none, and `Denied` otherwise."""
    principal = principal_of(request)
    if principal.org == gateway.settings.governance.operator_org:
        return
    if org is not None and _id(org) != principal.org:
        raise NotFound("there is no such tenant")
    raise Denied("organisations are made and changed by the operator of this gateway")


def _registrar(gateway: Gateway) -> Registrar:
    if not isinstance(gateway.storage, Governing):
        raise Unavailable("this storage keeps no tenants", code="storage_unavailable")
    return Registrar(gateway.storage, gateway.settings.tenants, gateway.settings.governance.operator_org)


def _id(org: str) -> str:
    if not 1 <= len(org) <= 63 or set(org) - _LETTERS or org[0] in "_-":
        raise Invalid("an organisation's id is 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit")
    return org


def _row(tenant: Tenant) -> Row:
    return Row(**{name: getattr(tenant, name) for name in Row.__struct_fields__})
