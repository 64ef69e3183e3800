"""The tables `cache_tiers.exact: {type: redis}` and `counter: {type: redis}`; the short form `redis` fills both."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from asahi_kernel import Config, ConfigError, Secret

_VARIABLES = ("REDIS_URL", "REDIS_TLS_URL", "REDIS_PRIVATE_URL", "REDISCLOUD_URL")
_HINT = "write redis://user:password@host:6379/0, or rediss:// for TLS"


class ServerConfig(Config, frozen=True):
    """Where the server is. Without `url` it is `REDIS_URL`, else the local one. Each wait, for a connection or an
    answer, takes at most `timeout_ms`."""

    url: Secret | None = None
    timeout_ms: Annotated[int, Meta(ge=5, le=10_000)] = 50
    pool_size: Annotated[int, Meta(ge=1, le=1_000)] = 20


class TierConfig(ServerConfig, frozen=True):
    """`cache_prefix` stands before every key."""

    cache_prefix: Annotated[str, Meta(min_length=1, max_length=64)] = "asahi:cache"


class CounterConfig(ServerConfig, frozen=True):
    """`rate_limit_prefix` stands before every key. While the server is away each worker may hand out `slice_share` of
    every budget by itself."""

    rate_limit_prefix: Annotated[str, Meta(min_length=1, max_length=64)] = "asahi:rl"
    slice_share: Annotated[float, Meta(gt=0, le=1)] = 0.02


def url_of(config: ServerConfig) -> str:
    """The address, or `ConfigError`. It holds a password: never show it."""
    found = (os.environ[name] for name in _VARIABLES if os.environ.get(name))
    url = config.url.reveal() if config.url else next(found, "redis://localhost:6379/0")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"redis.url: this is no URL; {_HINT}") from None
    if parts.scheme not in {"redis", "rediss", "unix"} or (parts.scheme != "unix" and not parts.hostname):
        raise ConfigError(f"redis.url: {_HINT}")
    if port == 0 or parts.query:
        raise ConfigError(f"redis.url: a port from 1 to 65535 and no options after a question mark; {_HINT}")
    if parts.scheme != "unix" and not parts.path.strip("/").isdigit() and parts.path.strip("/"):
        raise ConfigError("redis.url: what follows the host is the number of a database, such as /0")
    return url
