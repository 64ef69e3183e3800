"""What a client accepts, as its headers say it."""

from __future__ import annotations

_HTML, _DATA = (b"text/html", b"application/xhtml+xml"), (b"application/json", b"application/problem+json")


def prefers_html(accept: bytes) -> bool:
    """Whether it names HTML, and likes no other named type of ours better: `*/*` alone gets data."""
    shares = _shares(accept)
    html = max((shares.get(name, 0.0) for name in _HTML), default=0.0)
    return html > 0 and html > max((shares.get(name, 0.0) for name in _DATA), default=0.0)


def packs(accept_encoding: bytes) -> bool:
    """Whether it takes gzip."""
    shares = _shares(accept_encoding)
    return shares.get(b"gzip", shares.get(b"*", 0.0)) > 0


def _shares(header: bytes) -> dict[bytes, float]:
    found: dict[bytes, float] = {}
    for part in header.lower().split(b","):
        name, *parameters = (each.strip() for each in part.split(b";"))
        share = 1.0
        for each in parameters:
            if each.startswith(b"q="):
                try:
                    share = float(each[2:])
                except ValueError:
                    share = 0.0
        if name:
            found[name] = max(found.get(name, 0.0), share)
    return found
