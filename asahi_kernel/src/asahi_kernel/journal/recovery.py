"""Recovery: what a process left in its journal when it died goes to storage, and every open intent is resolved.

The upstream call of a dead process is over as well, so nobody will ever settle it: what it may have cost at most is
charged, under the status `unknown`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from asahi_kernel.journal.entries import Closed, Intent, decode, peek
from asahi_kernel.journal.frames import scan
from asahi_kernel.journal.segment import adopt
from asahi_kernel.records import Settled

log = logging.getLogger(__name__)
_BATCH = 500
Ends: TypeAlias = tuple[set[str], dict[str, int]]


class _Refused(Exception):
    """Storage takes nothing now."""


async def recover(folder: Path, apply: Callable[[Sequence[Settled]], Awaitable[bool]]) -> int:
    """Apply the files of every dead process and remove them; how many requests they held. A file stays, and its lock is
    given back, where storage does not take it now."""
    found = 0
    for owner, paths in _owners(folder).items():
        try:
            count = await _taken_over(paths, apply)
        except OSError as error:
            log.error("the journal of a dead process (%s) cannot be read (%s)", owner, error.strerror)
            continue
        except _Refused:
            return found
        if count is not None:
            found += count
            log.warning("recovered %d requests from the journal of a process that died (%s)", count, owner)
    return found


async def _taken_over(paths: Sequence[Path], apply: Callable[[Sequence[Settled]], Awaitable[bool]]) -> int | None:
    """How many requests the files of one process held; None while it lives. Raises `_Refused`."""
    locks: list[int] = []
    try:
        for path in paths:
            lock = adopt(path)
            if lock is None:
                return None
            locks.append(lock)
        count = await _apply(await asyncio.to_thread(_read, paths), apply)
        for path in paths:
            path.unlink(missing_ok=True)
        return count
    finally:
        for lock in locks:
            os.close(lock)


def _owners(folder: Path) -> dict[str, list[Path]]:
    owners: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*-*.wal")):
        owners[path.name.partition("-")[0]].append(path)
    return owners


def _read(paths: Iterable[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


async def _apply(files: Sequence[bytes], apply: Callable[[Sequence[Settled]], Awaitable[bool]]) -> int:
    found = 0
    batch: list[Settled] = []
    ends = await asyncio.to_thread(ends_of, files)  # the loop has requests to serve
    for settled in resolve(files, ends):
        batch.append(settled)
        if len(batch) == _BATCH:
            if not await apply(batch):
                raise _Refused
            found, batch = found + len(batch), []
    if batch and not await apply(batch):
        raise _Refused
    return found + len(batch)


def resolve(files: Sequence[bytes], ends: Ends | None = None) -> Iterator[Settled]:
    """Each request once, in the order of the files: as it was settled, else as its last intent says."""
    closed, last = ends or ends_of(files)
    number = 0
    for data in files:
        for payload in scan(data):
            number += 1
            try:
                closes, request_id = peek(payload)
                if not closes and (request_id in closed or last[request_id] != number):
                    continue
                entry = decode(payload)
            except (msgspec.DecodeError, KeyError):
                log.error("an entry of the journal cannot be read by this version; it is left out")
                continue
            if isinstance(entry, Closed | Intent):
                yield entry.settled


def ends_of(files: Sequence[bytes]) -> Ends:
    """Which requests were settled, and for each the number of its last intent."""
    closed: set[str] = set()
    last: dict[str, int] = {}
    number = 0
    for data in files:
        for payload in scan(data):
            number += 1
            try:
                closes, request_id = peek(payload)
            except msgspec.DecodeError:
                continue
            if closes:
                closed.add(request_id)
            else:
                last[request_id] = number
    return closed, last
