"""An outlet: one credential at one provider, with what the gateway has learned of it."""

from __future__ import annotations

import random
from collections.abc import Callable

from asahi_kernel.clock import monotonic
from asahi_kernel.protocols import Provider, StreamingProvider
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.settings import BreakerSettings

#: How long a credential rests that the vendor did not accept: somebody has to mend it.
REFUSED_S = 60.0
_LIMITED_S = 1.0
#: No vendor's wish rests a credential longer than this without another try.
_LONGEST_S = 600.0


class Outlet:
    """Its breaker opens on failures; a vendor's rate limit or refusal rests it. `streaming` is None where it cannot."""

    def __init__(
        self,
        name: str,
        provider: Provider,
        settings: BreakerSettings | None = None,
        weight: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self.provider = provider
        self.streaming = provider if isinstance(provider, StreamingProvider) else None
        self.weight = weight
        self.breaker = Breaker(settings, clock)
        self._clock = clock
        self._rests_until = 0.0

    def available(self) -> bool:
        """Whether a call may be made now. Changes nothing."""
        return self._clock() >= self._rests_until and self.breaker.available()

    def wait_s(self) -> float:
        """Seconds until the next call may be made."""
        return max(self._rests_until - self._clock(), self.breaker.wait_s(), 0.0)

    def limited(self, retry_after: float | None) -> None:
        """The vendor said 429: rest as long as it asks, and up to 10 % more so that callers do not return together."""
        wish = _LIMITED_S if retry_after is None else min(retry_after, _LONGEST_S)
        self._rest(wish * (1 + random.random() / 10))

    def refused(self) -> None:
        """The vendor did not accept the credential."""
        self._rest(REFUSED_S)

    def _rest(self, seconds: float) -> None:
        self._rests_until = max(self._rests_until, self._clock() + seconds)
