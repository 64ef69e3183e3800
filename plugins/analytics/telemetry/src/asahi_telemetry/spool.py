"""The spool: events on the disk on their way to somewhere else, until that has them. A segment is a file of lines; it
is sent as a whole, and deleted when all of it arrived, so what breaks in between is sent again."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from asahi_kernel.errors import ConfigError
from asahi_kernel.records import Event
from asahi_telemetry.living import alone, dead

_FULL_BYTES = 4 << 20
_encode = msgspec.json.Encoder().encode


def line_of(event: Event) -> bytes:
    """An event as the world outside gets it: its id, which stays the same whenever it is sent again, and all that is
    kept of it. Money is in nano-dollars."""
    return _encode({"id": event.request_id, "schema": 1, "event": event})


class Spool:
    """One process' place in the folder. All methods read or write files, so they belong into a thread.

    A lock on its own file tells the living from the dead: whoever opens takes over what the dead left."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes
        self._own = secrets.token_hex(8)
        self._lock = -1
        self._number = 0
        self._file = -1
        self._written = 0
        self._ready: deque[tuple[Path, int]] = deque()
        self.size = 0

    def open(self, place: str) -> None:
        """Take a place, and over what dead processes left; `place` is what the configuration calls the folder."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone(self._folder):
                self._lock = os.open(self._folder / f"{self._own}.live", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.adopt()
        except OSError as error:
            raise ConfigError(f"{place}: cannot write to {self._folder}: {error.strerror}") from error

    def adopt(self) -> None:
        """Take over the segments of processes that died."""
        with alone(self._folder):
            for live in sorted(self._folder.glob("*.live")):
                if live.stem != self._own and dead(live):
                    for path in sorted(self._folder.glob(f"{live.stem}.*.jsonl")):
                        self._take(path)
                    live.unlink(missing_ok=True)

    def append(self, lines: Sequence[bytes]) -> int:
        """Keep them; how many found no room."""
        text = b"".join(line + b"\n" for line in lines)
        if self.size + len(text) > self._most:
            return len(lines)
        if self._file < 0:
            self._file = os.open(self._current(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        written = 0
        while written < len(text):
            written += os.write(self._file, text[written:])
        self._written += len(text)
        self.size += len(text)
        if self._written >= _FULL_BYTES:
            self._end()
        return 0

    def oldest(self) -> tuple[Path, list[bytes]] | None:
        """The segment that has waited longest, and its lines; a line that a crash cut off is none."""
        if not self._ready:
            self._end()
        if not self._ready:
            return None
        path = self._ready[0][0]
        return path, path.read_bytes().split(b"\n")[:-1]

    def done(self) -> None:
        """All of the oldest segment arrived."""
        path, size = self._ready.popleft()
        path.unlink(missing_ok=True)
        self.size -= size

    def close(self) -> None:
        """Give up the place; what waits is the next one's."""
        self._end()
        if not self._ready:
            (self._folder / f"{self._own}.live").unlink(missing_ok=True)
        os.close(self._lock)

    def _end(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._ready.append((self._current(), self._written))
            self._file, self._written = -1, 0
            self._number += 1

    def _current(self) -> Path:
        return self._folder / f"{self._own}.{self._number:09d}.jsonl"

    def _take(self, path: Path) -> None:
        self._end()
        mine = self._current()
        self._number += 1
        path.rename(mine)
        size = mine.stat().st_size
        self._ready.append((mine, size))
        self.size += size
