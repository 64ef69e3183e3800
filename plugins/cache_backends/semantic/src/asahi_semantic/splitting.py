"""Splitting: whether a question is really several, or a comparison, told by its words alone. Any doubt is one
question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

#: Longer texts are not looked at: whoever writes so much does not only compare, or only ask.
_LONGEST_COMPARISON, _LONGEST_LIST = 400, 20_000
_MOST_WORDS = 12
_SUBJECT = r"(?P<{0}>[^,;:?!\n]+?)"
_FOCUS = (
    r"(?P<focus>\s+(?:in terms of|with respect to|with regard to|regarding|when it comes to|for|based on)\s+[^?!\n]+?)?"
)
_PATTERNS = tuple(
    re.compile(rf"\s*(?:please\s+)?{pattern}\s*[?.!]?\s*", re.IGNORECASE)
    for pattern in (
        rf"(?:compare|contrast)\s+{_SUBJECT.format('one')}\s+(?:and|with|to|against|versus|vs\.?)\s+"
        rf"{_SUBJECT.format('other')}{_FOCUS}",
        rf"(?:what\s+(?:is|are)|what's|explain|describe)\s+the\s+(?:main\s+|key\s+)?differences?\s+between\s+"
        rf"{_SUBJECT.format('one')}\s+and\s+{_SUBJECT.format('other')}{_FOCUS}",
        rf"{_SUBJECT.format('one')}\s+(?:versus|vs\.?)\s+{_SUBJECT.format('other')}{_FOCUS}",
        rf"(?:which|what)\s+is\s+better,?\s+{_SUBJECT.format('one')}\s+or\s+{_SUBJECT.format('other')}{_FOCUS}",
    )
)
_ITEM = re.compile(r"^[ \t]{0,3}(\d{1,2})[.)][ \t]+(\S.*)$", re.MULTILINE)
_SENTENCE = re.compile(r"[^?]*\?")
#: What may stand before a list: a wish to have it answered, and nothing that asks for something about the list.
_ASKS = re.compile(r"(please\s+)?(answer|reply|respond)\b[^?]*$", re.IGNORECASE)
#: A question with one of these leans on another, so it is not asked alone.
_LEANING = re.compile(
    r"\b(it|its|they|them|their|theirs|he|she|him|her|his|this|that|these|those|there|former|latter|above|previous|"
    r"same|first one|second one|other one|both|each|and why|why not|how so|what about|how about)\b",
    re.IGNORECASE,
)


class Comparison(Struct, frozen=True):
    """Two subjects, and under which aspect."""

    one: str
    other: str
    focus: str


class Questions(Struct, frozen=True):
    """Questions that can each be asked alone; `context` belongs to all of them, `numbers` are those of the list."""

    texts: tuple[str, ...]
    context: str = ""
    numbers: tuple[int, ...] = ()


def comparison(text: str) -> Comparison | None:
    """The two subjects, where the whole text is one comparison of exactly two short ones."""
    if len(text) > _LONGEST_COMPARISON:
        return None
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            one, other = (" ".join(found[name].split()) for name in ("one", "other"))
            if _subject(one) and _subject(other) and one.lower() != other.lower():
                return Comparison(one, other, " ".join((found["focus"] or "").split()))
    return None


def questions(text: str, most: int) -> Questions | None:
    """The questions, from a numbered list of nothing else, else from a text that is nothing but questions. None for
    one, for too many, and where one leans on another."""
    found = _listed(text) or _asked(text) if len(text) <= _LONGEST_LIST else None
    if found is None or not 2 <= len(found.texts) <= most or len(set(found.texts)) < len(found.texts):
        return None
    if any(_LEANING.search(each) for each in found.texts[1:]):
        return None
    return found


def joined(found: Questions, answers: Sequence[str]) -> str:
    """The answers in order, numbered where the questions were."""
    if not found.numbers:
        return "\n\n".join(answers)
    return "\n\n".join(f"{number}. {answer}" for number, answer in zip(found.numbers, answers, strict=True))


def _listed(text: str) -> Questions | None:
    items = list(_ITEM.finditer(text))
    if len(items) < 2:
        return None
    numbers = tuple(int(item[1]) for item in items)
    if numbers != tuple(range(numbers[0], numbers[0] + len(numbers))):
        return None
    ends = [*(item.start() for item in items[1:]), len(text)]
    bodies = [text[item.start(2) : end].strip() for item, end in zip(items, ends, strict=True)]
    context = text[: items[0].start()].strip()
    if not all(body.endswith("?") and "\n\n" not in body for body in bodies) or (context and not _ASKS.match(context)):
        return None
    return Questions(tuple(bodies), context, numbers)


def _asked(text: str) -> Questions | None:
    if text.count("?") < 2 or not text.rstrip().endswith("?"):
        return None
    sentences = [each.strip() for each in _SENTENCE.findall(text)]
    if not all(_plain(each) for each in sentences):
        return None
    return Questions(tuple(sentences))


def _plain(sentence: str) -> bool:
    """One sentence that asks: nothing is stated before it, and it is more than a tag."""
    return len(sentence.split()) >= 3 and not re.search(r"[.!;:\n]\s", sentence[:-1]) and '"' not in sentence


def _subject(text: str) -> bool:
    lowered = f" {text.lower()} "
    joins = any(f" {word} " in lowered for word in ("and", "or", "vs", "versus"))
    return 0 < len(text.split()) <= _MOST_WORDS and not joins and not _LEANING.search(text)
