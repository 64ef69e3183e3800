"""What the guards know of one text: found once, kept with the entry."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import msgspec
from msgspec import Struct

from asahi_semantic.words import (
    COMPARISONS,
    DIRECTED,
    LANGUAGES,
    NEGATIONS,
    NUMBERS,
    QUESTIONS,
    STOP,
    UNITS,
)

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+|[%$€£¥₹]")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_MARK = re.compile(
    r"https?://\S+|\S+@\S+\.\S+|\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|`[^`\n]{1,200}`"
    r"|\b\w*(?:_\w+)+\b|\b[a-z]+(?:[A-Z][a-z0-9]*)+\b|\b\w+(?:\.\w+)*\(\)|--?[a-z][\w-]*(?==)|\B[#/]\w+"
)
_OPERATOR = re.compile(r"[<>]=?|[!=]=|[*^+]|(?<=\d)\s*[-/]\s*(?=\d)|\\\w+")
#: Before these, `may` is the month.
_BEFORE_MAY = frozenset({"in", "on", "of", "by", "since", "until", "from", "this", "next", "last"})


class Facts(Struct, frozen=True, array_like=True):
    """`marks` are quoted strings, addresses, identifiers and operators, `entities` names by their capitals,
    `directions` pairs of words that a directed word stands between."""

    words: tuple[str, ...]
    content: tuple[str, ...]
    numbers: tuple[str, ...]
    negated: bool
    marks: tuple[str, ...]
    entities: frozenset[str]
    directions: frozenset[tuple[str, str]]
    compared: tuple[str, ...]
    question: str
    language: str


def find(text: str) -> Facts:
    """Look at a text once."""
    plain = _APOSTROPHE.sub("", text)
    tokens = _TOKEN.findall(plain)
    words = [token.lower() for token in tokens]
    stems = [word if word in STOP else stem(word) for word in words]
    content = tuple([word for word in stems if word not in STOP])
    return Facts(
        words=tuple(stems),
        content=content,
        numbers=tuple(sorted(_quantities(words))),
        negated=sum(word in NEGATIONS for word in words) % 2 == 1,
        marks=tuple(sorted([*_MARK.findall(text), *(mark.strip() for mark in _OPERATOR.findall(text))])),
        entities=_entities(plain, tokens),
        directions=frozenset(_directions(words, stems)),
        compared=tuple(sorted(COMPARISONS[word] for word in words if word in COMPARISONS)),
        question=next((QUESTIONS[word] for word in words if word in QUESTIONS), ""),
        language=_language(words, text),
    )


pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Facts).decode


def stem(word: str) -> str:
    """A word without the commonest endings, so that `cards` and `card` are one."""
    if len(word) > 4:
        for ending in ("ing", "ed", "es", "s"):
            if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
                cut = word[: -len(ending)]
                return cut[:-1] if len(cut) > 3 and cut[-1] == cut[-2] and cut[-1] not in "ls" else cut.rstrip("e")
        return word.rstrip("e")
    return word[:-1] if len(word) == 4 and word.endswith("s") and not word.endswith("ss") else word


def _quantities(words: list[str]) -> list[str]:
    found = []
    for place, word in enumerate(words):
        if word[0].isdigit():
            found.append(_number(word))
        elif word in NUMBERS:
            found.append(NUMBERS[word])
        elif word in UNITS:
            found.append(UNITS[word])
        elif word == "may" and place and words[place - 1] in _BEFORE_MAY:
            found.append(word)
    return found


def _number(word: str) -> str:
    """`1,000` is 1000; other marks inside a number stay, and so do leading zeros of what is no plain number."""
    groups = word.split(",")
    if len(groups) > 1 and all(len(group) == 3 for group in groups[1:]):
        return "".join(groups)
    return unicodedata.normalize("NFKC", word)


def _entities(text: str, tokens: list[str]) -> frozenset[str]:
    """Words with a capital that do not begin a sentence; a text that shouts or is a title has none."""
    capital = [token for token in tokens if token[0].isupper()]
    if len(capital) * 2 > len(tokens) + 1:
        return frozenset()
    begins = {match.group(1) for match in re.finditer(r"(?:^|[.!?:]\s+|\n)\W*(\w+)", text)}
    counted = Counter(capital)
    return frozenset(
        stem(token.lower())
        for token in counted
        if token not in {"I", "Im", "Ive"} and (token not in begins or counted[token] > 1)
    )


def _directions(words: list[str], stems: list[str]) -> list[tuple[str, str]]:
    found = []
    for place, word in enumerate(words):
        if word not in DIRECTED:
            continue
        left = next((stems[at] for at in range(place - 1, -1, -1) if words[at] not in STOP), "")
        right = next((stems[at] for at in range(place + 1, len(words)) if words[at] not in STOP), "")
        if left and right and left != right:
            found.append((right, left) if word == "from" else (left, right))
    return found


def _language(words: list[str], text: str) -> str:
    """The script, and for Latin letters the language whose small words are there; empty when in doubt."""
    if not text.isascii():
        letters = [unicodedata.name(letter, "").split(" ")[0] for letter in text[:500] if letter.isalpha()]
        script, _ = Counter(letters).most_common(1)[0] if letters else ("", 0)
        if script != "LATIN":
            return script
    there = set(words)
    scores = {language: len(there & small) for language, small in LANGUAGES.items()}
    best = max(scores, key=scores.__getitem__)
    second = sorted(scores.values())[-2]
    return best if scores[best] >= 2 and scores[best] > second else ""
