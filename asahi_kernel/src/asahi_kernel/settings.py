"""The shape of the configuration file, with every default. A plugin's table stays raw until its owner is known."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from asahi_kernel.factory import Config, Secret
from asahi_kernel.types import Capability

Table: TypeAlias = dict[str, Any]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]


class Api(Config, frozen=True):
    """The HTTP side. Sizes are in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    workers: Positive = 1
    allowed_hosts: tuple[str, ...] = ()
    rate_limit_per_minute: Annotated[int, Meta(ge=0)] = 100
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    require_https: bool = False
    max_body_bytes: Positive = 1 << 20
    max_inference_body_bytes: Positive = 20 << 20
    max_headers: Positive = 100
    max_header_bytes: Positive = 16 << 10
    header_timeout_s: Seconds = 10
    body_timeout_s: Seconds = 30
    max_inflight: Positive = 512
    max_queue: Annotated[int, Meta(ge=0)] = 512
    queue_timeout_s: Seconds = 2
    drain_s: Seconds = 120
    plugin_timeout_ms: Positive = 1_000
    allow_split_state: bool = False
    strict_fields: bool = False
    docs: bool = True


class ModelProfile(Config, frozen=True):
    """A model as written in the file. Prices are in dollars per 1,000 tokens; absent means unknown, never zero."""

    name: Name
    provider: str
    api_model: str | None = None
    cost_per_1k_input_tokens: Annotated[float, Meta(ge=0)] | None = None
    cost_per_1k_output_tokens: Annotated[float, Meta(ge=0)] | None = None
    cost_per_1k_cache_read_tokens: Annotated[float, Meta(ge=0)] | None = None
    cost_per_1k_cache_write_tokens: Annotated[float, Meta(ge=0)] | None = None
    avg_latency_ms: Annotated[float, Meta(gt=0)] = 500.0
    quality_score: Annotated[float, Meta(ge=0, le=5)] = 3.5
    task_quality: dict[str, Annotated[float, Meta(ge=0, le=5)]] = {}
    max_input_tokens: Positive = 128_000
    max_output_tokens: Positive = 4_096
    description: str = ""
    availability: Literal["available", "degraded", "unavailable"] = "available"
    region: Literal["us", "eu", "ap"] | None = None
    capabilities: tuple[Capability, ...] = ("tools", "vision", "json_schema", "streaming")


class Cache(Config, frozen=True):
    """What all tiers share. `tiers` None means every default tier that is installed. `max_size_gb` is what an org's
    entries may come to in one place; its own settings may say less."""

    tiers: tuple[str, ...] | None = None
    ttl_seconds: Positive = 86_400
    ttl_jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    max_entries: Positive = 10_000
    max_bytes: Positive = 256 << 20
    max_size_gb: Annotated[float, Meta(gt=0, le=10_000)] = 10.0
    cleanup_interval_seconds: Positive = 300
    timeout_ms: Positive = 250
    single_flight: bool = True
    early_refresh: bool = True


class Routing(Config, frozen=True):
    """`rules` None means every default rule that is installed, `embedding_model` None the first registered model that
    embeds."""

    rules: tuple[str, ...] | None = None
    transforms: tuple[str, ...] = ()
    embedding_model: str | None = None
    max_fallbacks: Annotated[int, Meta(ge=0, le=10)] = 3


class DefaultPolicy(Config, frozen=True):
    """What holds for an org without a policy of its own. Money is in dollars; None is no limit."""

    allowed_models: tuple[str, ...] = ()
    blocked_models: tuple[str, ...] = ()
    max_cost_per_day: Annotated[float, Meta(ge=0)] | None = None
    max_cost_per_month: Annotated[float, Meta(ge=0)] | None = None
    max_cost_per_request: Annotated[float, Meta(ge=0)] | None = None
    max_requests_per_day: Positive | None = 10_000
    max_requests_per_minute: Positive | None = None
    max_tokens_per_minute: Positive | None = None


class Governance(Config, frozen=True):
    """`policies` None means every default policy that is installed, but none in the development profile.
    `operator_org` is the one whose admins administer others. `retention_days` is how long requests are remembered;
    totals and the savings ledger stay."""

    policies: tuple[str, ...] | None = None
    default_policy: DefaultPolicy = DefaultPolicy()
    operator_org: str = "default"
    audit_dir: str = "data/audit"
    audit_checkpoint_every: Positive = 1_000
    audit_checkpoint_s: Seconds = 60
    retention_days: Positive = 365


class Plan(Config, frozen=True):
    """What an org on a plan may use at most: requests a day, models, and users with a living key."""

    requests_per_day: Positive
    models: Positive
    users: Positive


PLANS = {
    "starter": Plan(requests_per_day=1_000, models=3, users=5),
    "professional": Plan(requests_per_day=10_000, models=10, users=50),
    "enterprise": Plan(requests_per_day=100_000, models=100, users=1_000),
}


class Tenants(Config, frozen=True):
    """`plans` adds to those of the product, or replaces one of the same name. An org that was never made a tenant has
    no plan."""

    enforce_plans: bool = True
    plans: dict[str, Plan] = {}

    def plan(self, name: str) -> Plan | None:
        """The plan of that name; None when there is none, or plans are not enforced."""
        return (PLANS | self.plans).get(name) if self.enforce_plans else None

    def names(self) -> tuple[str, ...]:
        """Every plan that a tenant may have."""
        return tuple(PLANS | self.plans)


class Savings(Config, frozen=True):
    """How savings are proved. `holdout_rate` is the share of requests that the baseline model answers unoptimised, to
    compare the rest with."""

    holdout_rate: Annotated[float, Meta(ge=0, le=0.1)] = 0.0
    checkpoint_every: Positive = 1_000
    checkpoint_s: Seconds = 60


class Pricing(Config, frozen=True):
    """`baseline_model` None means the registered model of the highest quality, ties to the cheaper. `batch_factor` is
    the share of the price that a vendor with batches asks for a member of one."""

    baseline_model: str | None = None
    batch_factor: Annotated[float, Meta(gt=0, le=1)] = 0.5
    expected_output_samples: Positive = 30


class PromptCache(Config, frozen=True):
    """The vendors' caches of prompts. With `auto` Asahi marks beginnings where that repays, at most `max_markers`."""

    auto: bool = True
    max_markers: Annotated[int, Meta(ge=1, le=16)] = 4


class Streams(Config, frozen=True):
    """What happens upstream when the client leaves: `abort` cancels the call, `drain` lets it finish within the cap.
    `ping_s` is the silence after which a stream says that it still lives, on wires that have a word for it."""

    on_disconnect: Literal["abort", "drain"] = "abort"
    drain_cap_tokens: Positive = 2_000
    ping_s: Seconds = 10


class BreakerSettings(Config, frozen=True):
    consecutive_failures: Positive = 3
    open_s: Seconds = 60
    failure_rate: Annotated[float, Meta(gt=0, le=1)] = 0.5
    min_calls: Positive = 20
    first_probe_s: Seconds = 5


class HedgingSettings(Config, frozen=True):
    """A second call beside one that is slower than 95 % of those before it: for at most `share` of the calls, and
    `max_cost_per_day` dollars a day for those that lose."""

    enabled: bool = False
    share: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    max_cost_per_day: Annotated[float, Meta(ge=0)] = 1.0


class Credential(Config, frozen=True):
    """One of several keys of a provider. `weight` is its share of the calls; exchange a key by adding the new one
    before removing the old."""

    name: str
    api_key: Secret
    weight: Annotated[float, Meta(gt=0)] = 1.0


class Resilience(Config, frozen=True):
    """The kernel's part of a `providers.<name>` table; the rest of the table is the plugin's. With `trace_context` its
    host is told which trace a call belongs to."""

    keys: tuple[Credential, ...] = ()
    agreement: bool = False
    trace_context: bool = False
    first_token_timeout_s: Seconds = 15
    idle_timeout_s: Seconds = 30
    timeout_s: Seconds = 30
    stream_timeout_s: Seconds = 120
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 2
    backoff_base_s: Seconds = 0.5
    backoff_cap_s: Seconds = 8
    breaker: BreakerSettings = BreakerSettings()
    hedging: HedgingSettings = HedgingSettings()


class Journal(Config, frozen=True):
    """The record of every paid call, on disk before its answer is out. `durable` waits for the disk, `async` follows
    within 100 ms, `memory` keeps nothing. None means durable, but memory for the memory storage. Sizes are in bytes."""

    dir: str = "data/journal"
    mode: Literal["durable", "async", "memory"] | None = None
    segment_bytes: Annotated[int, Meta(ge=1 << 16)] = 64 << 20


class Encryption(Config, frozen=True):
    """The keys that seal stored values: `ASAHI_ENCRYPTION_KEYS` (`id:key,id:key`; the first seals, all open), else
    `ASAHI_ENCRYPTION_KEY`, else one that is made once in `dir`.
    `checkpoint_key` is the seed of the Ed25519 key that signs what the logs came to, likewise."""

    dir: str = "data/keys"
    key: Secret | None = None
    keys: Secret | None = None
    checkpoint_key: Secret | None = None


class Logging(Config, frozen=True):
    """`access` says of which requests there is a line: of all, of those that fail through a fault of ours or a
    provider's, or of none."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"
    access: Literal["all", "failures", "off"] = "all"


class Observability(Config, frozen=True):
    """What the operator sees of the gateway. `scrape_token` lets Prometheus in without a key, `org_label` tells orgs
    apart in metrics and names them in traces. `trace_sample_rate` is the share of requests that are traced,
    `sentry_sample_rate` of those that Sentry is told of."""

    enabled: bool = True
    scrape_token: Secret | None = None
    org_label: bool = False
    trace_sample_rate: Annotated[float, Meta(ge=0, le=1)] = 0.1
    sentry_sample_rate: Annotated[float, Meta(ge=0, le=1)] = 0.1


class Settings(Config, frozen=True):
    """The whole file.

    A plural table holds many backends by name; `auth`, `storage` and `counter` hold the only one, as a name or a table
    with `type`. `auth` None means `open` in the development profile, else keys. `storage` None means `sqlite` where
    asahi-piccolo is installed, else `memory`.
    """

    api: Api = Api()
    auth: str | Table | None = None
    storage: str | Table | None = None
    counter: str | Table = "memory"
    models: tuple[ModelProfile, ...] | None = None
    aliases: dict[str, str] = {}
    pricing: Pricing = Pricing()
    savings: Savings = Savings()
    routing: Routing = Routing()
    cache: Cache = Cache()
    governance: Governance = Governance()
    tenants: Tenants = Tenants()
    prompt_cache: PromptCache = PromptCache()
    streams: Streams = Streams()
    journal: Journal = Journal()
    encryption: Encryption = Encryption()
    logging: Logging = Logging()
    observability: Observability = Observability()
    providers: dict[str, Table] = {}
    embedders: dict[str, Table] = {}
    vector_stores: dict[str, Table] = {}
    cache_tiers: dict[str, Table] = {}
    detectors: dict[str, Table] = {}
    policies: dict[str, Table] = {}
    transforms: dict[str, Table] = {}
    rules: dict[str, Table] = {}
    sinks: dict[str, Table] = {}
    services: dict[str, Table] = {}
    profile: Literal["development", "production"] = "production"

    def __repr__(self) -> str:
        """Without the tables of plugins, which hold secrets until their owners decode them."""
        return f"Settings(profile={self.profile!r}, …)"
