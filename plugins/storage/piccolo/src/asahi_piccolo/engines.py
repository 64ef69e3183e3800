"""Piccolo's engines, for migrations. The engine is chosen at run time by the configuration or by `DATABASE_URL`."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asahi_piccolo.config import PostgresConfig, SqliteConfig, postgres_url

if TYPE_CHECKING:
    from piccolo.engine.base import Engine

_PATIENCE_S = 60.0


def engine_for(config: SqliteConfig | PostgresConfig) -> Engine[Any]:
    """A new engine. It waits long for locks: another process may be migrating."""
    if isinstance(config, PostgresConfig):
        settings = {"statement_timeout": "0", "application_name": "asahi migrations"}
        url = postgres_url(config)
        engine: Engine[Any] = _postgres()(config={"dsn": url, "timeout": 5.0, "server_settings": settings})
        return engine
    from piccolo.engine.sqlite import SQLiteEngine

    return SQLiteEngine(path=str(Path(config.path)), timeout=_PATIENCE_S)


@cache
def _postgres() -> Any:
    from piccolo.engine.postgres import PostgresEngine

    class Quiet(PostgresEngine):
        """Piccolo connects while it is being made, only to warn of old versions: a dead server would block the loop."""

        async def check_version(self) -> None:
            """Nothing: see the class."""

    return Quiet


def from_environment() -> Engine[Any]:
    """The engine of `DATABASE_URL`, else the default file."""
    from asahi_kernel import Secret

    url = os.environ.get("DATABASE_URL", "")
    return engine_for(PostgresConfig(url=Secret(url)) if url else SqliteConfig())


def nowhere() -> Engine[Any]:
    """An SQLite database that is empty, for asking what would be done to a file that is not there yet."""
    from piccolo.engine.sqlite import SQLiteEngine

    return SQLiteEngine(path=":memory:")
