"""Bringing the schema up to date and back, once however many processes start together.

Piccolo runs the migrations but takes no lock: of four processes that start together one crashes. So everything, from
looking what has run to recording it, happens in one transaction that holds a lock: an advisory one on PostgreSQL, that
of the file on SQLite. A migration that fails leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout, suppress
from types import ModuleType
from typing import Any

from msgspec import Struct
from piccolo.apps.migrations.auto.migration_manager import AddColumnClass, MigrationManager
from piccolo.apps.migrations.tables import Migration
from piccolo.engine.base import Engine
from piccolo.table import Table

from asahi_piccolo import piccolo_conf
from asahi_piccolo.migrations import ALL

APP = "asahi"
_LOCK = 0x6173616869  # "asahi"
#: Piccolo's tables find their engine through a module of the process, so one migration runs at a time in it.
_turn = threading.Lock()


class State(Struct, frozen=True):
    """Which migrations have run, and which are still to come. `unknown` are those of a newer release."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...] = ()


async def upgrade(engine: Engine[Any], migrations: Sequence[ModuleType] = ALL) -> tuple[str, ...]:
    """Run what has not run yet; which those were."""
    async with _locked(engine):
        state = await _state(migrations)
        for module in migrations:
            if module.ID in state.pending:
                await _run(engine, module)
                await Migration.insert(Migration(name=module.ID, app_name=APP))
    return state.pending


async def downgrade(engine: Engine[Any], steps: int = 1, migrations: Sequence[ModuleType] = ALL) -> tuple[str, ...]:
    """Undo the last migrations that ran; which those were. Their tables go with all that is in them."""
    async with _locked(engine):
        state = await _state(migrations)
        if state.unknown:
            raise LookupError(state.unknown[-1])
        doomed = state.applied[::-1][:steps]
        for module in reversed(migrations):
            if module.ID in doomed:
                await _run(engine, module, backwards=True)
                await Migration.delete().where((Migration.name == module.ID) & (Migration.app_name == APP))
    return doomed


async def status(engine: Engine[Any], migrations: Sequence[ModuleType] = ALL) -> State:
    """What has run, without changing anything."""
    async with _using(engine):
        return await _state(migrations)


async def preview(engine: Engine[Any], migrations: Sequence[ModuleType] = ALL) -> str:
    """The SQL that an upgrade would run now."""
    async with _using(engine):
        state = await _state(migrations)
        written = [f"-- {module.ID}\n{await _sql(module)}" for module in migrations if module.ID in state.pending]
    return "\n".join(written)


@asynccontextmanager
async def _using(engine: Engine[Any]) -> AsyncIterator[None]:
    """Piccolo finds this engine, and nothing of it remains afterwards."""
    while not _turn.acquire(blocking=False):  # noqa: ASYNC110 - other loops of the process wait here too
        await asyncio.sleep(0.01)
    before = os.environ.get("PICCOLO_CONF")
    os.environ["PICCOLO_CONF"] = "asahi_piccolo.piccolo_conf"
    token = piccolo_conf.engine.set(engine)
    Migration._meta.db = engine
    try:
        yield
    finally:
        piccolo_conf.engine.reset(token)
        if before is None:
            os.environ.pop("PICCOLO_CONF", None)
        else:
            os.environ["PICCOLO_CONF"] = before
        _turn.release()


@asynccontextmanager
async def _locked(engine: Engine[Any]) -> AsyncIterator[None]:
    async with _using(engine):
        if engine.engine_type == "sqlite":
            from piccolo.engine.sqlite import TransactionType

            transaction = engine.transaction(transaction_type=TransactionType.immediate)
        else:
            transaction = engine.transaction()
        async with _closing(transaction):
            if engine.engine_type != "sqlite":
                await Migration.raw("SELECT pg_advisory_xact_lock({})", _LOCK)
            if not await Migration.table_exists():
                await Migration.create_table()
            yield


@asynccontextmanager
async def _closing(transaction: Any) -> AsyncIterator[None]:
    """Piccolo leaves the connection open when a transaction does not begin or cannot be undone; SQLite's would then
    keep its thread, and with it the process."""
    try:
        async with transaction:
            yield
    finally:
        connection = getattr(transaction, "connection", None)
        if connection is not None:
            with suppress(Exception):
                await connection.close()


async def _state(migrations: Sequence[ModuleType]) -> State:
    ran = await Migration.get_migrations_which_ran(app_name=APP) if await Migration.table_exists() else []
    known = [module.ID for module in migrations]
    return State(
        applied=tuple(each for each in known if each in ran),
        pending=tuple(each for each in known if each not in ran),
        unknown=tuple(sorted(set(ran) - set(known))),
    )


async def _run(engine: Engine[Any], module: ModuleType, *, backwards: bool = False) -> None:
    for statement in getattr(module, "DROPS", ()) if backwards else ():
        await Migration.raw(statement)
    with redirect_stdout(io.StringIO()):  # Piccolo tells every step to the terminal
        await _manager(module).run(backwards=backwards)
    if not backwards:
        for statement in (*module.INDEXES, *getattr(module, "FILLS", ())):
            await Migration.raw(statement)
    else:
        for statement in getattr(module, "EMPTIES", ()):
            await Migration.raw(statement)


async def _sql(module: ModuleType) -> str:
    told = io.StringIO()
    manager = _manager(module)
    manager.preview = True
    with redirect_stdout(told):
        await manager._run_add_tables()
        await manager._run_add_columns()
    lines = [line.strip() for line in told.getvalue().splitlines() if line.strip()]
    return "\n".join([*lines, *(f"{each};" for each in (*module.INDEXES, *getattr(module, "FILLS", ())))])


def _manager(module: ModuleType) -> MigrationManager:
    manager = MigrationManager(migration_id=module.ID, app_name=APP)
    for table in module.CREATES:
        _create(manager, table)
    for table, columns in getattr(module, "ADDS", {}).items():
        for name, column in columns.items():
            column._meta.name = name
            manager.add_columns.append(AddColumnClass(column, table.title(), table, None))
    return manager


def _create(manager: MigrationManager, table: type[Table]) -> None:
    meta = table._meta
    manager.add_table(table.__name__, meta.tablename)
    for column in meta.columns:
        manager.add_columns.append(AddColumnClass(column.copy(), table.__name__, meta.tablename, None))
