"""Secrets that can be told by their shape: keys of known issuers, ours among them, signed tokens, private keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

_START = r"(?<![A-Za-z0-9])"
_END = r"(?![A-Za-z0-9])"
#: What every key of a format holds, and the format. A text without the former is not searched for the latter.
_FORMATS = tuple(
    (mark, re.compile(pattern))
    for mark, pattern in (
        ("ask_", rf"{_START}ask_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{49}}{_END}"),
        ("sk-", rf"{_START}sk-[A-Za-z0-9_\-]{{20,200}}+"),
        ("sk_", rf"{_START}[sr]k_(?:live|test)_[A-Za-z0-9]{{16,200}}+"),
        ("rk_", rf"{_START}rk_(?:live|test)_[A-Za-z0-9]{{16,200}}+"),
        ("KIA", rf"{_START}AKIA[0-9A-Z]{{16}}{_END}"),
        ("SIA", rf"{_START}ASIA[0-9A-Z]{{16}}{_END}"),
        ("gh", rf"{_START}gh[opsur]_[A-Za-z0-9]{{36,251}}+"),
        ("github_pat_", rf"{_START}github_pat_[A-Za-z0-9_]{{22,251}}+"),
        ("glpat-", rf"{_START}glpat-[A-Za-z0-9_\-]{{20,200}}+"),
        ("xox", rf"{_START}xox[abeoprs]-[A-Za-z0-9\-]{{10,250}}+"),
        ("AIza", rf"{_START}AIza[0-9A-Za-z_\-]{{35}}{_END}"),
        ("hf_", rf"{_START}hf_[A-Za-z0-9]{{30,200}}+"),
        ("npm_", rf"{_START}npm_[A-Za-z0-9]{{36}}{_END}"),
        ("SG.", rf"{_START}SG\.[A-Za-z0-9_\-]{{16,32}}\.[A-Za-z0-9_\-]{{16,64}}+"),
        ("eyJ", rf"{_START}eyJ[A-Za-z0-9_\-]{{8,4096}}+\.eyJ[A-Za-z0-9_\-]{{8,8192}}+\.[A-Za-z0-9_\-]{{8,1024}}+"),
        (
            "PRIVATE KEY",
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,]{0,8192}+"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
    )
)


def secrets(text: str) -> Iterator[tuple[int, int]]:
    """Each key, whole."""
    for mark, pattern in _FORMATS:
        if mark in text:
            for found in pattern.finditer(text):
                yield found.span()
