"""Leaking: what an answer must not hold whatever a prompt says: planted canaries, and secrets that can be told by their
shape. This can be enforced, since it looks at what goes out and not at what somebody might have meant."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence

from asahi_guard.finding import find, redact
from asahi_guard.sieving import Redacting
from asahi_kernel.errors import Denied

MARK = "[CANARY_REDACTED]"
SHORTEST = 8


class Canaries:
    """Planted words, and the ways in which a model is easily told to write them otherwise: in other case, backwards,
    letter by letter, in hexadecimal, in base64."""

    def __init__(self, words: Sequence[str]) -> None:
        ways = {way.lower() for word in words for way in _ways(word)}
        self._ways = tuple(sorted(ways, key=len, reverse=True))
        self.longest = max(map(len, ways), default=0)
        self._firsts = frozenset(way[0] for way in ways)
        joined = "|".join(map(re.escape, self._ways)) or r"(?!)"
        self._pattern = re.compile(joined, re.IGNORECASE | re.ASCII)

    def __bool__(self) -> bool:
        return bool(self._ways)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where they stand."""
        return [found.span() for found in self._pattern.finditer(text)] if self._ways else []

    def hide(self, text: str) -> str:
        """The text with marks in their place."""
        return self._pattern.sub(MARK, text) if self._ways else text

    def settled(self, text: str) -> int:
        """How much of a text cannot be the beginning of one, whatever comes next."""
        for start in range(max(0, len(text) - self.longest + 1), len(text)):
            if text[start].lower() in self._firsts:
                tail = text[start:].lower()
                if any(way.startswith(tail) for way in self._ways):
                    return start
        return len(text)


class Watch:
    """A sieve: hides canaries and secrets, or, with `refuse`, ends the answer at the first."""

    def __init__(self, canaries: Canaries, refuse: bool, secrets: bool) -> None:
        self._canaries = canaries
        self._refuse = refuse
        self._secrets = Redacting(("secret",)) if secrets else None
        self._held = ""

    def feed(self, text: str) -> str:
        """What may go out now."""
        self._held += text
        end = self._canaries.settled(self._held)
        for start, stop in self._canaries.find(self._held):
            if start < end < stop:
                end = start
        out, self._held = self._clean(self._held[:end]), self._held[end:]
        return self._secrets.feed(out) if self._secrets is not None and out else out

    def end(self) -> str:
        """The rest."""
        out, self._held = self._clean(self._held), ""
        if self._secrets is None:
            return out
        return (self._secrets.feed(out) if out else "") + self._secrets.end()

    def _clean(self, text: str) -> str:
        if self._refuse and self._canaries.find(text):
            raise refused()
        return self._canaries.hide(text)


def cleaned(canaries: Canaries, refuse: bool, secrets: bool) -> Callable[[str], str]:
    """The same for a text that is there to its end."""

    def change(text: str) -> str:
        if canaries.find(text):
            if refuse:
                raise refused()
            text = canaries.hide(text)
        found = find(text, ("secret",)) if secrets else []
        return redact(text, found) if found else text

    return change


def refused() -> Denied:
    """An answer that must not go out."""
    return Denied(
        "the answer held what it was told to keep to itself, and was stopped by the policy of this organisation",
        code="injection_blocked",
        details={"found": ["canary"]},
    )


def _ways(word: str) -> list[str]:
    raw = word.encode()
    ways = [word, word[::-1], raw.hex(), " ".join(word), "-".join(word), ".".join(word)]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        first, last = -(-shift * 4 // 3), len(raw) + shift
        whole = encoded[first : last * 4 // 3]
        if len(whole) >= SHORTEST:
            ways.append(whole)
    return ways
