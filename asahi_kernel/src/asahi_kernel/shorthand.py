"""Short forms of configuration: one table, or one variable of the environment, that stands for several tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asahi_kernel.errors import ConfigError

if TYPE_CHECKING:
    from asahi_kernel.settings import Table

#: Hosts set one of these; the first that has a value counts.
REDIS = ("REDIS_URL", "REDIS_TLS_URL", "REDIS_PRIVATE_URL", "REDISCLOUD_URL")
#: Which of the keys of `redis` the exact tier takes, and which the counter.
_TIER = ("url", "cache_prefix", "timeout_ms", "pool_size")
_COUNTER = ("url", "rate_limit_prefix", "timeout_ms", "pool_size")


def share_redis(tree: Table, env: Mapping[str, str]) -> None:
    """`redis`, or its address in the environment: the exact tier and the counter are there, unless their own tables say
    otherwise. Raises `ConfigError`."""
    given = tree.pop("redis", None)
    found = next((name for name in REDIS if env.get(name)), None)
    if given is None and found is None:
        return
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise ConfigError("redis: this must be a table, such as {url: redis://localhost:6379/0}")
    known = {*_TIER, *_COUNTER}
    if unknown := [key for key in given if key not in known]:
        raise ConfigError(f"redis: unknown key {str(unknown[0])[:32]!r}. Known: {', '.join(sorted(known))}")
    table = {"url": f"${{{found}}}", **given} if found else given
    _lay_under(tree.setdefault("cache_tiers", {}), "exact", {key: table[key] for key in _TIER if key in table})
    _lay_under(tree, "counter", {key: table[key] for key in _COUNTER if key in table})


def _lay_under(tree: Any, name: str, table: Table) -> None:
    """Values for a table that is of the type `redis` or does not say."""
    if not isinstance(tree, dict):
        return
    own = tree.get(name) or {}
    own = {"type": own} if isinstance(own, str) else own
    if isinstance(own, dict) and own.get("type", "redis") == "redis":
        tree[name] = {"type": "redis", **table, **own}
