"""Tenants: made, changed, suspended and marked for erasure together with their entry in the audit log."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import structs

from asahi_kernel import clock
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.errors import Conflict, Invalid, NotFound, Unprocessable
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.audit import AuditEntry
from asahi_kernel.repositories.people import Tenant
from asahi_kernel.settings import Tenants as TenantSettings

Status: TypeAlias = Literal["active", "suspended", "erasing"]


class Registrar:
    """Over a storage that governs. The operator's own org can be neither suspended nor erased."""

    def __init__(self, storage: Governing, plans: TenantSettings, operator: str) -> None:
        self._storage = storage
        self._plans = plans
        self._operator = operator

    async def create(self, org: str, name: str, plan: str, actor: Actor) -> Tenant:
        """A new tenant; raises `Conflict` where there is one of that id."""
        self._check_plan(plan)
        now = clock.now()
        tenant = Tenant(
            org_id=org, name=name or org, created_at=now, updated_at=now, plan=plan, cache_salt=secrets.token_bytes(32)
        )
        async with self._storage.together() as kept:
            if not await kept.tenants.create(tenant):
                raise Conflict("there is a tenant of this id already", code="version_conflict")
            await kept.audit.append([_entry(actor, "tenant_create", org, {"name": tenant.name, "plan": plan})])
        return tenant

    async def get(self, org: str) -> Tenant:
        """Raises `NotFound`."""
        found = await self._storage.repositories.tenants.get(org)
        if found is None:
            raise NotFound("there is no such tenant")
        return found

    async def all(self) -> Sequence[Tenant]:
        """Every tenant, for the operator."""
        return await self._storage.repositories.tenants.list(100_000)

    async def change(
        self, org: str, actor: Actor, *, name: str | None = None, plan: str | None = None, status: Status | None = None
    ) -> Tenant:
        """Set what is given. What is being erased stays so."""
        if plan is not None:
            self._check_plan(plan)
        if org == self._operator and status not in {None, "active"}:
            raise Unprocessable("the operator's own organisation cannot be suspended or erased", code="invalid_request")
        given = {"name": name, "plan": plan, "status": status}
        said = {field: value for field, value in given.items() if value is not None}
        async with self._storage.together() as kept:
            tenant = await kept.tenants.get(org)
            if tenant is None:
                raise NotFound("there is no such tenant")
            if tenant.status == "erasing" and status not in {None, "erasing"}:
                raise Unprocessable("this organisation is being erased", code="invalid_request")
            tenant = structs.replace(tenant, **said, updated_at=clock.now())
            await kept.tenants.update(tenant)
            await kept.audit.append([_entry(actor, "tenant_update", org, said)])
        return tenant

    def _check_plan(self, plan: str) -> None:
        if plan not in self._plans.names():
            raise Invalid(f"plan must be one of: {', '.join(self._plans.names())}", param="plan")


def _entry(actor: Actor, action: str, org: str, said: dict[str, str]) -> AuditEntry:
    return entry_of(
        actor, action, f"tenant/{org}", {**said, "by_org": actor.org}, org=org, classification="confidential"
    )
