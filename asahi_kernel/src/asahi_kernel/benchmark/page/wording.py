"""Wording: figures and foreign texts as they stand in the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from asahi_kernel.benchmark.table import TIERS

__all__ = ["NONE", "TIERS", "day", "dollars", "milliseconds", "percent", "prose", "section", "share", "table", "text"]

NONE = "–"


def text(value: object) -> str:
    """Any text, so that a browser shows it and does nothing else with it."""
    return escape(str(value), quote=True)


def prose(value: str) -> str:
    """A sentence of ours, in which names stand between backticks."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", text(value))


def dollars(amount: float) -> str:
    """With as many digits as its size asks for."""
    size = abs(amount)
    digits = 2 if size >= 100 else 4 if size >= 1 or not size else 6
    return f"{'−' if amount < 0 else ''}${size:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A figure that is per cent already."""
    return NONE if value is None else f"{'−' if value < 0 else ''}{abs(value):.{digits}f} %"


def share(value: float | None, digits: int = 1) -> str:
    """A part of one, in per cent."""
    return NONE if value is None else percent(100 * value, digits)


def milliseconds(value: float | None) -> str:
    """With three digits that mean something."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def day(moment: str) -> str:
    """A moment of the report for a reader."""
    return f"{datetime.fromisoformat(moment):%d %B %Y, %H:%M} UTC".lstrip("0")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A table of cells that are HTML already; the first `texts` columns are words, the others figures."""
    kinds = ["" if place < texts else ' class="figure"' for place in range(len(head))]
    titles = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">'
        f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def section(title: str, *parts: str) -> str:
    """A part of the page under its title."""
    return "\n".join((f"<section>\n<h2>{text(title)}</h2>", *(part for part in parts if part), "</section>"))
