"""Reporting: each check looks at what the running gateway does, by sending a probe through its own policies or by
reading what it has kept, and not at what the profile says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from asahi_guard.demands import LONGEST_DAYS
from asahi_kernel import clock
from asahi_kernel.errors import AsahiError, Denied
from asahi_kernel.records import OWN, EventQuery
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.audit import AuditQuery
from asahi_kernel.tiers import ListingTier
from asahi_kernel.types import Message, Principal, Request, Verdict
from asahi_kernel.vault import Unsealable

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.records import Event
    from asahi_kernel.repositories.rules import ComplianceProfile

#: Nobody's: the number that card schemes give out for tests.
_PROBE = "pay with 4111 1111 1111 1111"
_SECRET = b"a value that is sealed to see whether it is"
#: How many of the org's newest requests are looked at.
_LATEST = 500


class Told(NamedTuple):
    """What a check saw."""

    passed: bool
    detail: str


class Look(NamedTuple):
    """At what a check looks."""

    gateway: Gateway
    org: str
    profile: ComplianceProfile

    @property
    def prober(self) -> Principal:
        """Who sends the probe."""
        return Principal(org=self.org, user="compliance-report")

    async def since(self) -> Sequence[Event]:
        """The org's latest requests under this profile."""
        query = EventQuery(start=self.profile.updated_at + _SOON, limit=_LATEST)
        found = await self.gateway.storage.events.newest(self.org, query)
        return [each for each in found if each.route != OWN and each.status != "unknown"]


async def encryption(look: Look) -> Told:
    """Seals a value and looks at it."""
    vault = look.gateway.vault
    sealed = vault.seal(look.org, "probe", "value", "1", _SECRET)
    if _SECRET in sealed or vault.unseal(look.org, "probe", "value", "1", sealed) != _SECRET:
        return Told(False, "a value that was sealed is readable, or is not the same any more")
    try:
        vault.unseal(look.org, "probe", "value", "2", sealed)
    except Unsealable:
        if vault.configured:
            return Told(True, "values are sealed with AES-256-GCM under a configured key, each for its own place")
        return Told(False, "values are sealed under a key that this host made for itself; set ASAHI_ENCRYPTION_KEY")
    return Told(False, "a sealed value can be moved to another place")


async def prompt_storage(look: Look) -> Told:
    """Sends a question through the policies, and looks for questions in what the caches hold."""
    try:
        terms = (await _admitted(look, "a question")).terms
    except AsahiError as error:
        return Told(False, f"the probe was refused: {error.message}")
    if terms.keep_prompt or terms.semantic_cache is not False or terms.intermediate_cache is not False:
        return Told(False, "a question would be kept by a cache: the policy 'compliance' is not in use")
    for name, tier in look.gateway.tiers.items():
        if name in look.gateway.exact_tiers:
            if isinstance(tier, ListingTier) and any([row.query async for row in tier.rows(look.org)]):
                return Told(False, f"the cache tier {name!r} still holds questions from before; clear it")
        elif await tier.entries(look.org):
            return Told(False, f"the cache tier {name!r} still holds entries from before; clear it")
    storage = look.gateway.storage
    if isinstance(storage, Governing) and await storage.repositories.bodies.holds(look.org):
        return Told(False, "prompts from before are still stored; save the profile again")
    return Told(True, "a probe is kept out of the semantic and intermediate caches, and no question is stored")


async def detection(look: Look, framework: str) -> Told:
    """Sends a card number through the policies."""
    try:
        admitted = await _admitted(look, _PROBE)
    except Denied as error:
        refused = error.code == "pii_blocked"
        return Told(refused, "a card number was refused" if refused else f"the probe was refused: {error.message}")
    except AsahiError as error:
        return Told(False, f"the probe could not be sent: {error.message}")
    if "4111" not in admitted.messages[0].text:
        return Told(True, "a card number was redacted")
    seen = any(note.startswith("pii_flagged") for note in admitted.terms.notes)
    if framework == "ccpa" and seen:
        return Told(True, "a card number was seen and flagged")
    return Told(False, "a card number went through" + (" flagged, and not redacted" if seen else " unseen"))


async def audit(look: Look) -> Told:
    """Verifies the org's chain, and looks for the org's latest requests in it."""
    storage = look.gateway.storage
    if not isinstance(storage, Governing):
        return Told(False, "this storage keeps no audit log")
    log = storage.repositories.audit
    if fault := await log.verify_chain(look.org):
        return Told(False, fault)
    asked = {each.request_id for each in await look.since() if each.timestamp < clock.now() - _SOON}
    query = AuditQuery(start=look.profile.updated_at, limit=4 * _LATEST)
    noted = {each.resource for each in await log.query(look.org, query) if each.action.startswith("inference")}
    if missing := asked - noted:
        return Told(False, f"{len(missing)} of the latest {len(asked)} requests are not in the audit log")
    return Told(True, f"the chain verifies, and the latest {len(asked)} requests are in it")


async def residency(look: Look) -> Told:
    """Looks at where the org's latest requests were answered, and at which models may answer the next."""
    wanted = look.profile.data_residency
    if wanted is None:
        return Told(False, "no region is required")
    models = look.gateway.registry.by_name
    answered = {each.model_selected for each in await look.since() if each.model_selected}
    astray = sorted(name for name in answered if name in models and models[name].region != wanted)
    if astray:
        return Told(False, f"requests were answered by {', '.join(astray)}, outside {wanted}")
    if (rule := look.gateway.rules.get("region")) is None:
        return Told(False, "the routing rule 'region' is not in use")
    from asahi_kernel.routing import consider

    request = Request(messages=(Message("user", "a question"),))
    ranking = await rule.rank(request, look.prober, consider(look.gateway.registry.chat, request))
    kept = [each.model for each in (ranking.kept if isinstance(ranking, Verdict) else ranking)]
    if any(model.region != wanted for model in kept):
        return Told(False, f"a model outside {wanted} may answer")
    return Told(True, f"{len(kept)} models may answer, all of them in {wanted}")


async def retention(look: Look) -> Told:
    """Looks for requests that should have been forgotten."""
    days = min(look.profile.retention_days, look.gateway.settings.governance.retention_days)
    if days > LONGEST_DAYS:
        return Told(False, f"requests are kept for {days} days, more than {LONGEST_DAYS}")
    before = clock.now() - timedelta(days=days) - _SWEEP
    query = EventQuery(end=before, limit=1)
    if await look.gateway.storage.events.newest(look.org, query):
        return Told(False, f"there are requests that are more than {days} days old")
    return Told(True, f"no request is more than {days} days old")


#: A profile is in force everywhere after this time, and an entry is in the log; the sweep is daily.
_SOON, _SWEEP = timedelta(seconds=1), timedelta(days=1)

_Check = Callable[[Look], Awaitable[Told]]


def _detecting(framework: str) -> _Check:
    return lambda look: detection(look, framework)


#: The checks of each framework, by the names they have in the report.
CHECKS: dict[str, dict[str, _Check]] = {
    "hipaa": {
        "encryption_at_rest": encryption,
        "prompt_storage_disabled": prompt_storage,
        "pii_detection": _detecting("hipaa"),
        "audit_logging": audit,
    },
    "soc2": {"audit_trail": audit},
    "gdpr": {"data_residency": residency, "retention_policy": retention},
    "pci_dss": {"encryption": encryption},
    "ccpa": {"pii_detection": _detecting("ccpa")},
}


async def report(gateway: Gateway, org: str, framework: str, profile: ComplianceProfile) -> dict[str, Any]:
    """All checks of a framework, and whether all of them pass."""
    look = Look(gateway, org, profile)
    told = {name: await check(look) for name, check in CHECKS[framework].items()}
    passed = sum(each.passed for each in told.values())
    return {
        "org_id": org,
        "framework": framework,
        "generated_at": clock.now(),
        "overall_status": "compliant" if passed == len(told) else "non_compliant",
        "checks_passed": passed,
        "checks_total": len(told),
        "checks": [
            {"check": name, "status": "pass" if each.passed else "fail", "detail": each.detail}
            for name, each in told.items()
        ],
    }


async def _admitted(look: Look, text: str) -> Request:
    """A probe as the policies of this package let it through; the others count and spend, and are not asked."""
    request = Request(messages=(Message("user", text),))
    for name in ("compliance", "pii"):
        if (policy := look.gateway.policies.get(name)) is not None:
            request = await policy.admit(request, look.prober)
    return request
