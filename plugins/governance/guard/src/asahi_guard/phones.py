"""Telephone numbers, as people write them: 7 to 15 digits, never inside longer numbers.

Digits in a row are a number of some kind, and only a telephone number after a plus sign or a word that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from asahi_guard.numbers import regions

_DIGITS = re.compile("[^0-9]++")
_END = r"(?![A-Za-z0-9_])(?![.,\-/][0-9])"
_START = r"(?<![A-Za-z0-9_+.,\-/])"
#: Not in the middle of a longer row of groups.
_ALONE = _START + r"(?<![0-9][ \-])"
_INTERNATIONAL = re.compile(r"(?<![A-Za-z0-9_+])\+[1-9](?:[ ().\-/\u00a0]{0,2}[0-9]){6,14}(?![A-Za-z0-9_])")
_PATTERNS = (
    # North America: (212) 555-0123, 212-555-0123, 1 212 555 0123
    re.compile(
        rf"{_START}(?:1[ .\-])?(?:\([2-9][0-9]{{2}}\)[ \-]?|[2-9][0-9]{{2}}[ .\-])[2-9][0-9]{{2}}[ .\-][0-9]{{4}}{_END}"
    ),
    # After a trunk 0: 030 1234567, (0171) 123 456, 020 7946 0958, 01 42 68 53 00
    re.compile(
        rf"{_ALONE}(?:\(0[1-9][0-9]{{0,4}}\)|0[1-9][0-9]{{0,4}})[ /.\-][0-9]{{2,8}}(?:[ /.\-][0-9]{{2,8}}){{0,4}}{_END}"
    ),
    # After 00, in groups: 0049 30 1234567
    re.compile(rf"{_ALONE}00[1-9][0-9]{{0,2}}(?: [0-9]{{1,8}}){{1,5}}{_END}"),
)
#: What has the shape of a telephone number and is none: dates, and social security numbers.
_OTHER = re.compile(r"[0-9]{1,2}([./\-])[0-9]{1,2}\1[0-9]{2,4}(?![0-9])|[0-9]{3}([ \-])[0-9]{2}\2[0-9]{4}(?![0-9])")
_PLAIN = re.compile(rf"{_START}(?:\([0-9]{{2,5}}\)|[0-9]{{2,15}})(?:[ .\-/][0-9]{{2,8}}){{0,5}}{_END}")
_CUE = re.compile(
    r"(?:\bphone|\btelephone|\bmobile|\bcell|\btel\b|\bfax\b|\bwhatsapp|\bhandy|\btelefon|\bcall (?:me|us|him|her)|"
    r"\breach (?:me|us|him|her)|\btext me)[^0-9\n]{0,20}\Z",
    re.IGNORECASE,
)
_CUE_REACH = 40
_LEAST, _MOST = 7, 15


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Each number, from its plus sign or its bracket to its last digit."""
    for start, end in regions(text):
        yield from _within(text, start, end)


def _within(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for found in _INTERNATIONAL.finditer(text, start, end):
        yield found.span()
    for pattern in _PATTERNS:
        for found in pattern.finditer(text, start, end):
            if _LEAST <= _count(found[0]) <= _MOST and not _OTHER.match(found[0]):
                yield found.span()
    for found in _PLAIN.finditer(text, start, end):
        if _LEAST <= _count(found[0]) <= _MOST and _CUE.search(text, max(0, found.start() - _CUE_REACH), found.start()):
            yield found.span()


def _count(text: str) -> int:
    return len(_DIGITS.sub("", text))
