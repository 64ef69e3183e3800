"""Export: entries as JSON or CSV, in pieces. A cell that a spreadsheet would run as a formula gets a quote in front."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any, Literal, TypeAlias

import msgspec

from asahi_kernel.repositories.audit import AuditEntry

Form: TypeAlias = Literal["json", "csv"]

#: How many entries a piece holds.
_PIECE = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_encode = msgspec.json.Encoder().encode


async def written(org: str, entries: AsyncIterator[AuditEntry], form: Form) -> AsyncIterator[bytes]:
    """The whole answer, piece by piece."""
    csv_form = form == "csv"
    piece = [_line(AuditEntry.__struct_fields__)] if csv_form else [b'{"org_id":%b,"entries":[' % _encode(org)]
    number = 0
    async for entry in entries:
        piece.append(_row(entry) if csv_form else (b"," if number else b"") + _encode(entry))
        number += 1
        if len(piece) >= _PIECE:
            yield b"".join(piece)
            piece.clear()
    yield b"".join(piece) + (b"" if csv_form else b'],"count":%d}' % number)


def _row(entry: AuditEntry) -> bytes:
    cells = msgspec.to_builtins(entry)
    cells["details"] = _encode(entry.details).decode()
    return _line([cells[name] for name in AuditEntry.__struct_fields__])


def _line(cells: Any) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([_safe(cell) for cell in cells])
    return buffer.getvalue().encode("utf-8", "replace")


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
