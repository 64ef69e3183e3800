"""`/governance/compliance`: an org's profile, and the report on how it is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery

from asahi_guard.contradictions import check_profile
from asahi_guard.desk import body_of, conflict, expected, governing, org_of
from asahi_guard.documents import Profile, changes, profile_of, show_profile
from asahi_guard.reporting import CHECKS, report
from asahi_kernel.api.access import actor_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.errors import Invalid, NotFound
from asahi_kernel.standing import allows_prompts

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.rules import ComplianceProfile

_NONE = "this organisation has no compliance profile; save one with POST /governance/compliance/{org}"


def profile_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/governance/compliance/{org:str}", opt={"permission": "view_audit_log"}, tags=["compliance"])
    async def one(request: Request[Any, Any, Any], org: FromPath[str]) -> dict[str, Any]:
        """The profile in force."""
        return show_profile(await _found(gateway, org_of(gateway, request, org)))

    @post(
        "/governance/compliance/{org:str}",
        opt={"permission": "manage_policy", "confirm": True},
        tags=["compliance"],
        status_code=200,
    )
    async def save(request: Request[Any, Any, Any], org: FromPath[str]) -> dict[str, Any]:
        """Put a whole profile in force, unless it contradicts itself, the policy or what this gateway can give. One
        that forbids to store prompts has those forgotten that are."""
        whose, actor = org_of(gateway, request, org), actor_of(request)
        profile = profile_of(await body_of(request, Profile, whose), whose, actor.user)
        saved = await stored(gateway, _save(gateway, profile, expected(request), actor))
        gateway.standings.forget(whose)
        return {"status": "saved", "org_id": whose, "version": saved.version}

    @get("/governance/compliance/report", opt={"permission": "view_audit_log"}, tags=["compliance"])
    async def told(
        request: Request[Any, Any, Any], framework: FromQuery[str] = "", org_id: FromQuery[str | None] = None
    ) -> dict[str, Any]:
        """Whether the running gateway does for the org what a framework demands."""
        if framework not in CHECKS:
            raise Invalid(f"framework must be one of: {', '.join(CHECKS)}", param="framework")
        whose = org_of(gateway, request, org_id)
        profile = await _found(gateway, whose)
        await gateway.journal.catch_up()
        return await stored(gateway, report(gateway, whose, framework, profile))

    return [one, save, told]


async def _found(gateway: Gateway, org: str) -> ComplianceProfile:
    found = await stored(gateway, governing(gateway).repositories.compliance.get(org))
    if found is None:
        raise NotFound(_NONE)
    return found


async def _save(gateway: Gateway, profile: ComplianceProfile, version: int | None, actor: Actor) -> ComplianceProfile:
    org = profile.org_id
    async with governing(gateway).together() as kept:
        policy = await kept.policies.get_policy(org) or gateway.standings.default(org)
        check_profile(gateway, profile, policy)
        old = await kept.compliance.get(org)
        current = 0 if old is None else old.version
        saved = await kept.compliance.save(profile) if version in {None, current} else None
        if saved is None:
            raise conflict(current)
        forgotten = 0 if allows_prompts(saved) else await kept.bodies.forget(org)
        by = {"by_org": actor.org} if actor.org != org else {}
        gone = {"prompts_forgotten": forgotten} if forgotten else {}
        details = {"version": saved.version, "changes": changes(old, saved), **by, **gone}
        entry = entry_of(
            actor, "compliance_update", f"compliance/{org}", details, org=org, classification="confidential"
        )
        await kept.audit.append([entry])
    return saved
