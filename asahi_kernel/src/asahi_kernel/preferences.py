"""Preferences: what an org wants of the gateway, as `/settings` keeps it. The file's `settings` are the operator's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T", bound=Struct)
log = logging.getLogger(__name__)

Hours: TypeAlias = Annotated[int, Meta(ge=1, le=8_760)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Quality: TypeAlias = Annotated[float, Meta(ge=0, le=5)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=50, le=30_000)]
Mail: TypeAlias = Annotated[str, Meta(max_length=254, pattern=r"^$(?!\n)|^[^@\s,;<>]+@[^@\s,;<>]+$(?!\n)")]
Action: TypeAlias = Literal["off", "flag", "redact", "block"]
InjectionAction: TypeAlias = Literal["off", "log", "flag", "block"]


class General(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the org is, and what it wants to be told. `api_base_url` is for display only."""

    organisation_name: Annotated[str, Meta(max_length=255)] = ""
    contact_email: Mail = ""
    api_base_url: Annotated[str, Meta(max_length=255)] = ""
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    notifications: bool = True
    email_alerts: bool = False
    weekly_report: bool = False
    alert_emails: Annotated[tuple[Mail, ...], Meta(max_length=20)] = ()


class Caching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What its caches may do. `t2_threshold` overrides the table by task; `max_size_gb` bounds all tiers together."""

    t1_enabled: bool = True
    t1_ttl_hours: Hours = 24
    t2_enabled: bool = True
    t2_cost_sensitivity: Literal["high", "medium", "low"] = "medium"
    t2_threshold: Share | None = None
    t2_max_error_rate: Annotated[float, Meta(ge=0, le=0.2)] = 0.01
    t3_enabled: bool = True
    t3_ttl_hours: Hours = 24
    max_size_gb: Annotated[float, Meta(gt=0, le=10_000)] = 10
    auto_cleanup: bool = True


class TaskNeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a task needs where the caller says nothing."""

    quality: Quality | None = None
    latency_ms: Milliseconds | None = None


class Choosing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How its requests are routed where the caller says nothing."""

    default_mode: Literal["autopilot", "guided"] = "autopilot"
    default_quality_threshold: Quality | None = None
    default_latency_budget_ms: Milliseconds | None = None
    task_overrides: Annotated[dict[str, TaskNeed], Meta(max_length=20)] = {}
    optimize_tokens: bool = False
    allow_batching: bool = False
    enrich_with_features: bool = False
    share_quality: bool = False
    cautious: bool = False


class Privacy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of its prompts, and what is done about what stands in them."""

    store_prompts: bool = False
    pii_action: Action = "flag"
    injection_action: InjectionAction = "log"


class Preferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it, with every default."""

    general: General = General()
    cache: Caching = Caching()
    routing: Choosing = Choosing()
    privacy: Privacy = Privacy()


def read(body: Mapping[str, Any]) -> Preferences:
    """What was kept. A group that this version cannot read any more is at its defaults, and the log says so."""
    return Preferences(
        general=_group(body, "general", General),
        cache=_group(body, "cache", Caching),
        routing=_group(body, "routing", Choosing),
        privacy=_group(body, "privacy", Privacy),
    )


def said(body: Mapping[str, Any]) -> frozenset[str]:
    """The keys that stand in what was kept, as `group.key`."""
    return frozenset(f"{group}.{key}" for group, keys in body.items() for key in keys)


def _group(body: Mapping[str, Any], name: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(body.get(name, {}), kind)
    except msgspec.ValidationError as error:
        log.warning("the settings of group %r cannot be read any more: %s", name, error)
        return kind()
