"""Secrecy: which texts are too weak to be a secret. A start with one is refused."""

from __future__ import annotations

#: Characters that a secret has at least.
LEAST = 24
_DIFFERENT = 8
#: What stands in examples, and so in everybody's hands.
_EXAMPLES = (
    "changeme",
    "replaceme",
    "yourkey",
    "yoursecret",
    "placeholder",
    "insecure",
    "donotuse",
    "passwordpassword",
)


def weakness(text: str, least: int = LEAST, different: int = _DIFFERENT) -> str:
    """What is wrong with it, in words that follow its name; empty when nothing is."""
    if len(text) < least:
        return "is too short"
    if len(set(text)) < different:
        return "has too few different characters"
    bare = "".join(letter for letter in text.lower() if letter.isalnum())
    if any(word in bare for word in _EXAMPLES):
        return "is an example and no secret"
    return ""
