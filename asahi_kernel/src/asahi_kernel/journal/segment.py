"""A segment: one file of the journal. Room is allocated ahead: a full disk is seen before a call is paid for."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

#: Room that is kept free ahead of the last record: what is under way must still be settled when the disk is full.
HEADROOM = 256 << 10


class Segment:
    """Written by one thread only, and locked for as long as its process lives: a file without a lock is an orphan.

    `outstanding` counts records that storage does not hold yet; the file goes when it is 0. `tight` is true while no
    further room could be had.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outstanding = 0
        self.size = 0
        self.tight = False
        self._room = 0
        draft = path.with_suffix(".new")  # no neighbour may see it before it is locked, and take it for an orphan
        self._fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._extend()
            draft.rename(path)
        except BaseException:
            os.close(self._fd)
            draft.unlink(missing_ok=True)
            raise

    def write(self, data: bytes) -> None:
        """Append and have it on the disk. After an `OSError` the file must not be written again."""
        if self.size + len(data) > self._room:
            self._extend(len(data))
        done = 0
        while done < len(data):
            done += os.pwrite(self._fd, memoryview(data)[done:], self.size + done)
        os.fdatasync(self._fd)
        self.size += len(data)
        self.stretch()

    def stretch(self) -> None:
        """Keep the headroom; without more room on the disk the segment is tight."""
        if self._room - self.size >= HEADROOM:
            self.tight = False
            return
        try:
            self._extend()
            self.tight = False
        except OSError:
            self.tight = True

    def close(self) -> None:
        """What was waited for is on the disk already: an error that is told only now changes nothing."""
        with suppress(OSError):
            os.close(self._fd)

    def remove(self) -> None:
        """Close and delete. A file that cannot be deleted is adopted later, and storage knows its records then."""
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _extend(self, least: int = 0) -> None:
        step = max(2 * HEADROOM, least + HEADROOM)
        os.posix_fallocate(self._fd, self._room, step)
        self._room += step


def adopt(path: Path) -> int | None:
    """A descriptor that holds the lock of a file whose process is gone; None while that one lives."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def sync_folder(folder: Path) -> None:
    """Have the folder's own entries on the disk, so that a new file is found after a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
