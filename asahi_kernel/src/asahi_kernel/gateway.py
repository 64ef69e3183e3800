"""The gateway: every backend, resolved once, opened in order, closed in reverse."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from asahi_kernel.auditing import AuditWriter
from asahi_kernel.caller import CallerAuthenticator
from asahi_kernel.detecting import Detector
from asahi_kernel.errors import AsahiError, ConfigError, Unavailable
from asahi_kernel.exposing import ExposingSink
from asahi_kernel.fingerprint import Salts
from asahi_kernel.journal import Journal
from asahi_kernel.keyring import Keyring, keyring_of
from asahi_kernel.learned import Learned
from asahi_kernel.opener import Opener
from asahi_kernel.pages import Pages
from asahi_kernel.plugins import Plugins
from asahi_kernel.prompt_cache import PromptCache
from asahi_kernel.protocols import (
    Authenticator,
    CacheTier,
    Classifier,
    Embedder,
    EvictingTier,
    ExactTier,
    Learner,
    LocalPart,
    OutputPolicy,
    Policy,
    Rule,
    Settlement,
    Sink,
    Storage,
    Transform,
    VectorStore,
    Witness,
)
from asahi_kernel.protocols import Counter as SharedCounter
from asahi_kernel.registry import Registry, build
from asahi_kernel.relay import Relay
from asahi_kernel.resilience.admission import Admission
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.resilience.early import EarlyRefresh
from asahi_kernel.resilience.flights import Flights
from asahi_kernel.resilience.retry import RetryBudget
from asahi_kernel.room import fit, room_of
from asahi_kernel.rooting import establish
from asahi_kernel.scribe import Scribe
from asahi_kernel.settings import Settings, Table
from asahi_kernel.standing import Standings
from asahi_kernel.tiers import ClaimingTier, ForewarnedTier, GuardedTier, StepwiseTier
from asahi_kernel.tracing import TracingSink
from asahi_kernel.upstream import Upstream
from asahi_kernel.vault import Vault, ephemeral, open_vault
from asahi_kernel.vetting import Clearance, Meter, Veto

DEFAULT_TIERS = ("exact", "semantic", "intermediate")
#: Younger than the others: on only where they have a table, or `cache.tiers` names them.
OPT_IN = frozenset({"semantic", "intermediate"})
#: In the order they are asked. Those in front refuse for less.
DEFAULT_POLICIES = ("models", "rate", "quota", "compliance", "pii", "injection", "budget")
DEFAULT_DETECTORS = ("builtin",)
DEFAULT_RULES = (
    "estimate",
    "explicit",
    "policy",
    "region",
    "health",
    "capability",
    "bounds",
    "autopilot",
    "guided",
    "cheapest",
    "plan",
)

#: Sinks that are open wherever they are installed, unless `observability.enabled` is false.
DEFAULT_SINKS = ("prometheus", "traces", "meters", "sentry")
#: Services that run wherever they are installed; a table of their own configures them.
DEFAULT_SERVICES = ("retention", "prompts", "checkpoints", "audit", "alerts", "erasing", "dashboard")

#: What is left for detached work once the server has ended: its own drain is over by then.
_LAST_S = 5.0


class Gateway:
    """What a request may use. Handlers hold it from the first; `running` fills it, then it is left alone."""

    storage: Storage
    counter: SharedCounter
    authenticator: Authenticator
    registry: Registry
    journal: Journal
    vault: Vault
    keyring: Keyring
    standings: Standings
    audit: AuditWriter
    #: What stands in front of the API, set by a service while it is open.
    pages: Pages | None = None
    #: Whether orgs are told of their alerts by mail.
    mails = False
    #: Who writes down prompts and answers, where there is a place for them.
    scribe: Scribe | None = None
    #: The share of requests that become spans; None where nobody makes any.
    traced_share: float | None = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.door: CallerAuthenticator | None = None
        self.embedders: Mapping[str, Embedder] = {}
        self.vector_stores: Mapping[str, VectorStore] = {}
        self.tiers: Mapping[str, CacheTier] = {}
        self.tier_breakers: Mapping[str, Breaker] = {}
        self.waiting_rules: frozenset[str] | set[str] = frozenset()
        self.relays: set[Relay] = set()
        self.waiting_tiers: frozenset[str] | set[str] = frozenset()
        self.exact_tiers: Mapping[str, CacheTier] = {}
        self.evicting_tiers: tuple[EvictingTier, ...] = ()
        self.forewarned_tiers: tuple[ForewarnedTier, ...] = ()
        self.claiming_tiers: tuple[ClaimingTier, ...] = ()
        self.guarded_tiers: frozenset[str] | set[str] = frozenset()
        self.stepwise: StepwiseTier | None = None
        self.cleared: dict[str, float] = {}
        self.detectors: Mapping[str, Detector] = {}
        self.policies: Mapping[str, Policy] = {}
        self.output_policies: tuple[OutputPolicy, ...] = ()
        self.waiting_policies: frozenset[str] | set[str] = frozenset()
        self.vetoes: tuple[Veto, ...] = ()
        self.meters: tuple[Meter, ...] = ()
        self.clearances: tuple[Clearance, ...] = ()
        self.settlements: tuple[Settlement, ...] = ()
        self.transforms: Mapping[str, Transform] = {}
        self.rules: Mapping[str, Rule] = {}
        self.learners: tuple[Learner, ...] = ()
        self.witnesses: tuple[Witness, ...] = ()
        self.classifier: Classifier | None = None
        self.upstreams: Mapping[str, Upstream] = {}
        self.sinks: Mapping[str, Sink] = {}
        self.exposing: ExposingSink | None = None
        api = settings.api
        self.admission = Admission(api.max_inflight, api.max_queue, api.queue_timeout_s)
        self.reading = asyncio.Semaphore(api.max_inflight)
        self.flights, self.retries, self.early = Flights(), RetryBudget(), EarlyRefresh()
        self.prompt_cache = PromptCache(settings.prompt_cache)
        self.learned = Learned(settings.pricing.expected_output_samples)
        self.salts, self.holdout_key = Salts(secrets.token_bytes(32)), b""
        self.faults: Counter[str] = Counter()
        self.room = room_of(self)
        self.shared: dict[str, Any] = {}
        self.mock = self.draining = self.opened = False
        self.patience_s, self.longest_s = 30.0, 120.0
        self.cautions: list[str] = []
        self.refusal: AsahiError | None = None
        self.started = time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()

    def detach(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work that must end even if the client leaves; closing the gateway waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cut(self) -> None:
        """End the streams that still run, each with a terminal error; what they generated is charged."""
        for relay in tuple(self.relays):
            relay.fail(Unavailable("the gateway is shutting down; ask again", retry_after=1))
            relay.abandon()
        for task in tuple(self._tasks):
            task.cancel()

    async def drain(self, timeout_s: float) -> None:
        """Wait for detached work, and cut what takes longer."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=5)


@asynccontextmanager
async def running(gateway: Gateway, plugins: Plugins) -> AsyncIterator[Gateway]:
    """Open each kind in turn. The order is the dependency graph: a later kind may use an earlier one."""
    settings = gateway.settings
    async with AsyncExitStack() as stack:
        opener = Opener(gateway, plugins, stack)
        await _open_storage(gateway, plugins, opener)
        gateway.holdout_key = gateway.vault.derive("holdout")
        gateway.audit = AuditWriter(gateway.storage, gateway.faults)
        gateway.counter = await opener.one("counters", "counter", settings.counter)
        await _open_stores(gateway, opener)
        gateway.authenticator = await opener.one("authenticators", "auth", _authentication(settings, plugins))
        gateway.door = gateway.authenticator if isinstance(gateway.authenticator, CallerAuthenticator) else None
        await _open_tiers(gateway, opener)
        await stack.enter_async_context(gateway.audit.writing())
        await _open_policies(gateway, opener)
        gateway.transforms = await opener.all("transforms", settings.routing.transforms, settings.transforms)
        rules = opener.installed("rules", settings.routing.rules, DEFAULT_RULES, settings.rules)
        gateway.rules = await opener.all("rules", rules, settings.rules)
        gateway.waiting_rules = {name for name, rule in gateway.rules.items() if not isinstance(rule, LocalPart)}
        gateway.learners = tuple(rule for rule in gateway.rules.values() if isinstance(rule, Learner))
        gateway.witnesses = tuple(rule for rule in gateway.rules.values() if isinstance(rule, Witness))
        gateway.classifier = next((rule for rule in gateway.rules.values() if isinstance(rule, Classifier)), None)
        gateway.upstreams = await opener.upstreams()
        gateway.patience_s = max(each.resilience.timeout_s for each in gateway.upstreams.values())
        streams_s = max(each.resilience.stream_timeout_s for each in gateway.upstreams.values())
        gateway.longest_s = max(gateway.patience_s, streams_s)
        gateway.registry = build(settings, gateway.upstreams, mock=gateway.mock)
        _check_embedding(gateway)
        observing = DEFAULT_SINKS if settings.observability.enabled else ()
        sinks = opener.installed("sinks", None, observing, settings.sinks)
        gateway.sinks = await opener.all("sinks", dict.fromkeys((*sinks, *settings.sinks)), settings.sinks)
        gateway.exposing = next((sink for sink in gateway.sinks.values() if isinstance(sink, ExposingSink)), None)
        gateway.traced_share = next(
            (sink.share for sink in gateway.sinks.values() if isinstance(sink, TracingSink)), None
        )
        gateway.journal = Journal(gateway.storage, gateway.sinks, gateway.faults, settings.journal)
        await gateway.journal.open(gateway.registry.book())
        stack.push_async_callback(gateway.journal.close)
        services = opener.installed("services", None, DEFAULT_SERVICES, settings.services)
        await opener.all("services", dict.fromkeys((*services, *settings.services)), settings.services)
        stack.push_async_callback(gateway.drain, _LAST_S)
        gateway.opened = True
        yield gateway


def storage_of(settings: Settings, plugins: Plugins) -> Table:
    """The table of the storage in force."""
    if settings.storage is None:
        return {"type": "sqlite" if "sqlite" in plugins.catalogue("storages") else "memory"}
    return {"type": settings.storage} if isinstance(settings.storage, str) else settings.storage


def _vault(settings: Settings, storage: Table) -> Vault:
    """What ends with the process needs no key that stays."""
    tiers = {str(table.get("type", name)) for name, table in settings.cache_tiers.items()}
    kept = storage.get("type") != "memory" or tiers - {"exact"} or settings.encryption.key or settings.encryption.keys
    return open_vault(settings.encryption) if kept else ephemeral()


@asynccontextmanager
async def storing(gateway: Gateway, plugins: Plugins) -> AsyncIterator[Storage]:
    """Open storage and nothing else, for commands that only look."""
    async with AsyncExitStack() as stack:
        await _open_storage(gateway, plugins, Opener(gateway, plugins, stack))
        yield gateway.storage


@asynccontextmanager
async def tending(gateway: Gateway, plugins: Plugins) -> AsyncIterator[Gateway]:
    """Open what caches rest on, and the models for their prices, but nothing that serves or records."""
    settings = gateway.settings
    async with AsyncExitStack() as stack:
        opener = Opener(gateway, plugins, stack)
        await _open_storage(gateway, plugins, opener)
        await _open_stores(gateway, opener)
        await _open_tiers(gateway, opener)
        gateway.upstreams = await opener.upstreams()
        gateway.registry = build(settings, gateway.upstreams, mock=gateway.mock)
        yield gateway


async def _open_storage(gateway: Gateway, plugins: Plugins, opener: Opener) -> None:
    """Storage, what seals it, and what it says of the orgs."""
    settings = gateway.settings
    storage = storage_of(settings, plugins)
    gateway.vault = _vault(settings, storage)
    gateway.storage = await opener.one("storages", "storage", storage)
    await establish(gateway.vault, gateway.storage, settings.encryption)
    gateway.keyring = keyring_of(gateway.storage, gateway.vault, gateway.faults)
    gateway.salts = Salts(gateway.vault.derive("cache"))

    def resized(org: str) -> None:
        if gateway.opened:
            gateway.detach(fit(gateway, org))

    default = settings.governance.default_policy
    gateway.standings = Standings(gateway.storage, default, gateway.faults, resized=resized)


async def _open_stores(gateway: Gateway, opener: Opener) -> None:
    settings = gateway.settings
    gateway.embedders = await opener.all("embedders", settings.embedders, settings.embedders)
    gateway.vector_stores = await opener.all("vector_stores", settings.vector_stores, settings.vector_stores)


async def _open_tiers(gateway: Gateway, opener: Opener) -> None:
    settings = gateway.settings
    default = [name for name in DEFAULT_TIERS if name not in OPT_IN or name in settings.cache_tiers]
    tiers = opener.installed("cache_tiers", settings.cache.tiers, default, settings.cache_tiers)
    gateway.tiers = await opener.all("cache_tiers", tiers, settings.cache_tiers)
    gateway.tier_breakers = {name: Breaker() for name in gateway.tiers}
    gateway.waiting_tiers = {name for name, tier in gateway.tiers.items() if not isinstance(tier, LocalPart)}
    gateway.exact_tiers = {
        name: tier for name, tier in gateway.tiers.items() if isinstance(tier, ExactTier) or name == "exact"
    }
    gateway.evicting_tiers = tuple(tier for tier in gateway.tiers.values() if isinstance(tier, EvictingTier))
    gateway.forewarned_tiers = tuple(tier for tier in gateway.tiers.values() if isinstance(tier, ForewarnedTier))
    gateway.guarded_tiers = {name for name, tier in gateway.tiers.items() if isinstance(tier, GuardedTier)}
    gateway.stepwise = next((tier for tier in gateway.tiers.values() if isinstance(tier, StepwiseTier)), None)
    gateway.claiming_tiers = tuple(tier for tier in gateway.tiers.values() if isinstance(tier, ClaimingTier))


async def _open_policies(gateway: Gateway, opener: Opener) -> None:
    settings = gateway.settings
    detectors = opener.installed("detectors", None, DEFAULT_DETECTORS, settings.detectors)
    gateway.detectors = await opener.all(
        "detectors", dict.fromkeys((*detectors, *settings.detectors)), settings.detectors
    )
    default = DEFAULT_POLICIES if settings.profile == "production" else ()
    policies = opener.installed("policies", settings.governance.policies, default, settings.policies)
    gateway.policies = await opener.all("policies", policies, settings.policies)
    gateway.waiting_policies = {name for name, each in gateway.policies.items() if not isinstance(each, LocalPart)}
    gateway.clearances = tuple(each for each in gateway.policies.values() if isinstance(each, Clearance))
    gateway.vetoes = tuple(each for each in gateway.policies.values() if isinstance(each, Veto))
    gateway.meters = tuple(each for each in gateway.policies.values() if isinstance(each, Meter))
    backwards = tuple(reversed(tuple(gateway.policies.values())))
    gateway.output_policies = tuple(policy for policy in backwards if isinstance(policy, OutputPolicy))
    gateway.settlements = tuple(each for each in gateway.policies.values() if isinstance(each, Settlement))


def _check_embedding(gateway: Gateway) -> None:
    """A model that the file says can embed needs a provider that can."""
    for profile in gateway.settings.models or ():
        if "embeddings" in profile.capabilities and not gateway.upstreams[profile.provider].embeds:
            raise ConfigError(
                f"models: {profile.name!r} has the capability 'embeddings', but the provider {profile.provider!r} "
                "cannot embed"
            )


def _authentication(settings: Settings, plugins: Plugins) -> str | Table:
    found = "keys" if "keys" in plugins.catalogue("authenticators") else "static"
    if settings.auth is None:
        return "open" if settings.profile == "development" else found
    return settings.auth if isinstance(settings.auth, str) else {"type": found, **settings.auth}
