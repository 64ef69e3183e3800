"""The tables `cache_tiers.semantic`, `cache_tiers.intermediate` and `vector_stores.numpy`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asahi_kernel import Config

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]


class LocalConfig(Config, frozen=True):
    """The local embedder takes no options."""


class NumpyConfig(Config, frozen=True):
    """`path` None means `data/vectors`, but nothing on disk with the memory storage. From `index_from` vectors in a
    namespace on, search goes through usearch where it is installed."""

    path: str | None = None
    index_from: Count = 10_000


class IntermediateConfig(Config, frozen=True):
    """Requests that are answered in steps. `shapes` are the kinds that are split: a shape that lowers the quality of
    your answers should be left out."""

    enabled: bool = True
    shapes: tuple[Literal["comparison", "questions", "document"], ...] = ("questions", "document", "comparison")
    max_steps: Annotated[int, Meta(ge=2, le=10)] = 10
    min_document_tokens: Count = 1_500
    ttl_seconds: Count = 86_400


class SemanticConfig(Config, frozen=True):
    """`embedder` and `vector_store` name tables of the configuration; `local` and `numpy` need none. `path` is as in
    `vector_stores.numpy`. Times are in milliseconds, `embed_cost_per_1k_tokens` is in dollars."""

    enabled: bool = True
    embedder: str = "local"
    vector_store: str = "numpy"
    path: str | None = None
    top_k: Annotated[int, Meta(ge=1, le=50)] = 5
    thresholds: dict[str, Share] = {}
    cost_sensitivity: Literal["high", "medium", "low"] = "medium"
    max_error_rate: Annotated[float, Meta(ge=0, le=0.2)] = 0.01
    error_basis: Literal["hits", "requests"] = "hits"
    recheck_rate: Share = 0.02
    mistake_factor: Annotated[float, Meta(ge=0)] = 20
    max_temperature: Annotated[float, Meta(ge=0)] = 0.5
    max_characters: Count = 8_000
    max_turns: Annotated[int, Meta(ge=0)] = 4
    max_entries: Count = 100_000
    context: Literal["off", "template", "model"] = "off"
    context_model: str | None = None
    context_timeout_ms: Count = 2_000
    embed_cost_per_1k_tokens: Annotated[float, Meta(ge=0)] | None = None
    embed_timeout_ms: Count = 200
    store_timeout_ms: Count = 100
