"""Price books beside the journal, so that what was charged by one can be proved however long storage was away."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from asahi_kernel.ledger import Book

log = logging.getLogger(__name__)

_decode = msgspec.msgpack.Decoder(Book).decode


class BookShelf:
    """One file for each book that storage may not have yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, book: Book) -> None:
        """On the disk, whole or not at all; may raise `OSError`."""
        path = self._folder / f"{hashlib.sha256(book.version.encode()).hexdigest()[:32]}.book"
        if path.exists():
            return
        draft = path.with_suffix(f".{secrets.token_hex(8)}")
        with draft.open("xb") as file:
            file.write(msgspec.msgpack.encode(book))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def books(self) -> Iterator[tuple[Path, Book]]:
        """Each with its file, which goes once storage has the book. One that cannot be read stays."""
        for path in sorted(self._folder.glob("*.book")):
            try:
                yield path, _decode(path.read_bytes())
            except FileNotFoundError:
                continue  # a neighbour has saved it
            except (OSError, msgspec.MsgspecError) as error:
                log.error("the price book %s cannot be read (%s)", path.name, type(error).__name__)
