"""The values that travel through the gateway. All frozen: a stage that wants change returns a copy.

Vendor JSON that Asahi does not need to understand travels as `bytes` holding exactly the JSON that came,
so nothing is lost between two ends that speak the same wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from asahi_kernel.errors import ProviderError
from asahi_kernel.money import Prices

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
Mode: TypeAlias = Literal["autopilot", "guided", "explicit"]
Permission: TypeAlias = Literal[
    "infer",
    "view_metrics",
    "view_cost",
    "manage_models",
    "manage_users",
    "manage_policy",
    "view_audit_log",
    "manage_billing",
]
Capability: TypeAlias = Literal[
    "tools", "vision", "audio", "file", "json_schema", "streaming", "thinking", "batch", "prompt_cache", "embeddings"
]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
Task: TypeAlias = Literal[
    "summarization",
    "reasoning",
    "faq",
    "coding",
    "translation",
    "classification",
    "creative",
    "legal",
    "extraction",
    "general",
    "recommendation",
    "support",
]
Difficulty: TypeAlias = Literal["easy", "medium", "hard"]


class Part(Struct, frozen=True, omit_defaults=True):
    """One piece of a message. Only text is understood; any other type keeps its whole JSON object in `raw`, and so does
    a text part with vendor fields."""

    type: str
    text: str | None = None
    raw: bytes = b""


class ToolCall(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model's wish to call a tool. `arguments` is the JSON text as the model wrote it, perhaps not valid JSON."""

    id: str
    name: str
    arguments: str = ""
    type: str = "function"
    extra: bytes = b""


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn. `extra` is a JSON object with the vendor's further fields, or empty."""

    role: Role
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    extra: bytes = b""

    @property
    def text(self) -> str:
        """All text of the turn, parts joined by newlines."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.text)


class Tool(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A tool offered to the model. `parameters` is its JSON Schema as JSON. `extra` is a JSON object of further fields,
    laid over ours member by member; a tool of another type than `function` is there whole."""

    type: str = "function"
    name: str = ""
    description: str | None = None
    parameters: bytes = b""
    strict: bool | None = None
    extra: bytes = b""


class Example(Struct, frozen=True):
    """One few-shot pair."""

    input: str
    output: str


class Document(Struct, frozen=True):
    """A text the question is about, apart from the question so that caches and transforms can tell them apart."""

    text: str
    id: str | None = None


class Terms(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the caller wants of the answer without shaping it: bounds, preferences, labels. Never part of a cache key.

    `cost_budget` is in nano-dollars for this request, `latency_budget_ms` bounds the predicted time to first token.
    `baseline` is the model that the caller named although Asahi may choose another. `undecided` means that the caller
    said nothing of the mode. The last two are the policies': a tier keeps nothing of the question unless `keep_prompt`,
    and `notes` become warnings of the event.
    """

    mode: Mode = "autopilot"
    undecided: bool = False
    quality_threshold: float | None = None
    latency_budget_ms: int | None = None
    baseline: str | None = None
    cost_budget: int | None = None
    quality_preference: Literal["low", "medium", "high", "max"] | None = None
    latency_preference: Literal["slow", "normal", "fast", "instant"] | None = None
    on_no_route: Literal["refuse", "best_effort"] = "refuse"
    cache: Literal["on", "off", "refresh"] = "on"
    semantic_cache: bool | None = None
    intermediate_cache: bool | None = None
    similarity_threshold: float | None = None
    task_type: Task | None = None
    task_id: str | None = None
    tags: Mapping[str, str] = {}
    stream: bool = False
    dry_run: bool = False
    client_request_id: str | None = None
    keep_prompt: bool = True
    notes: tuple[str, ...] = ()


class Request(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One inference. Every field but `terms` shapes the answer, and so is part of every cache key by construction.

    `model` is None when Asahi is to choose. `options` are further sampling fields as sorted (name, JSON) pairs. `wire`
    is set when something in the request means something on that wire only: a model of another is then no candidate.
    Without it, parts, tools, `tool_choice` and `response_format` are in OpenAI's shapes, and `parallel_tool_calls` is
    the only option.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    tools: tuple[Tool, ...] = ()
    tool_choice: bytes = b""
    response_format: bytes = b""
    document: Document | None = None
    examples: tuple[Example, ...] = ()
    wire: str = ""
    options: tuple[tuple[str, bytes], ...] = ()
    optimize_tokens: bool | None = None
    enrich_with_features: bool | None = None
    allow_batching: bool | None = None
    terms: Terms = Terms()


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one call.

    `cached_tokens` and `cache_write_tokens` are parts of `input_tokens`, `cache_write_1h_tokens` (kept for an hour, not
    minutes) of `cache_write_tokens`, and `reasoning_tokens` of `output_tokens`. `source` says who counted: the
    provider, Asahi (`estimated`), or a cache entry (`stored`).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    source: Literal["provider", "estimated", "stored"] = "provider"

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Choice(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A further answer when `n` is above 1. `message` and `choice` are as in `Completion`."""

    text: str = ""
    finish_reason: FinishReason = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    message: bytes = b""
    choice: bytes = b""


class Completion(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An answer. `usage` None means the provider did not say: Asahi then counts for itself and flags it.

    `message` and `choice` are JSON objects with vendor fields of the message (such as a refusal) and of the choice
    (such as log probabilities), or empty. `provider` and `quality` (the estimate it was chosen by) are filled in by the
    pipeline.
    """

    text: str = ""
    model: str
    usage: Usage | None = None
    finish_reason: FinishReason = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    provider: str = ""
    provider_request_id: str = ""
    message: bytes = b""
    choice: bytes = b""
    others: tuple[Choice, ...] = ()
    quality: float | None = None


class ToolCallDelta(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of the tool call at `index`; `arguments` pieces are joined in order."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    type: str | None = None
    extra: bytes = b""


class Chunk(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of a streamed answer, of choice `index`. A stream is complete only after a chunk with `finish_reason`.

    `delta` and `choice` are JSON objects with vendor fields, or empty. `usage` comes once, usually last.
    """

    text: str = ""
    index: int = 0
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    delta: bytes = b""
    choice: bytes = b""
    provider_request_id: str = ""


class Model(Struct, frozen=True, kw_only=True):
    """A registered model. `prices` None means unknown, which is never zero. `avg_latency_ms` is the prior for the time
    to first token, `quality_score` the prior for quality (0..5)."""

    name: str
    provider: str
    api_model: str
    prices: Prices | None = None
    price_version: str = "none"
    price_source: str = "unknown"
    avg_latency_ms: float = 500.0
    quality_score: float = 3.5
    task_quality: Mapping[str, float] = {}
    max_input_tokens: int = 128_000
    max_output_tokens: int = 4_096
    description: str = ""
    availability: Literal["available", "degraded", "unavailable"] = "available"
    region: Literal["us", "eu", "ap"] | None = None
    capabilities: frozenset[Capability] = frozenset()

    @property
    def embeds(self) -> bool:
        """Whether it turns texts into vectors, and does nothing else."""
        return "embeddings" in self.capabilities


class Findings(Struct, frozen=True, kw_only=True):
    """What a rule found out about a request: its task with the number of cues for each family, and how difficult it is
    as a score (0..1) and a bucket, by which version of which predictor."""

    task: Task = "general"
    confidence: float = 0.1
    matches: Mapping[str, int] = {}
    score: float = 0.0
    difficulty: Difficulty = "medium"
    predictor: str = ""


class Candidate(Struct, frozen=True, kw_only=True):
    """A model being considered for one request: `cost` is the estimate in nano-dollars, None when unpriced, and
    `input_tokens` what it rests on.

    A rule that estimates quality gives back copies with `quality`, its `interval` of 80 %, and the `findings` that it
    rests on, one object for all of them; until then quality is the model's own number.
    """

    name: str
    model: Model
    input_tokens: int = 0
    cost: int | None
    quality: float
    latency_ms: float
    interval: tuple[float, float] | None = None
    findings: Findings | None = None


class Required(Struct, frozen=True, kw_only=True):
    """The bounds that a rule held candidates against, and who set each: `caller`, `preference`, `org` or `task`."""

    quality: float
    latency_ms: float
    quality_source: str
    latency_source: str


class Verdict(Struct, frozen=True):
    """What a rule decided: who stays, in order, why the others went, which default bounds were given up, and which
    bounds it applied."""

    kept: tuple[Candidate, ...]
    dropped: Mapping[str, str] = {}
    relaxed: tuple[str, ...] = ()
    required: Required | None = None


class Principal(Struct, frozen=True, kw_only=True):
    """Who a key speaks for. The org is the tenant, and comes from nowhere else."""

    org: str
    user: str | None = None
    key_id: str | None = None
    role: Literal["admin", "developer", "viewer", "billing"] = "developer"
    permissions: frozenset[Permission] = frozenset()
    may_act_for_users: bool = False


class Hit(Struct, frozen=True, kw_only=True):
    """An answer found in a cache. `tier` is 1 exact, 2 semantic, 3 intermediate. `expires_in_s` None means that the
    tier does not say: such an entry is never refreshed early."""

    completion: Completion
    tier: Literal[1, 2, 3]
    entry_id: str
    age_s: float = 0.0
    similarity: float | None = None
    user: str | None = None
    expires_in_s: float | None = None


class Allowance(Struct, frozen=True):
    """A counter's answer. `retry_after` is in seconds and 0 when granted."""

    granted: bool
    remaining: int
    retry_after: float = 0.0


class Place(Struct, frozen=True):
    """Where a beginning of a prompt ends: after the tools and so many messages, and so many characters of the next."""

    messages: int
    characters: int = 0


class Batch(Struct, frozen=True, kw_only=True):
    """How far a batch is at its vendor.

    `results` are there once it is `done` or `cancelled`, by the id that each member was given: its answer or what went
    wrong with it. `error` says why a batch `failed` as a whole: nothing was answered.
    """

    state: Literal["queued", "running", "done", "cancelled", "failed"]
    results: Mapping[str, Completion | ProviderError] = {}
    error: str = ""


Vector: TypeAlias = tuple[float, ...]


class Embedded(Struct, frozen=True, omit_defaults=True):
    """One vector for each text, in their order. `input_tokens` None means that the provider did not say: Asahi then
    counts for itself and flags it."""

    vectors: tuple[Vector, ...]
    input_tokens: int | None
    provider_request_id: str = ""


class Match(Struct, frozen=True):
    """A neighbour found in a vector store; `score` is the cosine."""

    key: str
    score: float
    payload: bytes
