"""Finding personal data: one detector for each kind, in a fixed order, each a single pass over the text.

Every pattern consumes what it has read for good (possessive) or reads at most a fixed number of characters for each
place it starts from, so that no text takes longer than its length. Nobody claims that everything is found: see
`benchmarks/guard`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from asahi_guard.addresses import emails, internet_addresses
from asahi_guard.numbers import cards, ibans, social_security
from asahi_guard.phones import phones
from asahi_guard.tokens import secrets
from asahi_kernel.detecting import Detected as Found

#: The kinds in the order in which they are looked for, and what stands in their place afterwards.
MARKS = {
    "card": "[CC_REDACTED]",
    "ssn": "[SSN_REDACTED]",
    "iban": "[IBAN_REDACTED]",
    "email": "[EMAIL_REDACTED]",
    "ip": "[IP_REDACTED]",
    "phone": "[PHONE_REDACTED]",
    "secret": "[SECRET_REDACTED]",
}
KINDS = tuple(MARKS)
#: How far to the left of its own beginning a detector looks for a cue.
CONTEXT = 48

_DIGIT = re.compile(r"[0-9]")


def find(text: str, kinds: Collection[str] = KINDS) -> list[Found]:
    """What there is, in order, nothing over another: what overlaps is one, of the kind that is looked for first."""
    numeric = _DIGIT.search(text) is not None
    found: list[Found] = []
    for kind in KINDS:
        if kind in kinds and (numeric or kind not in _NUMERIC):
            found += [Found(start, end, kind) for start, end in _DETECTORS[kind](text)]
    return found if len(found) < 2 else apart(found)


def redact(text: str, found: Iterable[Found], marks: Mapping[str, str] = MARKS) -> str:
    """The text with a mark in the place of everything found."""
    pieces: list[str] = []
    at = 0
    for start, end, kind in found:
        pieces += (text[at:start], marks[kind])
        at = end
    return "".join((*pieces, text[at:])) if pieces else text


def apart(found: Iterable[Found], kinds: Iterable[str] = KINDS) -> list[Found]:
    """What overlaps is one, of the kind that comes first."""
    return list(_apart(found, {kind: place for place, kind in enumerate(kinds)}))


def _apart(found: Iterable[Found], order: Mapping[str, int]) -> Iterator[Found]:
    current: Found | None = None
    for each in sorted(found):
        if current is not None and each.start < current.end:
            first = min(current.kind, each.kind, key=order.__getitem__)
            current = Found(current.start, max(current.end, each.end), first)
            continue
        if current is not None:
            yield current
        current = each
    if current is not None:
        yield current


_NUMERIC = frozenset({"card", "ssn", "iban", "phone"})
_DETECTORS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "card": cards,
    "ssn": social_security,
    "iban": ibans,
    "email": emails,
    "ip": internet_addresses,
    "phone": phones,
    "secret": secrets,
}
