"""Verification of the audit log: from entries and checkpoints alone, without the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from msgspec import Struct

from asahi_audit.checkpoints import genuine
from asahi_audit.merkle import Tree
from asahi_kernel.ledger import Head
from asahi_kernel.repositories.audit import AuditEntry, Checkpoint, fault
from asahi_kernel.signing import key_id

#: The place of what is wrong with the log as a whole.
WHOLE = ""


class Fault(Struct, frozen=True, kw_only=True):
    """What is wrong with an org's chain, at which entry; or with the whole log, where `org` is empty."""

    org: str
    seq: int | None
    message: str


class Finding(Struct, frozen=True, kw_only=True):
    """What a verification came to. `covered` is the size that the largest checkpoint signed; `strangers` are
    checkpoints that another key signed, which prove nothing here."""

    entries: int
    orgs: Mapping[str, Head]
    faults: tuple[Fault, ...] = ()
    checkpoints: int = 0
    covered: int = 0
    signed_at: datetime | None = None
    strangers: int = 0
    tree: Tree | None = None


class Verification:
    """Entries go in as they were appended. Faults are told once for each org, and once for the tree."""

    def __init__(self, checkpoints: Iterable[Checkpoint], public: bytes) -> None:
        self.tree = Tree()
        self.heads: dict[str, Head] = {}
        self.faults: dict[str, Fault] = {}
        self._roots: dict[int, str] = {}
        self._newest: Checkpoint | None = None
        self._agreed = self._strangers = 0
        for each in checkpoints:
            self._trust(each, public)

    def add(self, entry: AuditEntry) -> None:
        """The next entry of the log."""
        head = self.heads.get(entry.org_id, Head())
        if told := fault(head, entry):
            self._blame(entry.org_id, entry.seq, told)
        self.heads[entry.org_id] = Head(entry.seq, entry.entry_hash)
        self.tree.add(leaf_of(entry))
        wanted = self._roots.get(self.tree.size)
        if wanted is None:
            return
        if self.tree.root() == wanted:
            self._agreed += 1
        else:
            self._blame(
                WHOLE, None, f"the first {self.tree.size} entries are not those that a checkpoint signed: the log was "
                "changed, put into another order, or computed anew"
            )  # fmt: skip

    def finding(self) -> Finding:
        """What came out, when every entry was added."""
        largest = max(self._roots, default=0)
        if largest > self.tree.size:
            self._blame(WHOLE, None, f"the log has {self.tree.size} entries, but a checkpoint signed {largest}")
        return Finding(
            entries=self.tree.size,
            orgs=self.heads,
            faults=tuple(self.faults.values()),
            checkpoints=self._agreed,
            covered=largest,
            signed_at=self._newest.signed_at if self._newest else None,
            strangers=self._strangers,
            tree=self.tree,
        )

    def _trust(self, checkpoint: Checkpoint, public: bytes) -> None:
        if checkpoint.key_id != key_id(public):
            self._strangers += 1
            return
        if not genuine(checkpoint, public):
            self._blame(WHOLE, None, f"the checkpoint of size {checkpoint.size} was changed after it was signed")
            return
        if self._roots.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            self._blame(WHOLE, None, f"two checkpoints of size {checkpoint.size} differ: the log was computed anew")
        if self._newest is None or checkpoint.size > self._newest.size:
            self._newest = checkpoint

    def _blame(self, org: str, seq: int | None, message: str) -> None:
        self.faults.setdefault(org, Fault(org=org, seq=seq, message=message))


async def verify(entries: AsyncIterator[AuditEntry], checkpoints: Iterable[Checkpoint], public: bytes) -> Finding:
    """Recompute every chain and the tree."""
    work = Verification(checkpoints, public)
    async for entry in entries:
        work.add(entry)
    return work.finding()


def disorder(checkpoints: Sequence[Checkpoint]) -> Fault | None:
    """What is wrong with a file of checkpoints by itself: it only grows, so an old one at its end was put back."""
    for before, after in pairwise(checkpoints):
        if after.size <= before.size:
            told = f"the checkpoint of size {after.size} stands behind that of {before.size}: an old one was put back"
            return Fault(org=WHOLE, seq=None, message=told)
    return None


def leaf_of(entry: AuditEntry) -> bytes:
    """What of an entry is a leaf: its hash, which covers all of it but emptied details."""
    try:
        return bytes.fromhex(entry.entry_hash)
    except ValueError:
        return entry.entry_hash.encode()
