"""Which model still has the beginning of a conversation in its vendor's prompt cache, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel import Candidate, Usage
from asahi_kernel.clock import monotonic
from asahi_kernel.money import count_input, expect_output
from asahi_kernel.prefixes import Recent, digests

if TYPE_CHECKING:
    from asahi_kernel import Request

#: Vendors keep a prompt of at least so many tokens for at least so long.
_LEAST_TOKENS = 1_024
_KEPT_S = 300.0
_MOST = 2_000


class Warm(Struct, frozen=True):
    """The model that answered the beginning of a conversation, and how many tokens that was."""

    model: str
    tokens: int


class Warmth:
    """Remembers, for each org, who answered last. Bounded; what is pushed out counts as cold."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._warm: Recent[Warm] = Recent(_KEPT_S, most=_MOST, clock=clock)

    def remember(self, org: str, request: Request, model: str) -> None:
        """The model has just read these messages."""
        if sum(len(message.text) for message in request.messages) < 2 * _LEAST_TOKENS:
            return
        tokens = count_input(request)
        if tokens >= _LEAST_TOKENS:
            self._warm.put(org, digests(request)[-1], Warm(model, tokens))

    def of(self, org: str, request: Request) -> Warm | None:
        """Who has what came before the last answer in this conversation still in its cache."""
        if not self._warm or len(request.messages) < 3:
            return None
        answers = [place for place, message in enumerate(request.messages) if message.role == "assistant"]
        return self._warm.get(org, digests(request)[answers[-1]]) if answers else None


def discounted(candidate: Candidate, request: Request, warm: Warm) -> int | None:
    """The candidate's cost with the warm beginning at the price of a cache read. Only for the model that has it, and if
    its profile says `prompt_cache` and has that price."""
    model, prices = candidate.model, candidate.model.prices
    if model.name != warm.model or prices is None or prices.cache_read is None:
        return candidate.cost
    if "prompt_cache" not in model.capabilities:
        return candidate.cost
    tokens = candidate.input_tokens
    output = expect_output(tokens, request.max_tokens)
    return prices.cost(Usage(tokens, output, cached_tokens=min(warm.tokens, tokens))) * request.n
