"""Checkpoints: signed sizes and roots of the tree, kept in the database and outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from asahi_kernel import clock
from asahi_kernel.repositories.audit import Checkpoint
from asahi_kernel.signing import SigningKey, append, key_id, signed_by, whole_lines

if TYPE_CHECKING:
    from asahi_audit.merkle import Tree
    from asahi_kernel.settings import Settings

LOG = "audit"
FILE = "audit-checkpoints.jsonl"
#: More than one checkpoint takes.
_TAIL = 4_096


def sign(tree: Tree, key: SigningKey, now: datetime | None = None) -> Checkpoint:
    """What the tree came to."""
    moment = now or clock.now()
    plain = Checkpoint(log=LOG, size=tree.size, root=tree.root(), signed_at=moment, key_id=key.key_id, signature="")
    return msgspec.structs.replace(plain, signature=key.sign(_message(plain)))


def genuine(checkpoint: Checkpoint, public: bytes) -> bool:
    """Whether the holder of this key signed just this, for this log."""
    named = checkpoint.log == LOG and checkpoint.key_id == key_id(public)
    return named and signed_by(public, _message(checkpoint), checkpoint.signature)


def path_of(settings: Settings) -> Path:
    """The file of this host."""
    return Path(settings.governance.audit_dir) / FILE


def read(lines: Iterable[bytes]) -> list[Checkpoint]:
    """The checkpoints of a file, oldest first; a line that a crash tore is left out."""
    return whole_lines(lines, Checkpoint)


def read_file(path: Path) -> list[Checkpoint]:
    """Those of a file; none where there is no file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return read(file)


def keep(path: Path, checkpoint: Checkpoint) -> bool:
    """Add it to the file, unless that has come as far."""

    def known(file: BinaryIO) -> bool:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        found = read(file)
        return bool(found) and found[-1].size >= checkpoint.size

    return append(path, msgspec.json.encode(checkpoint), known)


def _message(checkpoint: Checkpoint) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(checkpoint, signature=""), order="sorted")
