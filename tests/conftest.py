"""What all tests share: the backend of async tests, and the matrix that is shown at the end."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.servers.fixtures import (
    database_url,
    fresh_database_url,
    own_postgres,
    own_redis,
    postgres_server,
    redis_server,
    redis_url,
)

__all__ = [
    "database_url",
    "fresh_database_url",
    "own_postgres",
    "own_redis",
    "postgres_server",
    "redis_server",
    "redis_url",
]

#: Feature → vendor → what became of the cell; filled by tests/e2e/test_matrix.py.
MATRIX: dict[str, dict[str, str]] = {}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test leaves in the working folder, such as `data/`, or in the environment, such as what `asahi serve`
    tells its workers, is its own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where files run in processes of their own, each hands over its cells."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["matrix"] = MATRIX


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    for name, cells in getattr(node, "workeroutput", {}).get("matrix", {}).items():
        MATRIX.setdefault(name, {}).update(cells)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of SDKs, features and vendors, whenever its cells were run."""
    if not MATRIX:
        return
    vendors = list(dict.fromkeys(vendor for cells in MATRIX.values() for vendor in cells))
    rows = [["", *vendors], *([name, *(cells.get(vendor, "") for vendor in vendors)] for name, cells in MATRIX.items())]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    terminalreporter.section("SDK and feature by vendor")
    for row in rows:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
