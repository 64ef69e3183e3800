"""Limiting: which caches Asahi's side of a run may use, to see what each of them brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import DEFAULT_TIERS, OPT_IN

if TYPE_CHECKING:
    from asahi_kernel.plugins import Plugins
    from asahi_kernel.settings import Settings

EXACT, SEMANTIC = "exact", "semantic"


def tiers_of(settings: Settings, plugins: Plugins) -> tuple[str, ...]:
    """The tiers that the gateway would open, in the order in which they are asked."""
    if settings.cache.tiers is not None:
        return settings.cache.tiers
    installed = plugins.catalogue("cache_tiers")
    return tuple(
        name for name in DEFAULT_TIERS if name in settings.cache_tiers or (name in installed and name not in OPT_IN)
    )


def limit(settings: Settings, plugins: Plugins, most: int) -> Settings:
    """Only the tiers up to number `most`: 1 exact, 2 semantic, 3 intermediate; another counts by its place in the
    order. With 0 nothing is cached, and no call under way is shared. Where only the exact tier is left, embedders and
    vector stores stay closed."""
    kept = tuple(name for place, name in enumerate(tiers_of(settings, plugins), 1) if _number(name, place) <= most)
    cache = msgspec.structs.replace(settings.cache, tiers=kept, single_flight=settings.cache.single_flight and most > 0)
    stores: dict[str, Any] = {} if set(kept) - {EXACT} else {"embedders": {}, "vector_stores": {}}
    return msgspec.structs.replace(settings, cache=cache, **stores)


def with_semantic(settings: Settings, plugins: Plugins) -> Settings:
    """The semantic tier as well, as its own defaults are where the configuration has no table for it."""
    if SEMANTIC not in plugins.catalogue("cache_tiers"):
        raise ConfigError("the semantic tier is not installed; `pip install asahi-semantic` brings it")
    tables = {SEMANTIC: {}, **settings.cache_tiers}
    tiers = settings.cache.tiers
    if tiers is not None and SEMANTIC not in tiers:
        tiers = (*tiers, SEMANTIC)
    cache = msgspec.structs.replace(settings.cache, tiers=tiers)
    return msgspec.structs.replace(settings, cache_tiers=tables, cache=cache)


def _number(name: str, place: int) -> int:
    return DEFAULT_TIERS.index(name) + 1 if name in DEFAULT_TIERS else place
