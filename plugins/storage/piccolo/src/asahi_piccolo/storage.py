"""The storage: one set of repositories over either engine, opened whether or not the database is there yet."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asahi_kernel import ConfigError
from asahi_kernel.keyring import Keyring
from asahi_kernel.repositories import Repositories
from asahi_kernel.repositories.work import DataKeys
from asahi_kernel.vault import Vault
from asahi_piccolo import migrating
from asahi_piccolo.books import StoredBooks
from asahi_piccolo.budgets import StoredBudgets
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig, checked_path, postgres_url
from asahi_piccolo.database import AUDIT, Database, Gate
from asahi_piccolo.engines import engine_for
from asahi_piccolo.events import StoredDecisions, StoredEvents
from asahi_piccolo.keeping import StoredDeadLetters, StoredIdempotency, StoredPrices, StoredRetention
from asahi_piccolo.ledger import StoredLedger
from asahi_piccolo.purging import StoredPurge
from asahi_piccolo.records import Alone, StoredRows
from asahi_piccolo.rollups import StoredRollups
from asahi_piccolo.sealing import StoredSeals

log = logging.getLogger(__name__)

_FIRST_S = 0.2
_LONGEST_S = 5.0
#: The start waits so long for a database, then serves without it.
_PATIENCE_S = 10.0


class PiccoloStorage:
    """Every repository of one database, and the keys of its subjects."""

    def __init__(self, name: str, database: Database, vault: Vault, faults: Counter[str] | None = None) -> None:
        self.name = name
        self._database = database
        self.keyring = Keyring(vault, DataKeys(StoredRows(Alone(database))), faults)
        self.books = StoredBooks(database)
        self.events = StoredEvents(database)
        self.decisions = StoredDecisions(database)
        self.rollups = StoredRollups(database)
        self.ledger = StoredLedger(database)
        self.prices = StoredPrices(database)
        self.dead_letters = StoredDeadLetters(database, vault)
        self.retention = StoredRetention(database)
        self.idempotency = StoredIdempotency(database, self.keyring)
        self.repositories = Repositories(StoredRows(Alone(database), self.keyring))
        self.budgets = StoredBudgets(database)
        self.purge = StoredPurge(database)
        self.seals = StoredSeals(database, self.keyring)

    @asynccontextmanager
    async def together(self) -> AsyncIterator[Repositories]:
        """One transaction. Blocks take turns, so that an audit chain never forks."""
        async with self._database.transaction(AUDIT) as session:
            yield Repositories(StoredRows(session, self.keyring, session=True))

    async def ping(self) -> None:
        """Raises `Unavailable` unless the database answers, takes writes, and has the right schema."""
        await self._database.ping()


@asynccontextmanager
async def open_storage(
    config: StorageConfig, vault: Vault, faults: Counter[str] | None = None
) -> AsyncIterator[PiccoloStorage]:
    """A database that is down does not stop the start: the storage says `Unavailable` until it is there, brings the
    schema up to date then, and needs no restart."""
    gate = Gate()
    database = _database(config, gate)
    preparing: asyncio.Task[None] | None = None
    try:
        if config.migrate == "manual":
            gate.open()
        else:
            preparing = await _begun(config, gate)
        name = "postgres" if isinstance(config, PostgresConfig) else "sqlite"
        yield PiccoloStorage(name, database, vault, faults)
    finally:
        if preparing is not None:
            preparing.cancel()
            await asyncio.wait({preparing})
        await database.close()


async def _begun(config: StorageConfig, gate: Gate) -> asyncio.Task[None]:
    """Wait for the first attempt, but not for ever: it goes on while the gateway serves. What it finds wrong with the
    configuration stops the start."""
    tried = asyncio.Event()
    preparing = asyncio.get_running_loop().create_task(_prepare(config, gate, tried))
    waiting = asyncio.get_running_loop().create_task(tried.wait())
    try:
        await asyncio.wait({preparing, waiting}, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        preparing.cancel()
        raise
    finally:
        waiting.cancel()
    if preparing.done():
        preparing.result()
    elif not tried.is_set():
        gate.reason = "the schema is being brought up to date"
        log.warning("the database takes long to be made ready; serving without it meanwhile")
    return preparing


def _database(config: StorageConfig, gate: Gate) -> Database:
    if isinstance(config, SqliteConfig):
        from asahi_piccolo.sqlite import Sqlite, make_file

        path = checked_path(config)
        try:
            make_file(path)
        except OSError as error:
            raise ConfigError(f"storage.path: {path} cannot be made ({error.strerror})") from error
        return Sqlite(path, config.statement_timeout_ms, gate)
    from asahi_piccolo.postgres import Postgres

    return Postgres(postgres_url(config), config.pool_size, config.statement_timeout_ms, gate)


async def _prepare(config: StorageConfig, gate: Gate, tried: asyncio.Event) -> None:
    delay = _FIRST_S
    while True:
        try:
            if await _prepared(config, gate):
                return
        except ConfigError as error:
            if not tried.is_set():
                raise
            gate.reason = error.message
            log.error("%s", error.message)
        tried.set()
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_S)


async def _prepared(config: StorageConfig, gate: Gate) -> bool:
    """Open the gate if the schema is, or can be brought, up to date. False when the database is not there.

    What no waiting will mend is a `ConfigError`: a wrong password, a missing database, an old schema with `check`.
    """
    engine = engine_for(config)
    try:
        if config.migrate == "check":
            if pending := (await migrating.status(engine)).pending:
                told = ", ".join(pending)
                raise ConfigError(f"storage: migrations {told} have not run; run 'asahi db upgrade'")
        elif ran := await migrating.upgrade(engine):
            log.info("ran the migrations %s", ", ".join(ran))
    except ConfigError:
        raise
    except Exception as error:
        if mistake := mistaken(error):
            raise ConfigError(mistake) from error
        gate.reason = "the database cannot be reached"
        log.warning("the database cannot be used yet (%s); serving without it", type(error).__name__)
        return False
    gate.open()
    return True


def mistaken(error: Exception) -> str:
    """What is wrong with the configuration, if that is why the database refuses us."""
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("28"):
        return "storage.url: the database refuses this user or password"
    if state == "3D000":
        return "storage.url: there is no database of this name on that server; create it first"
    if state == "42501":
        return (
            "storage: this user may not change the schema; run 'asahi db upgrade' as its owner, and set migrate: check"
        )
    if "file is not a database" in str(error):
        return "storage.path: this file is not an SQLite database"
    return ""
