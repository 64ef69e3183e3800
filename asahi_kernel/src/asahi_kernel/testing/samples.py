"""The values that the contracts share: one question, its answer, two tenants, two models."""

from __future__ import annotations

from datetime import UTC, datetime

from asahi_kernel.identity import new_id
from asahi_kernel.money import Prices, per_million
from asahi_kernel.records import Considered, Decision, Event, RuleNote
from asahi_kernel.types import Candidate, Completion, Message, Model, Principal, Request, Usage

ASK = Request(messages=(Message("user", "What is the capital of France?"),))
PARIS = Completion(text="Paris.", model="model-a", provider="mock", usage=Usage(8, 2))
HERE = Principal(org="here", user="ann", permissions=frozenset({"infer", "view_metrics", "view_cost"}))
THERE = Principal(org="there", user="bob", permissions=frozenset({"infer", "view_metrics", "view_cost"}))
MODEL = Model(
    name="model-a",
    provider="mock",
    api_model="model-a",
    prices=Prices(input=per_million(1), output=per_million(2)),
    capabilities=frozenset({"tools", "streaming"}),
)
EMBEDDING_MODEL = Model(
    name="model-e",
    provider="mock",
    api_model="model-e",
    prices=Prices(input=per_million(1), output=0),
    capabilities=frozenset({"embeddings"}),
)


def candidate(name: str = "model-a", *, cost: int | None = 1_000, quality: float = 4.0, ms: float = 100) -> Candidate:
    """A candidate of any worth."""
    import msgspec

    model = msgspec.structs.replace(MODEL, name=name, quality_score=quality, avg_latency_ms=ms)
    return Candidate(name=name, model=model, cost=cost, quality=quality, latency_ms=ms)


def event(org: str = "here", **fields: object) -> Event:
    """A settled request."""
    values: dict[str, object] = {
        "request_id": new_id(),
        "timestamp": datetime.now(UTC),
        "org_id": org,
        "route": "/infer",
        "status": "ok",
        "model_selected": "model-a",
        "provider": "mock",
        "cost": 12,
        "baseline_cost": 30,
        "saved": 18,
        "saved_by": {"routing": 18},
    }
    return Event(**(values | fields))  # type: ignore[arg-type]


def decision(settled: Event) -> Decision:
    """The decision of a settled request."""
    return Decision(
        request_id=settled.request_id,
        org_id=settled.org_id,
        user_id=settled.user_id,
        timestamp=settled.timestamp,
        mode="autopilot",
        task_type="general",
        required={},
        lookups=(),
        candidates=(Considered(name="model-a", quality=4.0, latency_ms=100, cost=1_000, interval=(3.5, 4.5)),),
        rules=(RuleNote(rule="bounds", dropped={"model-b": "quality 3.00 < 3.50"}, order=("model-a",)),),
        chosen="model-a",
        reason="the only one",
        sources={"quality": "caller"},
    )
