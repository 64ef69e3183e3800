"""The tables `storage: {type: sqlite}` and `storage: {type: postgres}`."""

from __future__ import annotations

import os
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta

from asahi_kernel import Config, ConfigError, Secret

Migrate: TypeAlias = Literal["start", "manual", "check"]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=100, le=600_000)]


class SqliteConfig(Config, frozen=True):
    """`path` is made with its folder, readable by nobody else. `migrate`: `start` brings the schema up to date while
    opening, `check` refuses to work on another schema, `manual` does neither."""

    path: Annotated[str, Meta(min_length=1)] = "data/asahi.db"
    migrate: Migrate = "start"
    statement_timeout_ms: Milliseconds = 5_000


class PostgresConfig(Config, frozen=True):
    """Without `url` it is `DATABASE_URL`. A statement, or a wait for a connection, takes at most
    `statement_timeout_ms`."""

    url: Secret | None = None
    pool_size: Annotated[int, Meta(ge=2, le=200)] = 10
    migrate: Migrate = "start"
    statement_timeout_ms: Milliseconds = 5_000


StorageConfig: TypeAlias = SqliteConfig | PostgresConfig


def postgres_url(config: PostgresConfig) -> str:
    """The URL as the driver takes it, or `ConfigError`. It holds a password: never show it."""
    url = config.url.reveal() if config.url else os.environ.get("DATABASE_URL", "")
    if not url:
        raise ConfigError("storage: 'url' is missing; set it, or the variable DATABASE_URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("storage.url: this is no URL; write postgresql://user:password@host:5432/name") from None
    scheme, _, driver = parts.scheme.partition("+")
    if scheme not in {"postgres", "postgresql"} or driver not in {"", "asyncpg", "psycopg", "psycopg2"}:
        raise ConfigError("storage.url: write postgresql://user:password@host:5432/name")
    if not parts.path.strip("/"):
        raise ConfigError("storage.url: the name of the database is missing after the host")
    if port == 0:
        raise ConfigError("storage.url: the port must be from 1 to 65535")
    return f"postgresql://{url.partition('://')[2]}"


def checked_path(config: SqliteConfig) -> str:
    """The path of the file, or `ConfigError`."""
    if ":memory:" in config.path or config.path.startswith("file:"):
        raise ConfigError("storage.path: this must be a file; to keep nothing use 'storage: memory'")
    if "\x00" in config.path:
        raise ConfigError("storage.path: a path has no NUL")
    return config.path
