"""Scoring: how much a text looks like an attempt to override instructions. A signal, and no protection: who knows the
patterns gets around them. What holds is the filter on answers."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple


class _Phrasing(NamedTuple):
    weight: float
    words: frozenset[str]
    signs: tuple[str, ...]
    pattern: re.Pattern[str]


def _read() -> Iterator[_Phrasing]:
    for line in files(__package__).joinpath("patterns.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            weight, cues, pattern = line.split("\t", 2)
            words = frozenset(each for each in cues.split(" ") if each[0] != "=")
            signs = tuple(each[1:] for each in cues.split(" ") if each[0] == "=")
            yield _Phrasing(float(weight), words, signs, re.compile(pattern))


#: They are laid together as independent: 1 - (1 - a)(1 - b)…
_PHRASINGS = tuple(_read())

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]+"
)
_COMBINING = re.compile("[\u0300-\u036f]+")
_OTHER_LETTERS = re.compile("[\u0370-\u052f]")
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһӏмтвкнαοερτυνικχ",
    "aeopcyxijsdhlmtbkhaoeptuvikx",
)
#: From here on a word may be spelt out letter by letter.
_LETTERS = 5
_SPELT = re.compile(r"\b[a-z]([ ._*-])[a-z](?:\1[a-z]){3,60}\b")
_SPACED = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,8000}+={0,2}")
_SHORTEST_ENCODED, _MOST_DECODED = 24, 8
_MOST_SCANNED = 200_000

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAGS = re.compile("[\U000e0001-\U000e007f]{4}")
_HIDDEN = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]")
_FLOOD, _FLOOD_SHARE = 20, 0.2


def oddities(text: str) -> list[str]:
    """What is written so that a person does not see it."""
    if text.isascii():
        return ["control characters"] if _CONTROL.search(text) else []
    told = []
    if _CONTROL.search(text):
        told.append("control characters")
    if _BIDI.search(text):
        told.append("bidirectional overrides")
    if _TAGS.search(text):
        told.append("invisible tag characters")
    hidden = len(_HIDDEN.findall(text))
    if hidden > max(_FLOOD, _FLOOD_SHARE * len(text) / 4):
        told.append("a flood of zero-width characters")
    return told


def score(text: str) -> float:
    """0 to 1, of the text as a person reads it and of what is encoded in it. The first and last 100,000 characters are
    looked at."""
    if len(text) > _MOST_SCANNED:
        text = text[: _MOST_SCANNED // 2] + "\n" + text[-_MOST_SCANNED // 2 :]
    return max(_score(each) for each in (plain(text), *map(plain, _decoded(text))))


def plain(text: str) -> str:
    """In lower case, without what nobody sees, look-alikes as what they look like, spelt words joined."""
    if not text.isascii():
        text = _latin(text)
    text = text.lower()
    if sum(len(word) == 1 for word in text.translate(_SPACED).split()) >= _LETTERS:
        text = _SPELT.sub(lambda found: re.sub("[ ._*-]", "", found[0]), text)
    return text


def _latin(text: str) -> str:
    if max(text) >= "\U000e0000":
        text += "".join([chr(ord(each) - 0xE0000) for each in text if 0xE0020 <= ord(each) <= 0xE007E])
    text = _INVISIBLE.sub("", text)
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    if _OTHER_LETTERS.search(text):
        text = text.lower().translate(_LOOKALIKES)
    return text if text.isascii() else _COMBINING.sub("", unicodedata.normalize("NFD", text))


def _score(text: str) -> float:
    words = set(text.translate(_SPACED).split())
    innocent = 1.0
    for each in _PHRASINGS:
        hinted = not each.words.isdisjoint(words) or any(sign in text for sign in each.signs)
        if hinted and each.pattern.search(text):
            innocent *= 1 - each.weight
    return round(1 - innocent, 4)


def _decoded(text: str) -> Iterator[str]:
    """What is written in base64."""
    number = 0
    for word in text.split():
        for found in _ENCODED.finditer(word) if len(word) >= _SHORTEST_ENCODED else ():
            number += 1
            if number > _MOST_DECODED:
                return
            padded = found[0].rstrip("=").replace("-", "+").replace("_", "/")
            try:
                decoded = base64.b64decode(padded + "=" * (-len(padded) % 4)).decode()
            except ValueError:
                continue
            if decoded.isprintable():
                yield decoded
