"""Field names: what an unknown one was meant to be, and what is left of an object when the known are taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import lru_cache

import msgspec

from asahi_kernel.errors import Invalid

# Comparing names costs up to 0.1 ms each, so how long and how many they may be is bounded.
LONGEST = 64
MOST = 64

# Fields of other hosts of the OpenAI wire that only look like misspelt ones of ours.
_FOREIGN = frozenset({"documents"})
_encode = msgspec.json.Encoder().encode


def fold(name: str) -> str:
    """A name without case and separators: `maxTokens`, `Max-Tokens` and `max_tokens` are one."""
    return name.replace("_", "").replace("-", "").lower()


def nearest(name: str, known: frozenset[str], likeness: float = 0.7) -> str | None:
    """The known name most like this one, or None if none comes near."""
    return _nearest(name, known, likeness) if len(name) <= LONGEST else None


def unknown(name: str, known: frozenset[str], where: str = "") -> Invalid:
    """The error for a field that is not known in the object at `where`."""
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    meant = nearest(name, known)
    hint = f"; did you mean `{meant}`?" if meant else ""
    param = f"{where}.{shown}" if where else shown
    return Invalid(f"unknown field `{shown}`{_within(where)}{hint}", code="unknown_field", param=param)


def misspelt(name: str, known: frozenset[str], ours: frozenset[str] = frozenset()) -> bool:
    """Whether an unknown name differs from a known one only in case or separators, or is nearly one of ours."""
    if len(name) > LONGEST or name in _FOREIGN:
        return False
    folded = fold(name)
    if folded in _folds(known):
        return True
    return bool(ours) and (folded.startswith(("asahi", "xasahi")) or nearest(name, ours, 0.85) is not None)


def refuse(names: Collection[str], known: frozenset[str], ours: frozenset[str], where: str, strict: bool) -> None:
    """Raise for the first name that is misspelt or, when strict, for the first that is not known."""
    if len(names) > len(known) + MOST:
        raise Invalid(f"more than {MOST} unknown fields{_within(where)}", code="unknown_field", param=where or None)
    for name in sorted(names):
        if name not in known and (strict or misspelt(name, known, ours)):
            raise unknown(name, known | ours, where)


def leftover(
    raw: Mapping[str, object], taken: frozenset[str], known: frozenset[str], where: str, strict: bool
) -> dict[str, object]:
    """The members that were not taken; a null of a known field means the same as none, and is left out."""
    names = raw.keys() - taken
    if not names:
        return {}
    refuse(names, known, frozenset(), where, strict)
    return {name: value for name, value in raw.items() if name in names and (value is not None or name not in known)}


def packed(members: Mapping[str, object]) -> bytes:
    """The members as the JSON of an object, or nothing when there are none."""
    return _encode(members) if members else b""


def _within(where: str) -> str:
    return f" in `{where}`" if where else ""


@lru_cache(maxsize=64)
def _folds(known: frozenset[str]) -> dict[str, str]:
    return {fold(name): name for name in sorted(known)}


@lru_cache(maxsize=1024)
def _nearest(name: str, known: frozenset[str], likeness: float) -> str | None:
    same = _folds(known).get(fold(name))
    return same or next(iter(get_close_matches(name, sorted(known), 1, likeness)), None)
