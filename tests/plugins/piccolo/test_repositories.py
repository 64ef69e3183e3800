"""Every repository keeps its contract in memory, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asahi_kernel.builtins import memory
from asahi_kernel.testing.contracts import Contract
from asahi_kernel.testing.keeping_contract import AgentsContract, JudgementsContract, WorkContract
from asahi_kernel.testing.repositories_contract import (
    AuditContract,
    BudgetsContract,
    KeysContract,
    LoginsContract,
    RulesContract,
    TenantsContract,
)
from asahi_piccolo import register_storages

SQLITE, POSTGRES = register_storages()
CONTRACTS: tuple[type[Contract], ...] = (
    KeysContract,
    LoginsContract,
    TenantsContract,
    RulesContract,
    AuditContract,
    BudgetsContract,
    JudgementsContract,
    WorkContract,
    AgentsContract,
)


class _InMemory:
    factory = memory.STORAGE


class _InSqlite:
    factory = SQLITE

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)


class _InPostgres:
    factory = POSTGRES

    @pytest.fixture(autouse=True)
    def _place(self, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", fresh_database_url)


def _classes() -> Iterator[tuple[str, type[Any]]]:
    for contract in CONTRACTS:
        for place in (_InMemory, _InSqlite, _InPostgres):
            name = f"Test{contract.__name__.removesuffix('Contract')}{place.__name__.removeprefix('_')}"
            yield name, type(name, (place, contract), {"__module__": __name__})


globals().update(_classes())
