"""Append-only files that survive a crash: each record is framed by length and checksum, so a torn end is cut off."""

from __future__ import annotations

import asyncio
import fcntl
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import IO, NamedTuple

_HEADER = Struct("<II")
#: No record of ours is larger; a larger length is rubbish.
_LARGEST = 64 << 20
#: Records that are copied before others have their turn.
_SLICE = 200


class Point(NamedTuple):
    """A place in a log: after so many records, whose running checksum is this."""

    records: int
    checksum: int


class Log:
    """One file of records. Only one process may hold it: the second gets `BlockingIOError`.

    Records reach the operating system with each append, and the disk when the file is closed or rewritten: after a
    power cut the last ones may be gone, which a cache can bear.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._file = _held(path)
        self._compacting = asyncio.Lock()
        self._least = 0
        self.at = Point(0, 0)

    @property
    def records(self) -> int:
        """How many there are."""
        return self.at.records

    def read(self) -> Iterator[bytes]:
        """Every whole record, oldest first; what follows the last one is cut off. Read to the end before adding."""
        self._file.seek(0)
        self.at, whole = Point(0, 0), 0
        for body in _framed(self._file):
            whole = self._file.tell()
            self.at = _after(self.at, body)
            yield body
        self._file.seek(whole)
        self._file.truncate(whole)

    def add(self, records: Iterable[bytes]) -> None:
        """Append records in one write."""
        framed = []
        for body in records:
            framed.append(_frame(body))
            self.at = _after(self.at, body)
        self._file.write(b"".join(framed))
        self._file.flush()

    def wasteful(self, alive: int) -> bool:
        """Whether most of the file is about what is gone, and compacting it would help."""
        return self.records > 1_000 and self.records > 2 * max(alive, self._least)

    async def compact(self, keep: Callable[[bytes], bool]) -> None:
        """Leave out what is not to be kept, whole or not at all. Goes on in slices, so that nobody waits for it; what
        is added meanwhile stays."""
        async with self._compacting:
            draft = self.path.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            file = _held(draft)
            try:
                with self.path.open("rb") as old:
                    at = await self._copy(old, file, keep)
                    await asyncio.to_thread(os.fsync, file.fileno())
                    least, rest = at.records, list(_framed(old))
                    for body in rest:
                        at = _after(at, body)
                    file.write(b"".join(map(_frame, rest)))
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                file.close()
                draft.unlink(missing_ok=True)
                raise
            draft.replace(self.path)
            self._file.close()
            self._file, self.at, self._least = file, at, least

    async def _copy(self, old: IO[bytes], new: IO[bytes], keep: Callable[[bytes], bool]) -> Point:
        """Where the new file is when all of the records that were there at first were looked at."""
        end, at, piece = os.fstat(self._file.fileno()).st_size, Point(0, 0), []
        for number, body in enumerate(_framed(old, end), 1):
            if keep(body):
                piece.append(_frame(body))
                at = _after(at, body)
            if number % _SLICE == 0:
                new.write(b"".join(piece))
                piece.clear()
                await asyncio.sleep(0)
        new.write(b"".join(piece))
        new.flush()
        return at

    def close(self) -> None:
        """Bring everything to the disk and let the file go."""
        os.fsync(self._file.fileno())
        self._file.close()


def _after(at: Point, body: bytes) -> Point:
    return Point(at.records + 1, zlib.crc32(body, at.checksum))


def _frame(body: bytes) -> bytes:
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def _framed(file: IO[bytes], end: int | None = None) -> Iterator[bytes]:
    """The whole records from here on, up to the place `end`, which is the border of one."""
    while end is None or file.tell() < end:
        header = file.read(_HEADER.size)
        if len(header) != _HEADER.size:
            return
        size, checksum = _HEADER.unpack(header)
        body = file.read(size) if size <= _LARGEST else b""
        if len(body) != size or zlib.crc32(body) != checksum:
            return
        yield body


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
