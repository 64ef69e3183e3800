"""The living and the dead: processes that share a folder tell each other apart by locks, which end with a process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Nobody else comes or takes over meanwhile; with `LOCK_SH` only nobody who must be alone."""
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, how)
        yield
    finally:
        os.close(held)


def dead(live: Path) -> bool:
    """Whether nobody holds this place any more."""
    try:
        held = os.open(live, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(held)
    return True
