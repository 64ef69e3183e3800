"""The options of the three rules."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from asahi_kernel import Config
from asahi_kernel.types import Task

Quality: TypeAlias = Annotated[float, Meta(ge=0, le=5)]
Milliseconds: TypeAlias = Annotated[float, Meta(gt=0, le=600_000)]
Level: TypeAlias = Literal["low", "medium", "high", "max"]
Pace: TypeAlias = Literal["slow", "normal", "fast", "instant"]


class Bounds(Config, frozen=True):
    """What a task asks for; None leaves the default."""

    quality: Quality | None = None
    latency_ms: Milliseconds | None = None


class EstimateConfig(Config, frozen=True):
    """`prior_weight` is how many observations a model's own number is worth. `share_quality` lists the orgs that learn
    from each other."""

    prior_weight: Annotated[float, Meta(ge=1)] = 20.0
    half_life_days: Annotated[float, Meta(gt=0)] = 30.0
    share_quality: tuple[str, ...] = ()


class AutopilotConfig(Config, frozen=True):
    """`default_quality_threshold` raises the task's quality, `default_latency_budget_ms` replaces its latency."""

    task_table: dict[Task, Bounds] = {}
    default_quality_threshold: Quality | None = None
    default_latency_budget_ms: Milliseconds | None = None
    cautious: bool = False


class GuidedConfig(Config, frozen=True):
    """The maps are changes to what the preferences mean, `floors` to what a task asks for whatever is preferred."""

    quality_map: dict[Level, Quality] = {}
    latency_map: dict[Pace, Milliseconds] = {}
    floors: dict[Task, Bounds] = {}
    cautious: bool = False
