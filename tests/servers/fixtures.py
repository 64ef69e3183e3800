"""Fixtures: real servers, started when a test first asks for one and ended with the session.

`postgres_server` and `redis_server` are shared by all; a test that freezes or kills one takes `own_postgres` or
`own_redis`, which nobody else uses.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers import postgres, valkey


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    server = postgres.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database_url(postgres_server: postgres.Postgres) -> Iterator[str]:
    """An empty database for each test module."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def fresh_database_url(postgres_server: postgres.Postgres) -> Iterator[str]:
    """An empty database for each test."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def own_postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[postgres.Postgres]:
    """A server for one test, to be frozen and killed."""
    monkeypatch.delenv(postgres.URL, raising=False)
    server = postgres.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[valkey.Valkey]:
    server = valkey.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_url(redis_server: valkey.Valkey) -> str:
    """Emptied for each test module."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def own_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[valkey.Valkey]:
    """A server for one test, to be frozen and killed."""
    monkeypatch.delenv(valkey.URL, raising=False)
    server = valkey.start()
    yield server
    server.stop()
