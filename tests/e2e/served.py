"""Real processes for the end-to-end tests: the gateway and the scripted upstream, each on a free port."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Paths of the scripted vendor whose calls have a row in its ledger.
BOOKED = frozenset({"/v1/chat/completions", "/v1/messages", "/v1/embeddings"})


class Process:
    """A running server: its `url`, its process, and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def printed(self) -> str:
        return self.log.read_text()


@contextmanager
def started(folder: Path, *command: str, **environment: str) -> Iterator[Process]:
    """A Python process that prints its URL once it listens; ended with the block."""
    log = folder / f"{abs(hash(command))}.log"
    ours = ("ASAHI_", "ANTHROPIC_", "OPENAI_", "COHERE_", "DATABASE_URL", "REDIS_URL", "PORT")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**clean, "PYTHONUNBUFFERED": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        )
    try:
        yield Process(process, _url(process, log), log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def gateway(folder: Path, configuration: dict | None = None, **environment: str) -> Iterator[Process]:
    """`asahi serve`, with a configuration file or, without one, in the development profile. Keys may ask as often as
    they like, unless the file says otherwise: tests ask faster than people."""
    arguments = ["-m", "asahi_kernel.cli", "serve", "--port", "0"]
    if configuration is not None:
        path = folder / "config.yaml"
        api = {"rate_limit_per_minute": 0, **configuration.get("api", {})}
        path.write_text(json.dumps({**configuration, "api": api}))
        arguments += ["--config", str(path)]
    with started(folder, *arguments, **environment) as process:
        yield process


@contextmanager
def upstream(folder: Path, *arguments: str) -> Iterator[tuple[Process, Path]]:
    """The scripted vendor and the path of its ledger."""
    ledger = folder / "ledger.jsonl"
    with started(folder, "-m", "asahi_kernel.testing.fakeup", "--ledger", str(ledger), *arguments) as process:
        yield process, ledger


def rows(ledger: Path) -> list[dict]:
    """What the vendor says it did."""
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def settled(ledger: Path, bodies: Path) -> list[dict]:
    """The same once every call that has come is booked: a vendor books a call after its last byte was sent."""
    for _ in range(200):
        heard = [line for line in rows(bodies) if line["path"] in BOOKED]
        found = rows(ledger)
        if len(found) >= len(heard):
            return found
        time.sleep(0.02)
    raise AssertionError(f"of {len(heard)} calls only {len(found)} were booked")


def _url(process: subprocess.Popen[str], log: Path) -> str:
    for _ in range(900):
        if found := re.search(r"(?:listens|listening) on (http://[\d.]+:\d+)", log.read_text()):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"did not start:\n{log.read_text()}")
