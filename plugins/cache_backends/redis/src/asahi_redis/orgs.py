"""How an org is written in keys: a digest, since an org's name may hold anything."""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(maxsize=10_000)
def digest(org: str) -> str:
    """32 hexadecimal digits."""
    return hashlib.sha256(b"asahi org " + org.encode()).hexdigest()[:32]
