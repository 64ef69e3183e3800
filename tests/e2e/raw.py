"""Raw sockets against a real server: sends exactly the given bytes, reads the answers as a wary client would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

_ROOT = Path(__file__).parents[2]


class Answer(Struct, frozen=True):
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Talk(Struct, frozen=True):
    """What came back on one connection, and how it ended: `closed` by FIN, `reset`, or neither within the time."""

    answers: Sequence[Answer]
    received: bytes
    closed: bool
    reset: bool


class Started(Struct, frozen=True):
    """A server in a process of its own."""

    port: int
    process: subprocess.Popen[bytes]


def talk(port: int, *pieces: bytes, pause: float = 0.0, expect: int | None = None, timeout: float = 5.0) -> Talk:
    """Sends the pieces, then reads until the server closes, or until `expect` answers are complete, or time is up.

    A piece is sent even when the server has answered already; what it thinks of that shows in `reset`.
    """
    received, closed, reset = bytearray(), False, False
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
            until = time.monotonic() + timeout
            while (left := until - time.monotonic()) > 0:
                if expect is not None and len(answers_of(bytes(received))) >= expect:
                    break
                client.settimeout(left)
                data = client.recv(1 << 16)
                if not data:
                    closed = True
                    break
                received += data
        except TimeoutError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            reset = True
    return Talk(answers_of(bytes(received)), bytes(received), closed, reset)


def answers_of(received: bytes) -> list[Answer]:
    """The complete answers in what was received; interim ones (100) are left out."""
    found: list[Answer] = []
    while b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if status == 100:
            received = rest
            continue
        body, received, complete = _body(headers, rest)
        if not complete:
            break
        found.append(Answer(status, headers, body))
    return found


def _body(headers: Mapping[str, str], rest: bytes) -> tuple[bytes, bytes, bool]:
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", "0"))
        return rest[:length], rest[length:], len(rest) >= length
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if len(rest) < length + 2:
            break
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest, True
    return body, rest, False


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[Started]:
    """Runs a module that prints its port as its first line, and kills what is left of it at the end."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT, start_new_session=True)
    assert process.stdout is not None
    try:
        yield Started(int(process.stdout.readline()), process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
