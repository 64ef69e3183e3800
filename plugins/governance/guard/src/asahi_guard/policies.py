"""`/governance/policies`: what an org's policy is, was, and would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery

from asahi_guard.contradictions import check_policy
from asahi_guard.desk import body_of, conflict, expected, governing, org_of
from asahi_guard.documents import Policy, changes, policy_of, show_policy
from asahi_guard.replaying import replay
from asahi_kernel import clock
from asahi_kernel.api.access import actor_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.errors import Invalid, NotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.rules import OrgPolicy

_PREVIEW = "/governance/policies/{org:str}/preview"
_NONE = "this organisation has no policy of its own; the operator's default holds"


def policy_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""
    return [*_reading(gateway), *_changing(gateway)]


def _reading(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/governance/policies/{org:str}", opt={"permission": "view_metrics"}, tags=["policies"])
    async def one(request: Request[Any, Any, Any], org: FromPath[str]) -> dict[str, Any]:
        """The policy in force; its `version` goes into If-Match."""
        whose = org_of(gateway, request, org)
        found = await stored(gateway, governing(gateway).repositories.policies.get_policy(whose))
        if found is None:
            raise NotFound(_NONE)
        return show_policy(found)

    @get("/governance/policies/{org:str}/history", opt={"permission": "view_metrics"}, tags=["policies"])
    async def history(
        request: Request[Any, Any, Any], org: FromPath[str], limit: FromQuery[int] = 100
    ) -> dict[str, Any]:
        """Every version, newest first; one that says `deleted` put the defaults back."""
        if not 1 <= limit <= 500:
            raise Invalid("limit must be from 1 to 500", param="limit")
        whose = org_of(gateway, request, org)
        found = await stored(gateway, governing(gateway).repositories.policies.history(whose, limit))
        versions = [show_policy(each) | {"deleted": each.deleted} for each in found]
        return {"org_id": whose, "count": len(versions), "versions": versions}

    @post(_PREVIEW, opt={"permission": "manage_policy"}, tags=["policies"], status_code=200)
    async def preview(request: Request[Any, Any, Any], org: FromPath[str]) -> dict[str, Any]:
        """What a policy would have done to the org's requests of the last seven days. Nothing is changed."""
        whose = org_of(gateway, request, org)
        policy = policy_of(await body_of(request, Policy, whose), whose, None)
        kept = governing(gateway).repositories
        profile = await stored(gateway, kept.compliance.get(whose))
        check_policy(gateway, policy, profile, await stored(gateway, kept.tenants.get(whose)))
        return await replay(gateway, policy)

    return [one, history, preview]


def _changing(gateway: Gateway) -> list[HTTPRouteHandler]:
    @post(
        "/governance/policies/{org:str}",
        opt={"permission": "manage_policy", "confirm": True},
        tags=["policies"],
        status_code=200,
    )
    async def save(request: Request[Any, Any, Any], org: FromPath[str]) -> dict[str, Any]:
        """Put a whole policy in force. With If-Match only in the place of that version."""
        whose, actor = org_of(gateway, request, org), actor_of(request)
        policy = policy_of(await body_of(request, Policy, whose), whose, actor.user)
        saved = await stored(gateway, _save(gateway, policy, expected(request), actor))
        gateway.standings.forget(whose)
        return {"status": "saved", "org_id": whose, "version": saved.version}

    @delete(
        "/governance/policies/{org:str}",
        opt={"permission": "manage_policy", "confirm": True},
        tags=["policies"],
        status_code=204,
    )
    async def drop(request: Request[Any, Any, Any], org: FromPath[str]) -> None:
        """Back to the operator's default. The versions stay."""
        whose = org_of(gateway, request, org)
        await stored(gateway, _drop(gateway, whose, expected(request), actor_of(request)))
        gateway.standings.forget(whose)

    return [save, drop]


async def _save(gateway: Gateway, policy: OrgPolicy, version: int | None, actor: Actor) -> OrgPolicy:
    async with governing(gateway).together() as kept:
        org = policy.org_id
        check_policy(gateway, policy, await kept.compliance.get(org), await kept.tenants.get(org))
        old = await kept.policies.get_policy(policy.org_id)
        saved = await kept.policies.save_policy(policy, version)
        if saved is None:
            raise conflict(await _newest(kept, policy.org_id))
        details = {"version": saved.version, "changes": changes(old, saved)}
        await kept.audit.append([_entry(actor, "policy_update", policy.org_id, details)])
    return saved


async def _drop(gateway: Gateway, org: str, version: int | None, actor: Actor) -> None:
    async with governing(gateway).together() as kept:
        old = await kept.policies.get_policy(org)
        if old is None:
            raise NotFound(_NONE)
        if version is not None and version != old.version:
            raise conflict(old.version)
        gone = await kept.policies.delete_policy(org, clock.now(), actor.user)
        if gone is None:
            raise conflict(await _newest(kept, org))
        await kept.audit.append([_entry(actor, "policy_delete", org, {"version": gone.version})])


async def _newest(kept: Any, org: str) -> int:
    found = await kept.policies.history(org, 1)
    return found[0].version if found else 0


def _entry(actor: Actor, action: str, org: str, details: dict[str, Any]) -> Any:
    by = {"by_org": actor.org} if actor.org != org else {}
    return entry_of(actor, action, f"policy/{org}", {**details, **by}, org=org, classification="confidential")
