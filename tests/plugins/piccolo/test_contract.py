"""Both engines keep the contract of storages."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from asahi_kernel.testing.storage_contract import StorageContract
from asahi_piccolo import register_storages

SQLITE, POSTGRES = register_storages()


class TestSqlite(StorageContract):
    factory = SQLITE
    config: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)


class TestPostgres(StorageContract):
    factory = POSTGRES
    config: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _place(self, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", fresh_database_url)
