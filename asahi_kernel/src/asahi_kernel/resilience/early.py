"""Early refresh: an entry that many ask for is renewed by one of them shortly before it expires, and never by many.

Each asker draws, and the nearer the end the likelier it is chosen (optimal probabilistic cache stampede prevention,
Vattani, Chierichetti, Lowenstein, VLDB 2015): an entry that nobody asks for any more is not renewed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from asahi_kernel.clock import monotonic
from asahi_kernel.types import Hit

#: The time that a renewal takes is at most this share of an entry's life, or short lives would be shorter still.
_SHARE = 0.02
#: After an attempt nobody tries again for so many times what it takes.
_REST = 10.0
_MOST_RESTING = 10_000


class EarlyRefresh:
    """Who renews what. `chance` gives numbers in [0, 1)."""

    def __init__(self, clock: Callable[[], float] = monotonic, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._resting: dict[bytes, float] = {}

    def due(self, key: bytes, hit: Hit, takes_s: float) -> float:
        """For how many seconds the asker is the only one to renew this entry, or 0 when it is not the one."""
        if hit.expires_in_s is None or hit.expires_in_s <= 0:
            return 0.0
        takes_s = min(takes_s, _SHARE * (hit.age_s + hit.expires_in_s))
        if -takes_s * math.log(1.0 - self._chance()) < hit.expires_in_s:
            return 0.0
        now = self._clock()
        if self._resting.get(key, 0.0) > now:
            return 0.0
        if len(self._resting) >= _MOST_RESTING:
            self._resting = {each: until for each, until in self._resting.items() if until > now}
        self._resting[key] = now + _REST * takes_s
        return _REST * takes_s
