"""Standing: what holds for an org now (its policy, compliance profile, preferences, tenancy), for every request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from asahi_kernel import preferences
from asahi_kernel.believing import Believed
from asahi_kernel.clock import monotonic
from asahi_kernel.money import nano
from asahi_kernel.preferences import Preferences, TaskNeed
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.rules import OrgPolicy

if TYPE_CHECKING:
    from asahi_kernel.repositories.people import Tenant
    from asahi_kernel.repositories.rules import ComplianceProfile
    from asahi_kernel.settings import DefaultPolicy

T = TypeVar("T")

#: Frameworks under which every inference is in the audit log.
AUDITED = frozenset({"hipaa", "soc2"})
#: Frameworks under which no prompt is stored, whatever the profile says.
UNSTORED = frozenset({"hipaa"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def allows_prompts(profile: ComplianceProfile) -> bool:
    """Whether it lets prompts and answers be stored."""
    return profile.prompt_storage_allowed and UNSTORED.isdisjoint(profile.frameworks)


class Standing(Struct, frozen=True, kw_only=True):
    """`policy` is the operator's default where the org has none; that one has version 0. `preferences_version` is 0
    while the org has never said any: then what the file says holds. `said` names the keys it has set itself."""

    org: str
    policy: OrgPolicy
    profile: ComplianceProfile | None = None
    preferences: Preferences = Preferences()
    preferences_version: int = 0
    said: frozenset[str] = frozenset()
    tenant: Tenant | None = None

    def need(self, task: str) -> TaskNeed:
        """What the org asks of a task where its caller says nothing: its own word on the task, else its policy's
        default, else that of its preferences."""
        own = self.preferences.routing.task_overrides.get(task, TaskNeed())
        policy, wanted = self.policy, self.preferences.routing
        return TaskNeed(
            quality=_first(own.quality, policy.default_quality_threshold, wanted.default_quality_threshold),
            latency_ms=_first(own.latency_ms, policy.default_latency_budget_ms, wanted.default_latency_budget_ms),
        )

    @property
    def frameworks(self) -> tuple[str, ...]:
        """What the org must comply with."""
        return () if self.profile is None else self.profile.frameworks

    @property
    def audits_inference(self) -> bool:
        """Whether each inference must be in the audit log: by a policy of the org's own, or by a framework."""
        return (self.policy.version > 0 and self.policy.require_audit_log) or not AUDITED.isdisjoint(self.frameworks)

    @property
    def may_store_prompts(self) -> bool:
        """Whether the org's compliance profile lets prompts and answers be stored."""
        return self.profile is None or allows_prompts(self.profile)

    @property
    def stores_prompts(self) -> bool:
        """Whether they are: the org wants it, and may."""
        return self.preferences.privacy.store_prompts and self.may_store_prompts


class Standings(Believed[Standing]):
    """A storage that keeps no such things leaves every org at the defaults. `resized` is told of an org whose caches
    may have another size by now."""

    def __init__(
        self,
        storage: object,
        default: DefaultPolicy,
        faults: Counter[str] | None = None,
        clock: Callable[[], float] = monotonic,
        resized: Callable[[str], object] = lambda org: None,
    ) -> None:
        self._resized = resized
        self._repositories = storage.repositories if isinstance(storage, Governing) else None
        self._default = default
        counted = faults if faults is not None else Counter[str]()
        super().__init__(self._read, "what holds for this organisation", counted, "standing.storage", clock)

    def known(self, org: str) -> Standing:
        """What was last looked up, else the defaults, without waiting. What is old is looked up meanwhile."""
        return super().known(org) or self._plain(org)

    def heard(self, org: str, before: Standing | None, now: Standing) -> None:
        if before is None or before.preferences.cache.max_size_gb != now.preferences.cache.max_size_gb:
            self._resized(org)

    async def _read(self, org: str) -> Standing:
        kept = self._repositories
        if kept is None:
            return self._plain(org)
        policy = await kept.policies.get_policy(org)
        profile = await kept.compliance.get(org)
        wanted = await kept.settings.get(org)
        tenant = await kept.tenants.get(org)
        return Standing(
            org=org,
            policy=policy or self.default(org),
            profile=profile,
            preferences=preferences.read(wanted.body) if wanted is not None else Preferences(),
            preferences_version=wanted.version if wanted is not None else 0,
            said=preferences.said(wanted.body) if wanted is not None else frozenset(),
            tenant=tenant,
        )

    def _plain(self, org: str) -> Standing:
        return Standing(org=org, policy=self.default(org))

    def default(self, org: str) -> OrgPolicy:
        """The operator's policy, for an org without one of its own."""
        given = self._default
        return OrgPolicy(
            org_id=org,
            updated_at=_EPOCH,
            version=0,
            allowed_models=given.allowed_models,
            blocked_models=given.blocked_models,
            max_cost_per_day=_nano(given.max_cost_per_day),
            max_cost_per_month=_nano(given.max_cost_per_month),
            max_cost_per_request=_nano(given.max_cost_per_request),
            max_requests_per_day=given.max_requests_per_day,
            max_requests_per_minute=given.max_requests_per_minute,
            max_tokens_per_minute=given.max_tokens_per_minute,
        )


def _first(*found: T | None) -> T | None:
    return next((each for each in found if each is not None), None)


def _nano(dollars: float | None) -> int | None:
    return None if dollars is None else nano(dollars)
