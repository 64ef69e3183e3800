"""The folder that the workers of one host share: each writes what it counted, whoever is asked adds it all up.

A worker holds a lock for as long as it lives, so the others know whose gauges still hold. What a dead one counted is
kept: the next that opens merges it into one file, so numbers neither fall nor come twice.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from asahi_kernel.errors import ConfigError
from asahi_telemetry.living import alone, dead
from asahi_telemetry.tally import Gauge, Snapshot, Tally, decode, encode, snapshot

_RETIRED = "retired.counts"


class Folder:
    """One worker's place in the folder. All methods read or write files, so they belong into a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = secrets.token_hex(8)
        self._lock = -1
        self.unreadable = 0

    def open(self) -> None:
        """Take a place, and merge what dead workers left; raises `ConfigError` where the folder cannot be written."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone(self._path, fcntl.LOCK_EX):
                self._retire()
                self._lock = os.open(self._file("live"), os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"sinks.prometheus.dir: cannot write to {self._path}: {error.strerror}") from error

    def write(self, told: bytes) -> None:
        """Replace what this worker has told."""
        _replace(self._file("counts"), told)

    def others(self) -> tuple[Tally, list[Gauge]]:
        """What all others counted, and the gauges of those that live."""
        with alone(self._path, fcntl.LOCK_SH):
            retired = self._read(self._path / _RETIRED)
            tally, gauges = retired.tally(), list[Gauge]()
            for name in self._names():
                if name != self._own and name not in retired.merged:
                    told = self._read(self._file("counts", name))
                    tally.merge(told.tally())
                    if not self._dead(name):
                        gauges += told.gauges
        return tally, gauges

    def close(self) -> None:
        """Give up the place; what was told last stays."""
        os.close(self._lock)

    def _retire(self) -> None:
        """Merge first, delete then: what is named in the merged file counts no more, whether it could be deleted or
        not."""
        before = self._read(self._path / _RETIRED)
        names = list(self._names())
        dead = [name for name in names if name not in before.merged and self._dead(name)]
        if dead:
            tally = before.tally()
            for name in dead:
                tally.merge(self._read(self._file("counts", name)).tally())
            merged = (*dead, *(name for name in before.merged if name in names))
            _replace(self._path / _RETIRED, encode(snapshot(tally, merged=merged)))
        for name in (*dead, *before.merged):
            self._file("counts", name).unlink(missing_ok=True)
        for path in self._path.glob("*.live"):
            if self._dead(path.stem) and not self._file("counts", path.stem).exists():
                path.unlink(missing_ok=True)

    def _names(self) -> Iterator[str]:
        return (path.stem for path in sorted(self._path.glob("*.counts")) if path.name != _RETIRED)

    def _dead(self, name: str) -> bool:
        return dead(self._file("live", name))

    def _read(self, path: Path) -> Snapshot:
        """A file that is not there is empty; one that a power cut broke is counted, and left out."""
        with suppress(FileNotFoundError):
            try:
                return decode(path.read_bytes())
            except msgspec.MsgspecError:
                self.unreadable += 1
        return Snapshot()

    def _file(self, kind: str, name: str | None = None) -> Path:
        return self._path / f"{name or self._own}.{kind}"


def _replace(path: Path, told: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(told)
    draft.rename(path)
