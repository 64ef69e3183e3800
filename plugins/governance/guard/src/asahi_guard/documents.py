"""Documents: policies and profiles as they come over HTTP and go back, money in dollars."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from asahi_guard.demands import LONGEST_DAYS, Framework, Region
from asahi_kernel import clock
from asahi_kernel.money import dollars, nano
from asahi_kernel.preferences import Action, InjectionAction, Milliseconds, Quality
from asahi_kernel.repositories.rules import POLICIES, ComplianceProfile, OrgPolicy

T = TypeVar("T")
Id: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]
Provider: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Names: TypeAlias = Annotated[tuple[Name, ...], Meta(max_length=1_000)]
Dollars: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy. What is left out is at its default: no limit, no list, what the preferences say."""

    org_id: Id | None = None
    allowed_models: Names = ()
    blocked_models: Names = ()
    max_cost_per_day: Dollars | None = None
    max_cost_per_month: Dollars | None = None
    max_cost_per_request: Dollars | None = None
    max_requests_per_day: Count | None = None
    max_requests_per_minute: Count | None = None
    max_tokens_per_minute: Count | None = None
    default_quality_threshold: Quality | None = None
    default_latency_budget_ms: Milliseconds | None = None
    require_audit_log: bool = True
    data_residency: Region | None = None
    injection_action: InjectionAction | None = None
    pii_action: Action | None = None


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole profile. What is left out is as its frameworks demand, else at its default."""

    org_id: Id | None = None
    frameworks: Annotated[tuple[Framework, ...], Meta(max_length=5)] = ()
    data_residency: Region | None = None
    encryption_required: bool | None = None
    prompt_storage_allowed: bool | None = None
    retention_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    pii_detection_enabled: bool | None = None
    allowed_providers: Annotated[tuple[Provider, ...], Meta(max_length=100)] | None = None


def policy_of(given: Policy, org: str, by: str | None) -> OrgPolicy:
    """What is kept of it: money in nUSD, each model once."""
    fields = {name: getattr(given, name) for name in Policy.__struct_fields__ if name != "org_id"}
    for name in POLICIES.money:
        fields[name] = None if fields[name] is None else nano(fields[name])
    for name in ("allowed_models", "blocked_models"):
        fields[name] = tuple(dict.fromkeys(fields[name]))
    return OrgPolicy(org_id=org, updated_at=clock.now(), updated_by=by, **fields)


def show_policy(policy: OrgPolicy) -> dict[str, Any]:
    """The policy as it is told."""
    told = {name: getattr(policy, name) for name in OrgPolicy.__struct_fields__ if name != "deleted"}
    return told | {name: dollars(told[name]) for name in POLICIES.money}


def profile_of(given: Profile, org: str, by: str | None) -> ComplianceProfile:
    """What is kept of it."""
    frameworks = tuple(dict.fromkeys(given.frameworks))
    hipaa = "hipaa" in frameworks
    detects = not {"hipaa", "ccpa", "pci_dss"}.isdisjoint(frameworks)
    return ComplianceProfile(
        org_id=org,
        updated_at=clock.now(),
        updated_by=by,
        frameworks=frameworks,
        data_residency=given.data_residency,
        encryption_required=_said(given.encryption_required, hipaa or "pci_dss" in frameworks),
        prompt_storage_allowed=_said(given.prompt_storage_allowed, not hipaa),
        retention_days=_said(given.retention_days, LONGEST_DAYS),
        pii_detection_enabled=_said(given.pii_detection_enabled, detects),
        allowed_providers=given.allowed_providers,
    )


def show_profile(profile: ComplianceProfile) -> dict[str, Any]:
    """The profile as it is told."""
    return msgspec.structs.asdict(profile)


def changes(old: OrgPolicy | ComplianceProfile | None, new: OrgPolicy | ComplianceProfile) -> dict[str, Any]:
    """What became of which field, for the audit log; money in nUSD, as it is kept."""
    unsaid = {"org_id", "updated_at", "updated_by", "version", "deleted"}
    told: dict[str, Any] = {}
    for name in new.__struct_fields__:
        before, after = None if old is None else getattr(old, name), getattr(new, name)
        if name not in unsaid and before != after:
            told[name] = {"from": before, "to": after}
    return told


def _said(given: T | None, otherwise: T) -> T:
    return otherwise if given is None else given
