"""Sieving: an answer is looked at while it comes, and only what nothing can still be added to goes out.

What is held back is the last word, and the groups of digits or capitals before it, since a number may go on in the next
piece. Prose is late by a word; a number by its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from asahi_guard.addresses import LOCAL
from asahi_guard.finding import CONTEXT, find, redact
from asahi_kernel.detecting import Detected as Found

#: What the things that are looked for are made of, but for spaces.
_WORD = LOCAL + ".@:/()=\\,"
_SPACES = " \u00a0"
_BEGUN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,60}-{0,4}\Z")
_CALLED = re.compile(r"-----END [A-Z0-9 ]{0,60}-{0,4}\Z")
#: A word longer than this is let go but for its end: nothing that is looked for is as long and still open, but a
#: secret, which is seen as one while it grows.
_LONGEST, _KEPT = 4_096, 512
_GROUP = 34


class Redacting:
    """Puts marks where data of these kinds stands."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = tuple(kinds)
        self._before = ""
        self._held = ""

    def feed(self, text: str) -> str:
        """What may go out now."""
        self._held += text
        found = self._find()
        return self._let_go(_settled(self._held, found), found)

    def end(self) -> str:
        """The rest."""
        return self._let_go(len(self._held), self._find()) if self._held else ""

    def _find(self) -> list[Found]:
        """Where things are in what is held, seen together with what went out before it."""
        size = len(self._before)
        found = find(self._before + self._held, self._kinds)
        return [Found(max(0, start - size), end - size, kind) for start, end, kind in found if end > size]

    def _let_go(self, end: int, found: list[Found]) -> str:
        if not end:
            return ""
        out, self._held = self._held[:end], self._held[end:]
        self._before = (self._before + out)[-CONTEXT:]
        return redact(out, [each for each in found if each.end <= end])


def _settled(text: str, found: list[Found]) -> int:
    """How much of the text nothing can change any more."""
    end = _open(text)
    if len(text) - end > _LONGEST:
        end = len(text) - _KEPT
    for each in reversed(found):
        if each.end >= end and each.start < end:
            end = each.start
    return end


def _open(text: str) -> int:
    """Where the last word begins, and the groups before it that it may belong to."""
    for begun in (_BEGUN, _CALLED):
        if (found := begun.search(text, max(0, len(text) - 120))) is not None:
            return found.start()
    end = len(text.rstrip(_SPACES)) if text and text[-1] in _SPACES else len(text)
    if len(text) - end > 2:
        return len(text)
    start = len(text[:end].rstrip(_WORD))
    while start and text[start - 1] in _SPACES:
        before = len(text[:start].rstrip(_SPACES))
        if start - before > 2:
            break
        head = len(text[max(0, before - _GROUP - 1) : before].rstrip(_WORD)) + max(0, before - _GROUP - 1)
        if before - head > _GROUP or not _grouped(text[head:before]):
            break
        start = head
    return start


def _grouped(word: str) -> bool:
    """Whether a number, or the code of an account, may go on after it."""
    return any(each in "0123456789" for each in word) or (0 < len(word) <= 4 and word.isupper())
