"""Entries and labels on disk, sealed: what a restart must not lose. And word to other workers of what to forget."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct

from asahi_kernel import Completion
from asahi_semantic.entries import Entry, Record
from asahi_semantic.facts import find
from asahi_semantic.framing import Log

if TYPE_CHECKING:
    from asahi_kernel.vault import Vault
    from asahi_semantic.tenant import Tenant
    from asahi_semantic.verifier import Floats

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["miss", "hit", "audit"]
#: Org, entry or None for all there were, and when that was said in seconds since the epoch.
Notice: TypeAlias = tuple[str, str | None, float]

TABLE, COLUMN = "semantic_entries", "entry"
#: Labels that are kept: more than the controllers remember.
_LABELS = 20_000


class Body(Struct, frozen=True, array_like=True):
    """An entry as it is sealed."""

    user: str | None
    namespace: str
    frame: bytes
    alias: bytes
    text: str
    task: str
    answer: str
    completion: Completion
    created: float
    expires: float


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
_open = msgspec.msgpack.Decoder(Body).decode


class Keeper:
    """Without a log it keeps nothing. A line that cannot be unsealed any more is left out: it is only a cache."""

    def __init__(self, lines: Log | None, vault: Vault | None, notices: Notices | None = None) -> None:
        self._log = lines
        self._vault = vault
        self._notices = notices

    def add(self, entry: Entry) -> None:
        if self._log is not None:
            self._log.add([self._line(entry)])

    def drop(self, entry: Entry) -> None:
        if self._log is not None:
            self._log.add([_encode(Gone(entry.org, entry.entry_id))])

    def compact(self, alive: Callable[[str, str], bool]) -> None:
        """Take out of the file every entry that is not alive."""
        if self._log is None:
            return
        kept = []
        for raw in self._log.read():
            line: _Line = _decode(raw)
            if isinstance(line, Told) or (isinstance(line, Added) and alive(line.org, line.entry_id)):
                kept.append(raw)
        self._log.rewrite(kept)

    def told(self, org: str, task: str, row: Floats, chance: float, kind: Kind, right: bool, share: float) -> None:
        """Keep a label, or that a candidate was served."""
        if self._log is not None:
            self._log.add([_encode(Told(org, task, tuple(row.tolist()), chance, kind, right, share))])

    def load(self, tenant: Callable[[str], Tenant]) -> list[Entry]:
        """Live entries, after teaching the tenants all labels anew. The file is rewritten without what is gone."""
        if self._log is None:
            return []
        added: dict[str, Added] = {}
        labels: deque[Told] = deque(maxlen=_LABELS)
        for raw in self._log.read():
            line: _Line = _decode(raw)
            if isinstance(line, Added):
                added[line.entry_id] = line
            elif isinstance(line, Gone):
                added.pop(line.entry_id, None)
            else:
                labels.append(line)
        for label in labels:
            _teach(tenant(label.org), label)
        entries = list(self._unsealed(added))
        if self._log.records > 1_000 and self._log.records > 2 * (len(entries) + len(labels)):
            self._log.rewrite([*map(self._line, entries), *map(_encode, labels)])
        return entries

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

    def _line(self, entry: Entry) -> bytes:
        assert self._vault is not None
        body = Body(
            user=entry.user,
            namespace=entry.namespace,
            frame=entry.frame,
            alias=entry.alias,
            text=entry.text,
            task=entry.task,
            answer=entry.answer,
            completion=entry.completion,
            created=entry.created,
            expires=entry.expires,
        )
        sealed = self._vault.seal(entry.org, TABLE, COLUMN, entry.entry_id, _encode(body))
        return _encode(Added(entry.org, entry.entry_id, sealed))

    def _unsealed(self, added: dict[str, Added]) -> Iterator[Entry]:
        assert self._vault is not None
        records: dict[tuple[str, str], Record] = {}
        lost = 0
        for line in added.values():
            try:
                body = _open(self._vault.unseal(line.org, TABLE, COLUMN, line.entry_id, line.body))
            except Exception:  # noqa: BLE001 - another key, or another version of Asahi
                lost += 1
                continue
            record = records.setdefault((line.org, body.answer), Record())
            yield Entry(
                entry_id=line.entry_id,
                org=line.org,
                facts=find(body.text),
                record=record,
                **{name: getattr(body, name) for name in Body.__struct_fields__},
            )
        if lost:
            log.warning("the semantic cache could not read %d of its entries any more", lost)


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
