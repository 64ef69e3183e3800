"""Entries and labels on disk, sealed: what a restart must not lose. And word to other workers of what to forget."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct

from asahi_kernel.errors import Unavailable
from asahi_semantic.entries import Entry, Record
from asahi_semantic.framing import Log
from asahi_semantic.sealing import key_of, seal, unseal

if TYPE_CHECKING:
    from asahi_kernel.keyring import Keyring
    from asahi_kernel.vault import Sealer
    from asahi_semantic.tenant import Tenant
    from asahi_semantic.verifier import Floats

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["miss", "hit", "audit"]
#: Org, entry or None for all there were, and when that was said in seconds since the epoch.
Notice: TypeAlias = tuple[str, str | None, float]

#: Labels that are kept: more than the controllers remember.
_LABELS = 20_000
#: Lines that are read before others have their turn, and entries that are unsealed.
_LINES, _ENTRIES = 200, 20
_PAUSE_S = 1.0


class Added(Struct, frozen=True, array_like=True, tag="+"):
    """An entry came; `body` is sealed for its place."""

    org: str
    entry_id: str
    body: bytes


class Gone(Struct, frozen=True, array_like=True, tag="-"):
    """An entry went."""

    org: str
    entry_id: str


class Told(Struct, frozen=True, array_like=True, tag="?"):
    """Something was learnt; it holds numbers only, no text."""

    org: str
    task: str
    row: tuple[float, ...]
    chance: float
    kind: Kind
    right: bool
    share: float


_Line: TypeAlias = Added | Gone | Told
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Added | Gone | Told).decode


class Patience(Struct):
    """How often a start may still wait for a storage that is away, before it goes on without what it needs it for."""

    left: int = 60


class Keeper:
    """Without a log it keeps nothing. A line that cannot be unsealed any more is left out: it is only a cache."""

    def __init__(self, lines: Log | None, keyring: Keyring | None, notices: Notices | None = None) -> None:
        self._log = lines
        self._keyring = keyring
        self._notices = notices
        self._labels = 0

    async def sealed(self, entry: Entry) -> bytes | None:
        """What `add` writes of it, made before since its key may have to be waited for; None while that is not to be
        had, and without a log."""
        if self._log is None:
            return None
        assert self._keyring is not None
        key = await key_of(self._keyring, entry)
        return None if key is None else seal(key, entry)

    def add(self, entry: Entry, body: bytes | None) -> None:
        if self._log is not None and body is not None:
            self._log.add([_encode(Added(entry.org, entry.entry_id, body))])

    def drop(self, entry: Entry) -> None:
        if self._log is not None:
            self._log.add([_encode(Gone(entry.org, entry.entry_id))])

    async def tidy(self, count: int, alive: Callable[[str, str], bool], *, always: bool = False) -> None:
        """Take what is not alive, and labels that are too old, out of the file where they are most of it. `count` is
        how many entries are alive."""
        if self._log is None or not (always or self._log.wasteful(count + min(self._labels, _LABELS))):
            return
        old = self._labels - _LABELS

        def keep(raw: bytes) -> bool:
            nonlocal old
            line: _Line = _decode(raw)
            if isinstance(line, Told):
                old -= 1
                return old < 0
            return isinstance(line, Added) and alive(line.org, line.entry_id)

        await self._log.compact(keep)
        self._labels = min(self._labels, _LABELS)

    def told(self, org: str, task: str, row: Floats, chance: float, kind: Kind, right: bool, share: float) -> None:
        """Keep a label, or that a candidate was served."""
        if self._log is not None:
            self._log.add([_encode(Told(org, task, tuple(row.tolist()), chance, kind, right, share))])
            self._labels += 1

    async def load(self, tenant: Callable[[str], Tenant]) -> AsyncIterator[Entry]:
        """What a former process left, after teaching the tenants all labels anew. The file is read twice, so that its
        sealed entries need not all be in memory."""
        if self._log is None:
            return
        gone: set[str] = set()
        labels: deque[Told] = deque(maxlen=_LABELS)
        for number, raw in enumerate(self._log.read(), 1):
            line: _Line = _decode(raw)
            if isinstance(line, Gone):
                gone.add(line.entry_id)
            elif isinstance(line, Told):
                labels.append(line)
                self._labels += 1
            if number % _LINES == 0:
                await asyncio.sleep(0)
        for number, label in enumerate(labels, 1):
            _teach(tenant(label.org), label)
            if number % _LINES == 0:
                await asyncio.sleep(0)
        async for entry in self._unsealed(self._log, gone):
            yield entry

    async def _unsealed(self, lines: Log, gone: set[str]) -> AsyncIterator[Entry]:
        records: dict[tuple[str, str], Record] = {}
        lost, patience = 0, Patience()
        for number, raw in enumerate(lines.read(), 1):
            line: _Line = _decode(raw)
            if number % _ENTRIES == 0:
                await asyncio.sleep(0)
            if not isinstance(line, Added) or line.entry_id in gone:
                continue
            record = partial(_record, records, line.org)
            try:
                key = await self._key(line, patience)
                entry = unseal(key, line.org, line.entry_id, line.body, record)
            except Exception:  # noqa: BLE001 - a key that was destroyed or is not to be had, another version of Asahi
                lost += 1
            else:
                yield entry
        if lost:
            log.warning("the semantic cache could not read %d of its entries any more", lost)

    async def _key(self, line: Added, patience: Patience) -> Sealer:
        assert self._keyring is not None
        while True:
            try:
                return await self._keyring.opening(line.org, line.body)
            except Unavailable:
                if not patience.left:
                    raise
                patience.left -= 1
                await asyncio.sleep(_PAUSE_S)

    def tell(self, org: str, entry_id: str) -> None:
        """Let the other workers of this host know that an entry must go."""
        if self._notices is not None:
            self._notices.tell(org, entry_id)

    def tell_all(self, org: str, moment: float) -> None:
        """Let them know that all that an org had at that time must go."""
        if self._notices is not None:
            self._notices.tell(org, None, moment)

    def heard(self) -> list[Notice]:
        """What others were told to forget since the last time."""
        return self._notices.heard() if self._notices is not None else []

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        if self._notices is not None:
            self._notices.close()


class Notices:
    """A file that all workers of a host append to and read, from its beginning: one line for each entry to forget."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._seen = 0

    def tell(self, org: str, entry_id: str | None, moment: float = 0.0) -> None:
        os.write(self._file, msgspec.json.encode((org, entry_id, moment)) + b"\n")

    def heard(self) -> list[Notice]:
        size = os.fstat(self._file).st_size
        if size <= self._seen:
            return []
        whole, _, _ = os.pread(self._file, size - self._seen, self._seen).rpartition(b"\n")
        self._seen += len(whole) + 1 if whole else 0
        return [_notice(line) for line in whole.splitlines() if line]

    def close(self) -> None:
        os.close(self._file)


def _record(records: dict[tuple[str, str], Record], org: str, answer: str) -> Record:
    return records.setdefault((org, answer), Record())


def _notice(line: bytes) -> Notice:
    """Those of an older version name no time."""
    org, entry_id, *moment = msgspec.json.decode(line)
    return org, entry_id, moment[0] if moment else 0.0


def _teach(tenant: Tenant, label: Told) -> None:
    row = np.array(label.row)
    if row.shape != tenant.verifier.weights.shape:
        return
    controller = tenant.controller(label.task)
    if label.kind != "audit":
        controller.asked()
    if label.kind == "hit":
        controller.hit(label.chance, label.share)
    elif label.kind == "miss":
        tenant.missed(label.task, row, label.chance, label.right)
    else:
        tenant.audited(label.task, row, label.chance, label.right, label.share)
