"""CSV that a spreadsheet reads and does not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

#: A spreadsheet would run a cell that begins with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows under the names of all their columns, in the order in which those first come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return line(names) + b"".join(line([_plain(row.get(name)) for name in names]) for row in rows) if names else b""


def line(cells: Sequence[Any]) -> bytes:
    """One line. Text that would be run as a formula gets a quote in front; numbers, also negative ones, are left."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([_safe(cell) for cell in cells])
    return buffer.getvalue().encode("utf-8", "surrogatepass")


def _safe(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _plain(cell: Any) -> Any:
    """Times as ISO 8601, numbers without exponents."""
    if isinstance(cell, datetime):
        return cell.isoformat()
    if isinstance(cell, bool):
        return str(cell).lower()
    return f"{Decimal(repr(cell)):f}" if isinstance(cell, float) else cell
