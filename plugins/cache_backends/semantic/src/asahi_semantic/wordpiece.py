"""WordPiece as uncased BERT does it: lower, strip accents, split at punctuation, then the longest known pieces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

#: A word without any known piece, and a word that is longer than this, has no tokens.
_LONGEST = 100
_REMEMBERED = 50_000
_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2FA1F), (0xF900, 0xFAFF))


class WordPiece:
    """Turns a text into row numbers of the table whose words it is given. Words seen before are remembered."""

    def __init__(self, words: Sequence[str]) -> None:
        self._rows = {word: row for row, word in enumerate(words)}
        self._known: dict[str, tuple[int, ...]] = {}

    def rows(self, text: str, most: int) -> list[int]:
        """The first `most` tokens of the text."""
        found: list[int] = []
        known = self._known
        for word in split(text):
            pieces = known.get(word)
            if pieces is None:
                pieces = self._pieces(word)
                if len(known) < _REMEMBERED:
                    known[word] = pieces
            found += pieces
            if len(found) >= most:
                return found[:most]
        return found

    def _pieces(self, word: str) -> tuple[int, ...]:
        if len(word) > _LONGEST:
            return ()
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                row = self._rows.get(prefix + word[start:end])
                if row is not None:
                    pieces.append(row)
                    start = end
                    break
            else:
                return ()
        return tuple(pieces)


def split(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case and without accents."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    words: list[str] = []
    word: list[str] = []
    for character in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(character)
        if category == "Mn":
            continue
        apart = category[0] == "P" or category == "Sm" or _is_cjk(character) or character in "$+<=>^`|~"
        if apart or character.isspace() or category in {"Cc", "Cf"}:
            if word:
                words.append("".join(word))
                word = []
            if apart:
                words.append(character)
        else:
            word.append(character)
    if word:
        words.append("".join(word))
    return words


def _is_cjk(character: str) -> bool:
    point = ord(character)
    return any(low <= point <= high for low, high in _CJK)
