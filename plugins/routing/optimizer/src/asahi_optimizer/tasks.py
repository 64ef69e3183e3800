"""The task of a request, from keyword families in its last user turn and the beginning of its system prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.types import Request, Task

#: Characters read at each end of a long turn: instructions stand there, and time must not grow with the text between.
_REACH = 2_000
_SYSTEM = 500
_INTENT = 80

_FAMILIES: Mapping[Task, str] = {
    "summarization": "summarise~ summarize~ summary~ tldr tl;dr brief overview~ recap~",
    "reasoning": "why explain~ reason~ analyse~ analyze~ because cause~ understand~",
    "faq": "how_do_i what_is what_are who_is where_is when_did help_with tell_me_about",
    "coding": "write_code implement~ function~ class classes def import~ python javascript debug~ debugging refactor~ "
    "algorithm~",
    "translation": "translate~ translation~ convert_to",
    "classification": "classify~ categorise~ categorize~ sentiment~ label~ tag tags tagged tagging",
    "creative": "poem~ story~ haiku~ lyrics compose~",
    "legal": "legal legally contract~ statute~ regulation~ compliance attorney~",
    "extraction": "extract~ pull_out list_all find_every as_json fields",
}
_LANGUAGES = (
    "arabic bengali bulgarian chinese croatian czech danish dutch english estonian finnish french german greek hebrew "
    "hindi hungarian indonesian italian japanese korean latin latvian lithuanian malay mandarin norwegian persian "
    "polish portuguese romanian russian serbian slovak slovenian spanish swahili swedish tagalog tamil thai turkish "
    "ukrainian urdu vietnamese welsh"
)
_CONSTRAINING = (
    "must only exactly without avoid ensure include exclude except never always limit maximum minimum least most "
    "within between under format shall cannot required"
)
_FENCE = "```"
_END = re.compile(r"[.!?\n]")
_WORD = re.compile(r"[a-z]+")
_LETTERS = str.maketrans({chr(code): chr(code).lower() if chr(code).isalpha() else " " for code in range(128)})


class Detection(Struct, frozen=True, kw_only=True):
    """The task with its confidence, the number of different cues per family, and the first sentence of the question."""

    task: Task
    confidence: float
    matches: Mapping[str, int]
    intent: str


class Passage(Struct, frozen=True):
    """The part of a request that tells what it is about: the question, its words and those of the system prompt."""

    text: str
    words: list[str]
    matches: Mapping[str, int]
    constraints: int


def detect(request: Request, passage: Passage | None = None) -> Detection:
    """The family with the most cues, the one that comes first where two have as many; `general` when in doubt. A task
    that the caller stated is certain."""
    passage = passage or read(request)
    matches, stated = passage.matches, request.terms.task_type
    intent = first_sentence(passage.text)
    if stated is not None:
        return Detection(task=stated, confidence=1.0, matches=matches, intent=intent)
    if not matches:
        return Detection(task="general", confidence=0.1, matches=matches, intent=intent)
    best = max(matches, key=matches.__getitem__)
    confidence = min(0.95, 0.3 + 0.2 * (matches[best] - 1)) * (0.9 if len(matches) > 1 else 1.0)
    task = cast("Task", best) if confidence >= 0.3 else "general"
    return Detection(task=task, confidence=round(confidence, 4), matches=matches, intent=intent)


def read(request: Request) -> Passage:
    """Read the question and the system prompt once, for the task and for the difficulty."""
    text = system = ""
    for message in reversed(request.messages):
        if message.role == "user":
            text = _asked(message.text)
            break
    first = request.messages[0] if request.messages else None
    if first is not None and first.role in {"system", "developer"}:
        system = first.text[:_SYSTEM]
    words = _words(text)
    cues, constraints = _cues(words)
    if system:
        cues |= _cues(_words(system))[0]
    if _FENCE in text:
        cues[_FENCE] = "coding"
    matches: dict[str, int] = {}
    for family in cues.values():
        matches[family] = matches.get(family, 0) + 1
    return Passage(text, words, matches, constraints)


def first_sentence(text: str) -> str:
    """The first sentence, at most 80 characters of it."""
    start = text[: _INTENT + 1].lstrip()
    end = _END.search(start)
    return (start[: end.start()] if end else start)[:_INTENT]


def _asked(text: str) -> str:
    """A turn without the document in front of its question, and only both ends if it is long."""
    if text.startswith("<document>\n"):
        text = text[text.rfind("</document>") + 11 :].lstrip()
    return text if len(text) <= 2 * _REACH else f"{text[:_REACH]}\n{text[-_REACH:]}"


def _words(text: str) -> list[str]:
    return text.translate(_LETTERS).split() if text.isascii() else _WORD.findall(text.lower())


def _cues(words: list[str]) -> tuple[dict[str, str], int]:
    """The different cues with their family, in order of appearance, and the number of words that constrain."""
    found: dict[str, str] = {}
    constraints = 0
    for place, word in enumerate(words):
        if word not in _KNOWN:
            continue
        if word in _SINGLE:
            found[word] = _SINGLE[word]
        elif word in _CONSTRAINTS:
            constraints += 1
        for rest, family in _PHRASES.get(word, ()):
            if words[place + 1 : place + 1 + len(rest)] == rest:
                found[f"{word} {' '.join(rest)}"] = family
    return found, constraints


def _forms(cue: str) -> Iterator[str]:
    """A cue in the forms that English gives it."""
    if not cue.endswith("~"):
        yield cue
        return
    word = cue[:-1]
    yield word
    if word.endswith("e"):
        yield from (f"{word}s", f"{word}d", f"{word[:-1]}ing")
    elif word.endswith("y"):
        yield from (f"{word[:-1]}ies", f"{word[:-1]}ied", f"{word}ing")
    else:
        yield from (f"{word}s", f"{word}ed", f"{word}ing")


def _tables() -> tuple[dict[str, str], dict[str, list[tuple[list[str], str]]]]:
    single: dict[str, str] = {}
    phrases: dict[str, list[tuple[list[str], str]]] = {}
    for family, cues in _FAMILIES.items():
        for form in (form for cue in cues.split() for form in _forms(cue)):
            first, *rest = re.split(r"[_;]", form)
            if rest:
                phrases.setdefault(first, []).append((rest, family))
            else:
                single[first] = family
    for language in _LANGUAGES.split():
        phrases.setdefault("in", []).append(([language], "translation"))
    return single, phrases


_CONSTRAINTS = frozenset(_CONSTRAINING.split())
_SINGLE, _PHRASES = _tables()
_KNOWN = frozenset(_SINGLE) | frozenset(_PHRASES) | _CONSTRAINTS
