"""Policies, compliance profiles and settings: what an org allows, must and wants. No version is overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from asahi_kernel.repositories.records import Rows, Shape


class OrgPolicy(Struct, frozen=True, kw_only=True):
    """One version of an org's policy; money in nUSD. `deleted` means back to the defaults from this version on."""

    org_id: str
    updated_at: datetime
    version: int = 1
    deleted: bool = False
    allowed_models: tuple[str, ...] = ()
    blocked_models: tuple[str, ...] = ()
    max_cost_per_day: int | None = None
    max_cost_per_month: int | None = None
    max_cost_per_request: int | None = None
    max_requests_per_day: int | None = None
    max_requests_per_minute: int | None = None
    max_tokens_per_minute: int | None = None
    default_quality_threshold: float | None = None
    default_latency_budget_ms: int | None = None
    require_audit_log: bool = True
    data_residency: str | None = None
    injection_action: str | None = None
    pii_action: str | None = None
    updated_by: str | None = None


class ComplianceProfile(Struct, frozen=True, kw_only=True):
    """What an org must comply with. `allowed_providers` None means any."""

    org_id: str
    updated_at: datetime
    version: int = 1
    frameworks: tuple[str, ...] = ()
    data_residency: str | None = None
    encryption_required: bool = False
    prompt_storage_allowed: bool = True
    retention_days: int = 365
    pii_detection_enabled: bool = False
    allowed_providers: tuple[str, ...] | None = None
    updated_by: str | None = None


class SettingsOf(Struct, frozen=True, kw_only=True):
    """An org's settings as it sent them; whoever reads them knows their groups."""

    org_id: str
    updated_at: datetime
    version: int = 1
    body: Mapping[str, Any] = {}
    updated_by: str | None = None


POLICIES = Shape(
    table="org_policies",
    record=OrgPolicy,
    identity=("org_id", "version"),
    order="version",
    money=frozenset({"max_cost_per_day", "max_cost_per_month", "max_cost_per_request"}),
)
COMPLIANCE = Shape(table="compliance_profiles", record=ComplianceProfile, identity=("org_id",), order="updated_at")
SETTINGS = Shape(table="org_settings", record=SettingsOf, identity=("org_id",), order="updated_at")


class Policies:
    """Every version of every policy; the highest is in force, history stays."""

    def __init__(self, rows: Rows) -> None:
        self._policies = rows.of(POLICIES)

    async def save_policy(self, policy: OrgPolicy, expected: int | None = None) -> OrgPolicy | None:
        """As the next version, which it gives back. None when the version in force is not the expected one, or somebody
        else was quicker."""
        newest = await self._policies.find(policy.org_id, {})
        current = 0 if newest is None else newest.version
        if expected is not None and expected != current:
            return None
        saved = msgspec.structs.replace(policy, version=current + 1)
        return saved if await self._policies.add(saved) else None

    async def get_policy(self, org: str, version: int | None = None) -> OrgPolicy | None:
        """The one in force, or that version. None where it was deleted."""
        found = await self._policies.find(org, {} if version is None else {"version": version})
        return None if found is None or (found.deleted and version is None) else found

    async def delete_policy(self, org: str, at: datetime, by: str | None) -> OrgPolicy | None:
        """Back to the defaults, which is a version too. None when there is nothing to delete."""
        if await self.get_policy(org) is None:
            return None
        return await self.save_policy(OrgPolicy(org_id=org, deleted=True, updated_at=at, updated_by=by))

    async def history(self, org: str, limit: int = 100) -> Sequence[OrgPolicy]:
        """Newest first."""
        return await self._policies.select(org, limit=limit)


class Compliance:
    """One profile for each org."""

    def __init__(self, rows: Rows) -> None:
        self._profiles = rows.of(COMPLIANCE)

    async def save(self, profile: ComplianceProfile) -> ComplianceProfile | None:
        """With the next version, which it gives back. None when somebody else was quicker."""
        old = await self.get(profile.org_id)
        if old is None:
            first = msgspec.structs.replace(profile, version=1)
            return first if await self._profiles.add(first) else None
        saved = msgspec.structs.replace(profile, version=old.version + 1)
        to = {name: value for name, value in msgspec.structs.asdict(saved).items() if name != "org_id"}
        return saved if await self._profiles.change(saved.org_id, {"version": old.version}, to) else None

    async def get(self, org: str) -> ComplianceProfile | None:
        """The org's."""
        return await self._profiles.find(org, {})


class OrgSettings:
    """One body of settings for each org."""

    def __init__(self, rows: Rows) -> None:
        self._settings = rows.of(SETTINGS)

    async def save(self, settings: SettingsOf, expected: int) -> SettingsOf | None:
        """With the next version, which it gives back. None unless the version in force is the expected one; 0 when
        there is none yet."""
        saved = msgspec.structs.replace(settings, version=expected + 1)
        if expected == 0:
            return saved if await self._settings.add(saved) else None
        to = {name: value for name, value in msgspec.structs.asdict(saved).items() if name != "org_id"}
        return saved if await self._settings.change(saved.org_id, {"version": expected}, to) else None

    async def get(self, org: str) -> SettingsOf | None:
        """The org's."""
        return await self._settings.find(org, {})

    async def everywhere(self) -> Sequence[SettingsOf]:
        """Of every org that has said any, for jobs of the gateway itself."""
        return await self._settings.anywhere({}, limit=100_000)
