"""Guards: what two texts must share before an answer of one may serve the other. Any doubt is a miss."""

from __future__ import annotations

from asahi_semantic.facts import Facts
from asahi_semantic.words import OPPOSITES, STOP

#: A slot is a run of at most so many words that differ in a frame that is otherwise the same.
_SLOT = 4


def veto(asked: Facts, stored: Facts) -> str:
    """Why the texts cannot have one answer, or nothing."""
    if asked.numbers != stored.numbers:
        return "numbers, units or dates differ"
    if asked.negated != stored.negated:
        return "one is negated"
    if asked.marks != stored.marks:
        return "quotations, identifiers or signs differ"
    if asked.language and stored.language and asked.language != stored.language:
        return "languages differ"
    if asked.entities - stored.entities - set(stored.words) and stored.entities - asked.entities - set(asked.words):
        return "names differ"
    if _compared(asked, stored):
        return "comparisons point the other way"
    if any((right, left) in stored.directions for left, right in asked.directions - stored.directions):
        return "the direction is turned"
    return _slot(asked, stored) or _order(asked, stored)


def _compared(asked: Facts, stored: Facts) -> bool:
    """Both compare, and not in one direction."""
    return bool(asked.compared and stored.compared) and asked.compared != stored.compared


def _slot(asked: Facts, stored: Facts) -> str:
    """One frame with something else in one place: templates differ just there, paraphrases seldom do."""
    one, other = asked.words, stored.words
    if one == other:
        return ""
    shortest = min(len(one), len(other))
    start = 0
    while start < shortest and one[start] == other[start]:
        start += 1
    end = 0
    while end < shortest - start and one[-1 - end] == other[-1 - end]:
        end += 1
    here, there = one[start : len(one) - end], other[start : len(other) - end]
    framed = start + end >= max(len(here), len(there)) and max(len(here), len(there)) <= _SLOT
    if framed and ((_meaning(here) and _meaning(there)) or frozenset((*here, *there)) in OPPOSITES):
        return "the same sentence about something else"
    return ""


def _meaning(words: tuple[str, ...]) -> bool:
    return any(word not in STOP for word in words)


def _order(asked: Facts, stored: Facts) -> str:
    """Who does what to whom: the same words in another order."""
    if asked.words == stored.words:
        return ""
    turned = asked.content != stored.content and sorted(asked.content) == sorted(stored.content)
    if turned or sorted(asked.words) == sorted(stored.words):
        return "the same words in another order"
    return ""
