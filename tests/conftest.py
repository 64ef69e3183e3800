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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test leaves in the working folder, such as `data/`, is its own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
