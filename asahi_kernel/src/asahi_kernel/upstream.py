"""An upstream: a provider with what the gateway keeps about it."""

from __future__ import annotations

from asahi_kernel.protocols import Provider, StreamingProvider, WireProvider
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.settings import Resilience

#: The wire of a provider that answers whatever it is sent.
ANY_WIRE = "*"


class Upstream:
    """Abilities are looked for once, here, and never on a request. `streaming` is None for a provider that cannot;
    `wire` is empty for one that takes no vendor fields."""

    def __init__(self, name: str, provider: Provider, resilience: Resilience) -> None:
        self.name = name
        self.provider = provider
        self.resilience = resilience
        self.streaming = provider if isinstance(provider, StreamingProvider) else None
        self.wire = provider.wire if isinstance(provider, WireProvider) else ""
        self.breaker = Breaker(resilience.breaker)
        self.answered = False
        self.in_use = 0

    def health(self) -> str:
        """`reachable`, `resting`, or `unknown` before the first call, judged from real traffic."""
        if self.breaker.open:
            return "resting"
        return "reachable" if self.answered else "unknown"
