"""Append-only files that survive a crash: each record is framed by length and checksum, so a torn end is cut off."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import IO

_HEADER = Struct("<II")
#: No record of ours is larger; a larger length is rubbish.
_LARGEST = 64 << 20


class Log:
    """One file of records. Only one process may hold it: the second gets `BlockingIOError`.

    Records reach the operating system with each append, and the disk when the file is closed or rewritten: after a
    power cut the last ones may be gone, which a cache can bear.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._file = _held(path)
        self.records = 0

    def read(self) -> Iterator[bytes]:
        """Every whole record, oldest first; what follows the last one is cut off. Read to the end before adding."""
        self._file.seek(0)
        whole = 0
        while len(header := self._file.read(_HEADER.size)) == _HEADER.size:
            size, checksum = _HEADER.unpack(header)
            body = self._file.read(size) if size <= _LARGEST else b""
            if len(body) != size or zlib.crc32(body) != checksum:
                break
            whole = self._file.tell()
            self.records += 1
            yield body
        self._file.seek(whole)
        self._file.truncate(whole)

    def add(self, records: Iterable[bytes]) -> None:
        """Append records in one write."""
        framed = [_HEADER.pack(len(body), zlib.crc32(body)) + body for body in records]
        self.records += len(framed)
        self._file.write(b"".join(framed))
        self._file.flush()

    def rewrite(self, records: Iterable[bytes]) -> None:
        """Replace all records, whole or not at all."""
        draft = self._path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        file = _held(draft)
        old, self._file, self.records = self._file, file, 0
        self.add(records)
        os.fsync(file.fileno())
        draft.replace(self._path)
        old.close()

    def close(self) -> None:
        """Bring everything to the disk and let the file go."""
        os.fsync(self._file.fileno())
        self._file.close()


def _held(path: Path) -> IO[bytes]:
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def claim(folder: Path, name: str, most: int = 64) -> Log:
    """The first log of that name which no other process holds: each worker of a host keeps its own."""
    for number in range(most):
        try:
            return Log(folder / f"{name}.{number}.log")
        except BlockingIOError:
            continue
    raise BlockingIOError(f"{folder}: all {most} logs of {name!r} are held by other processes")
