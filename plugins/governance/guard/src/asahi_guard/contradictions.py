"""Contradictions: why a policy or a profile cannot be held as it is written, found when it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from asahi_guard.demands import LONGEST_DAYS, demands_of, unmet
from asahi_guard.models import plan_of
from asahi_kernel.errors import Denied, Unprocessable
from asahi_kernel.standing import Standing

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.people import Tenant
    from asahi_kernel.repositories.rules import ComplianceProfile, OrgPolicy


def check_policy(gateway: Gateway, policy: OrgPolicy, profile: ComplianceProfile | None, tenant: Tenant | None) -> None:
    """Raises `UnknownModel` for a model that nobody knows: a block list with a slip of the pen blocks nothing. Raises
    `Denied` for more models than the org's plan has, `Unprocessable` where it contradicts the org's profile."""
    for name in (*policy.allowed_models, *policy.blocked_models):
        gateway.registry.find(name)
    plan, allowed = plan_of(gateway, tenant), {gateway.registry.find(name).name for name in policy.allowed_models}
    if tenant is not None and plan is not None and len(allowed) > plan.models:
        has = f"the plan {tenant.plan!r} has room for {plan.models}"
        raise Denied(f"allowed_models names {len(allowed)} models, and {has}")
    if profile is not None and _elsewhere(policy, profile):
        wanted = f"{profile.data_residency} in the compliance profile"
        raise _contradiction([f"data_residency is {policy.data_residency}, and {wanted}"])


def check_profile(gateway: Gateway, profile: ComplianceProfile, policy: OrgPolicy) -> None:
    """Raises `Unprocessable` that names every contradiction: in itself, with the policy, with this gateway."""
    if found := [*_within(profile), *_with(gateway, profile, policy)]:
        raise _contradiction(found)


def _within(profile: ComplianceProfile) -> Iterator[str]:
    frameworks = profile.frameworks
    for framework in ("hipaa", "pci_dss"):
        if framework in frameworks and not profile.encryption_required:
            yield f"{framework} requires encryption, and encryption_required is false"
    if "hipaa" in frameworks and profile.prompt_storage_allowed:
        yield "hipaa forbids that prompts are stored, and prompt_storage_allowed is true"
    for framework in ("hipaa", "ccpa", "pci_dss"):
        if framework in frameworks and not profile.pii_detection_enabled:
            yield f"{framework} requires detection, and pii_detection_enabled is false"
    if "gdpr" in frameworks and profile.data_residency is None:
        yield "gdpr requires a region, and data_residency is not set"
    if "gdpr" in frameworks and profile.retention_days > LONGEST_DAYS:
        yield f"gdpr allows retention_days up to {LONGEST_DAYS}, not {profile.retention_days}"
    if profile.allowed_providers == ():
        yield "allowed_providers is empty, so nobody could answer; leave it out to allow all"


def _with(gateway: Gateway, profile: ComplianceProfile, policy: OrgPolicy) -> Iterator[str]:
    if _elsewhere(policy, profile):
        yield f"data_residency is {profile.data_residency}, and {policy.data_residency} in the policy"
    for name in profile.allowed_providers or ():
        upstream = gateway.upstreams.get(name)
        if upstream is None:
            yield f"allowed_providers names {name!r}, which is no provider of this gateway"
        elif "hipaa" in profile.frameworks and not upstream.resilience.agreement:
            yield f"hipaa requires an agreement, and there is none with {name!r}"
    yield from unmet(gateway, demands_of(Standing(org=profile.org_id, policy=policy, profile=profile)))


def _elsewhere(policy: OrgPolicy, profile: ComplianceProfile) -> bool:
    regions = {policy.data_residency, profile.data_residency} - {None}
    return len(regions) > 1


def _contradiction(found: list[str]) -> Unprocessable:
    return Unprocessable("; ".join(found), code="contradictory_profile", details={"contradictions": found})
