"""Storage in SQLite or PostgreSQL, from one set of tables and migrations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig

if TYPE_CHECKING:
    from click import Group

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Storage


@hookimpl
def register_storages() -> Iterable[Factory[Storage, Any]]:
    """One storage for each engine; they differ in nothing else."""
    return (Factory("sqlite", SqliteConfig, open_storage), Factory("postgres", PostgresConfig, open_storage))


@hookimpl
def register_commands(cli: Group) -> None:
    """`asahi db upgrade`, `downgrade` and `status`."""
    from asahi_piccolo.commands import db

    cli.add_command(db)


@asynccontextmanager
async def open_storage(config: StorageConfig, gateway: Gateway) -> AsyncIterator[Storage]:
    """Piccolo and the drivers are imported here, not before."""
    from asahi_piccolo.storage import open_storage as open_database

    async with open_database(config, gateway.vault, gateway.faults) as storage:
        yield storage
