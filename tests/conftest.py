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
