"""The table `vector_stores.<name>` with `type: pgvector`."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, ConfigError, Secret


class StoreConfig(Config, frozen=True):
    """Without `url` it is `DATABASE_URL`. `timeout_ms` bounds every question. pgvector indexes up to 2,000
    dimensions."""

    url: Secret | None = None
    dimension: Annotated[int, Meta(ge=1, le=2_000)] = 1_024
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 5
    timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 100


def url_of(config: StoreConfig) -> str:
    """The address as the driver takes it, or `ConfigError`. It holds a password: never show it."""
    url = config.url.reveal() if config.url else os.environ.get("DATABASE_URL", "")
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgres", "postgresql"} or not rest:
        raise ConfigError(
            "vector_stores: pgvector needs 'url', or DATABASE_URL: postgresql://user:password@host:5432/name"
        )
    return f"postgresql://{rest}"
