"""The sink `jsonl`: every settled request as a line of a file, for who reads files."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from asahi_kernel.errors import ConfigError
from asahi_telemetry.spool import line_of

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Sink
    from asahi_kernel.records import Event
    from asahi_telemetry.config import JSONLConfig


class Files:
    """A file for each day and process, so that no two write to one. Those older than `keep_days` are deleted."""

    def __init__(self, folder: Path, keep_days: int) -> None:
        self._folder = folder
        self._keep = timedelta(days=keep_days)
        self._own = secrets.token_hex(4)
        self._day: date | None = None
        self._file = -1
        self._writing = threading.Lock()

    async def write(self, events: Sequence[Event]) -> None:
        await asyncio.to_thread(self._append, b"".join(line_of(event) + b"\n" for event in events))

    def open(self) -> None:
        """Raises `ConfigError` where the folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._turn(datetime.now(UTC).date())
        except OSError as error:
            raise ConfigError(f"sinks.jsonl.dir: cannot write to {self._folder}: {error.strerror}") from error

    def close(self) -> None:
        """Every line is out already."""
        os.close(self._file)

    def _append(self, text: bytes) -> None:
        with self._writing:
            today = datetime.now(UTC).date()
            if today != self._day:
                os.close(self._file)
                self._turn(today)
            while text:
                text = text[os.write(self._file, text) :]

    def _turn(self, today: date) -> None:
        self._day = today
        path = self._folder / f"events-{today}-{self._own}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for old in self._folder.glob("events-????-??-??-*.jsonl"):
            if old.name[7:17] < str(today - self._keep):
                old.unlink(missing_ok=True)


@asynccontextmanager
async def opened(config: JSONLConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    files = Files(Path(config.dir), config.keep_days)
    await asyncio.to_thread(files.open)
    try:
        yield files
    finally:
        files.close()
