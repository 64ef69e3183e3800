"""An upstream: a provider with what the gateway keeps about it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from asahi_kernel.outlet import Outlet
from asahi_kernel.protocols import (
    BatchProvider,
    BoundedEmbedding,
    CountingProvider,
    EmbeddingProvider,
    MarkingProvider,
    SelectiveProvider,
    WireProvider,
)
from asahi_kernel.resilience.hedging import Hedges
from asahi_kernel.settings import Resilience
from asahi_kernel.types import Request

#: The wire of a provider that answers whatever it is sent.
ANY_WIRE = "*"
#: Texts in one call to a provider that embeds and does not say how many it takes.
MOST_TEXTS = 96


class Upstream:
    """A provider through one credential or several.

    Abilities are looked for once, here, and never on a request: all outlets are of one kind. `batching`, `counting` and
    `marking` are None for a provider that cannot; `wire` is empty for one that takes no vendor fields; `refuses` says
    why not this request.
    """

    def __init__(self, name: str, outlets: Sequence[Outlet], resilience: Resilience) -> None:
        self.name = name
        self.outlets = tuple(outlets)
        self.resilience = resilience
        provider = self.provider = outlets[0].provider
        self.batching = provider if isinstance(provider, BatchProvider) else None
        self.counting = provider if isinstance(provider, CountingProvider) else None
        self.marking = provider if isinstance(provider, MarkingProvider) else None
        self.embeds = isinstance(provider, EmbeddingProvider)
        self.most_texts = provider.most_texts if isinstance(provider, BoundedEmbedding) else MOST_TEXTS
        self.refuses = provider.refuses if isinstance(provider, SelectiveProvider) else _takes_all
        self.wire = provider.wire if isinstance(provider, WireProvider) else ""
        self.hedges = Hedges(resilience.hedging) if resilience.hedging.enabled else None
        self.answered = False

    def available(self) -> bool:
        """Whether any credential may be used now."""
        return any(outlet.available() for outlet in self.outlets)

    def enter(self) -> Outlet | None:
        """A credential to use, drawn by weight from those that are available; it must report back to its breaker."""
        if len(self.outlets) == 1:
            outlet = self.outlets[0]
            return outlet if outlet.available() and outlet.breaker.enter() else None
        open_ones = [outlet for outlet in self.outlets if outlet.available()]
        if not open_ones:
            return None
        (chosen,) = random.choices(open_ones, [outlet.weight for outlet in open_ones])
        return chosen if chosen.breaker.enter() else None

    def wait_s(self) -> float:
        """Seconds until a credential may be used again."""
        return min(outlet.wait_s() for outlet in self.outlets)

    def health(self) -> str:
        """`reachable`, `resting`, or `unknown` before the first call, judged from real traffic."""
        if not self.available():
            return "resting"
        return "reachable" if self.answered else "unknown"


def _takes_all(request: Request) -> str:
    return ""
