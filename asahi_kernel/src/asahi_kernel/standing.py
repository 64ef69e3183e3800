"""Standing: what holds for an org now (its policy, compliance profile, preferences, tenancy), for every request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from asahi_kernel import preferences
from asahi_kernel.errors import Unavailable
from asahi_kernel.money import nano
from asahi_kernel.preferences import Preferences, TaskNeed
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.rules import OrgPolicy

if TYPE_CHECKING:
    from asahi_kernel.repositories.people import Tenant
    from asahi_kernel.repositories.rules import ComplianceProfile
    from asahi_kernel.settings import DefaultPolicy

log = logging.getLogger(__name__)
T = TypeVar("T")

#: A change is in force on every worker within this time; past half of it a standing is looked up beside the request.
_FRESH_S = 1.0
#: How long a standing is believed while storage is away.
_KEPT_S = 300.0
_STORAGE_S = 2.0
#: A frozen storage keeps nobody waiting longer than this for what is known already.
_WAIT_S = 0.25
_ORGS = 10_000
#: Frameworks under which every inference is in the audit log.
AUDITED = frozenset({"hipaa", "soc2"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class _Known(Struct):
    standing: Standing
    at: float
    failing: bool = False


class Standings:
    """Looked up in storage once a second for each org that asks, and believed for five minutes while that is away. A
    storage that keeps no such things leaves every org at the defaults."""

    def __init__(
        self,
        storage: object,
        default: DefaultPolicy,
        faults: Counter[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repositories = storage.repositories if isinstance(storage, Governing) else None
        self._default = default
        self._faults = faults if faults is not None else Counter()
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Standing]] = {}

    async def of(self, org: str) -> Standing:
        """What holds now. Raises `Unavailable` when storage is away and nothing is known of the org."""
        if self._repositories is None:
            return self._plain(org)
        known = self._known.get(org)
        if known is None:
            return await self._look(org)
        age = self._clock() - known.at
        if age >= _KEPT_S:
            return await self._look(org)
        if age >= _FRESH_S and not known.failing:
            try:
                async with asyncio.timeout(_WAIT_S):
                    return await self._look(org)
            except (Unavailable, TimeoutError):
                known.failing = True
                return known.standing
        if age >= _FRESH_S / 2:
            self._start(org)
        return known.standing

    def fresh(self, org: str) -> Standing | None:
        """The same without waiting, if it was looked up a moment ago; None where `of` must be asked."""
        known = self._known.get(org)
        return known.standing if known is not None and self._clock() - known.at < _FRESH_S / 2 else None

    def known(self, org: str) -> Standing:
        """The same without waiting: what was last looked up, else the defaults. What is old is looked up meanwhile."""
        known = self._known.get(org)
        if self._repositories is not None and (known is None or self._clock() - known.at >= _FRESH_S / 2):
            self._start(org)
        return self._plain(org) if known is None else known.standing

    def forget(self, org: str) -> None:
        """It was changed here: look it up again at once."""
        self._known.pop(org, None)

    async def _look(self, org: str) -> Standing:
        return await asyncio.shield(self._start(org))

    def _start(self, org: str) -> asyncio.Task[Standing]:
        """Callers for one org wait for one look."""
        task = self._looking.get(org)
        if task is None:
            task = self._looking[org] = asyncio.get_running_loop().create_task(self._load(org))
            task.add_done_callback(lambda done: self._done(org, done))
        return task

    def _done(self, org: str, task: asyncio.Task[Any]) -> None:
        self._looking.pop(org, None)
        if not task.cancelled():
            task.exception()

    async def _load(self, org: str) -> Standing:
        assert self._repositories is not None
        kept, began = self._repositories, self._clock()
        try:
            async with asyncio.timeout(_STORAGE_S):
                policy = await kept.policies.get_policy(org)
                profile = await kept.compliance.get(org)
                wanted = await kept.settings.get(org)
                tenant = await kept.tenants.get(org)
        except Exception as error:
            self._faults["standing.storage"] += 1
            if (known := self._known.get(org)) is not None:
                known.failing = True
            raise Unavailable(
                "what holds for this organisation cannot be looked up", code="storage_unavailable", retry_after=5
            ) from error
        standing = Standing(
            org=org,
            policy=policy or self.default(org),
            profile=profile,
            preferences=preferences.read(wanted.body) if wanted is not None else Preferences(),
            preferences_version=wanted.version if wanted is not None else 0,
            said=preferences.said(wanted.body) if wanted is not None else frozenset(),
            tenant=tenant,
        )
        self._known[org] = _Known(standing, began)
        self._known.move_to_end(org)
        if len(self._known) > _ORGS:
            self._known.popitem(last=False)
        return standing

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
