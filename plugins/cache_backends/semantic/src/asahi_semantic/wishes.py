"""Wishes: what an org wants of the semantic cache: its own settings where it has any, else what the file says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.standing import Standing
    from asahi_semantic.config import SemanticConfig
    from asahi_semantic.thresholds import Sensitivity


class Wishes(Struct, frozen=True, kw_only=True):
    """`threshold` is the org's own for all tasks, over the table and over the file."""

    enabled: bool
    max_error_rate: float
    sensitivity: Sensitivity
    threshold: float | None = None


Wanted: TypeAlias = Callable[[str], Wishes]


def of_file(config: SemanticConfig) -> Wishes:
    """What the file says."""
    return Wishes(
        enabled=config.enabled and config.max_error_rate > 0,
        max_error_rate=config.max_error_rate,
        sensitivity=config.cost_sensitivity,
    )


def of_org(config: SemanticConfig, standing: Standing) -> Wishes:
    """What the org says, if it has ever saved its settings. What the file switches off stays off."""
    if not standing.preferences_version:
        return of_file(config)
    cache = standing.preferences.cache
    return Wishes(
        enabled=config.enabled and cache.t2_enabled and cache.t2_max_error_rate > 0,
        max_error_rate=cache.t2_max_error_rate,
        sensitivity=cache.t2_cost_sensitivity,
        threshold=cache.t2_threshold,
    )
