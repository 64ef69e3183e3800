"""The policy `injection`: a score of what comes in, as a signal; a filter on what goes out, which holds."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from asahi_guard.actions import hygiene
from asahi_guard.leaking import Canaries, Watch, cleaned
from asahi_guard.scoring import oddities, score
from asahi_guard.standing import standing_of
from asahi_kernel import texts
from asahi_kernel.errors import Denied

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Completion, Principal, Request
    from asahi_kernel.vetting import Sieve

log = logging.getLogger(__name__)
_LONG = 20_000
#: Who writes these is not who configured the application.
_FOREIGN = frozenset({"user", "tool"})


class Injection:
    """`counts` says how often it found something since the start, over all orgs; `gateway.shared["guard.injection"]`
    too."""

    local = True

    def __init__(self, gateway: Gateway, canaries: Canaries, threshold: float) -> None:
        self._gateway = gateway
        self._canaries = canaries
        self._threshold = threshold
        self.counts: Counter[str] = gateway.shared.setdefault("guard.injection", Counter())

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Looks at what users, tools and documents say, not at the application's own instructions."""
        action = hygiene(await standing_of(self._gateway, principal.org))
        if action == "off":
            return request
        said = list(_foreign(request))
        found, odd = await asyncio.to_thread(_judge, said) if sum(map(len, said)) > _LONG else _judge(said)
        if found < self._threshold and not odd:
            return request
        self.counts.update(["odd"] * bool(odd) + ["scored"] * (found >= self._threshold))
        reasons = [*odd, *[f"score {found:.2f}"] * (found >= self._threshold)]
        if action == "block":
            raise Denied(
                f"the request looks like an attempt to override instructions ({'; '.join(reasons)}), which the policy "
                "of this organisation refuses",
                code="injection_blocked",
                details={"score": found, "found": odd},
            )
        if action == "log":
            log.info("a request of org %s looks like an injection: %s", principal.org, "; ".join(reasons))
            return request
        terms = request.terms
        notes = (*terms.notes, f"injection_flagged: {'; '.join(reasons)}")
        return msgspec.structs.replace(request, terms=msgspec.structs.replace(terms, notes=notes))

    async def clear(self, request: Request, principal: Principal) -> Request:
        """The same for what leaves without being inference."""
        return await self.admit(request, principal)

    async def release(self, request: Request, completion: Completion, principal: Principal) -> Completion:
        """Hides canaries and secrets; where the org blocks, a canary stops the answer."""
        refuse, secrets = self._watched(principal)
        if not (self._canaries or secrets):
            return completion
        return texts.of_completion(completion, cleaned(self._canaries, refuse, secrets))

    def sieve(self, request: Request, principal: Principal) -> Callable[[], Sieve] | None:
        """The same, piece by piece."""
        refuse, secrets = self._watched(principal)
        if not (self._canaries or secrets):
            return None
        return partial(Watch, self._canaries, refuse, secrets)

    def _watched(self, principal: Principal) -> tuple[bool, bool]:
        action = hygiene(self._gateway.standings.known(principal.org))
        return action == "block", action in {"flag", "block"}


def _judge(said: list[str]) -> tuple[float, list[str]]:
    odd = list(dict.fromkeys(each for text in said for each in oddities(text)))
    return max(map(score, said), default=0.0), odd


def _foreign(request: Request) -> Iterator[str]:
    if request.document is not None:
        yield request.document.text
    for message in request.messages:
        if message.role in _FOREIGN and (text := message.text):
            yield text
