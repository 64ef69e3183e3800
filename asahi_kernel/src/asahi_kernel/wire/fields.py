"""The fields that are Asahi's own, the same on every inference route: their names, types and ranges."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from asahi_kernel.types import Mode, Task

Id: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9][a-z0-9_-]{0,62}\Z",
        description="an id: 1 to 63 of a-z, 0-9, '_' and '-', not starting with '_' or '-'",
    ),
]
ModelName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A(?!.*\.\.)[A-Za-z0-9@][A-Za-z0-9._:/@+-]{0,254}\Z",
        description="a model name: 1 to 255 of letters, digits and '._:/@+-', without '..'",
    ),
]
DocumentId: TypeAlias = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,128}\Z", description="1 to 128 of letters, digits, '.', '_', ':' and '-'")
]
Label: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[^\x00-\x1f\x7f-\x9f<>*`]{1,128}\Z",
        description="1 to 128 characters, without control characters, '<', '>', '*' and '`'",
    ),
]
TagKey: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9 ._:/-]{0,63}\Z",
        description="1 to 64 of letters, digits, blanks and '._:/-', without '..'",
    ),
]
TagValue: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A(?!.*(?:\.\./|\$\{|\{\{))[^\x00-\x1f\x7f-\x9f<>*`]{0,512}\Z",
        description="at most 512 characters, without control characters, '<', '>', '*', '`', '../' and templates",
    ),
]
Tags: TypeAlias = Annotated[dict[TagKey, TagValue], Meta(max_length=16)]
Bound: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Shot: TypeAlias = Annotated[str, Meta(min_length=1, max_length=20_000)]


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """One few-shot example as it is sent."""

    input: Shot
    output: Shot


class AsahiFields(Struct, frozen=True, kw_only=True):
    """Every field that any inference route takes beside its own."""

    document: Annotated[str, Meta(min_length=1, max_length=1_000_000)] | None = None
    document_id: DocumentId | None = None
    examples: Annotated[tuple[Pair, ...], Meta(max_length=50)] = ()
    task_type: Task | None = None
    task_id: Label | None = None
    model_override: ModelName | None = None
    routing_mode: Mode | None = None
    quality_preference: Literal["low", "medium", "high", "max"] | None = None
    latency_preference: Literal["slow", "normal", "fast", "instant"] | None = None
    quality_threshold: Annotated[float, Meta(ge=0, le=5)] | None = None
    latency_budget_ms: Annotated[int, Meta(ge=50, le=30_000)] | None = None
    cost_budget: Annotated[float, Meta(ge=0, le=10_000)] | None = None
    on_no_route: Literal["refuse", "best_effort"] = "refuse"
    cache: Literal["on", "off", "refresh"] = "on"
    semantic_cache: bool | None = None
    intermediate_cache: bool | None = None
    similarity_threshold: Annotated[float, Meta(ge=0.5, le=1)] | None = None
    optimize_tokens: bool | None = None
    enrich_with_features: bool | None = None
    allow_batching: bool | None = None
    deadline_s: Annotated[int, Meta(ge=600, le=86_400)] | None = None
    user_id: Id | None = None
    organization_id: Id | None = None
    tags: Tags = {}
    dry_run: bool = False


NAMES = frozenset(AsahiFields.__struct_fields__)
