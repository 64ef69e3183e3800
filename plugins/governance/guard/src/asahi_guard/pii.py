"""The policy `pii`: personal data in a request is flagged, redacted or refused before any cache, log or vendor sees it,
and redacted in answers, streams too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from asahi_guard.actions import Treatment, treatment
from asahi_guard.finding import KINDS, redact
from asahi_guard.sieving import Redacting
from asahi_guard.standing import standing_of
from asahi_kernel import texts
from asahi_kernel.errors import Denied

if TYPE_CHECKING:
    from asahi_guard.detectors import Detectors
    from asahi_kernel.detecting import Detected
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Completion, Principal, Request
    from asahi_kernel.vetting import Sieve

    Searched: TypeAlias = Mapping[str, list[Detected]]

#: A longer request is looked through in a thread, so that nobody else waits for it.
_LONG = 50_000


class Personal:
    """`counts` says how often which kind was seen since the start, over all orgs; `gateway.shared["guard.pii"]` too."""

    local = True

    def __init__(self, gateway: Gateway, detectors: Detectors) -> None:
        self._gateway = gateway
        self._detectors = detectors
        self.counts: Counter[str] = gateway.shared.setdefault("guard.pii", Counter())

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Raises `Denied` that names the kinds, and never what was found."""
        treated = treatment(await standing_of(self._gateway, principal.org))
        if treated.action == "off" and not treated.always:
            return request
        kinds = treated.sought(self._detectors.kinds)
        searched: Searched = {}
        if self._detectors.waits(kinds):
            searched = await self._search(lambda change: texts.of_request(request, change), kinds)
        look = partial(self._look, request, treated, kinds, searched)
        changed, seen = await asyncio.to_thread(look) if _size(request) > _LONG else look()
        if not seen:
            return request
        self.counts.update(seen)
        kinds = [kind for kind in self._detectors.kinds if kind in seen]
        if treated.action == "block":
            raise Denied(
                f"the request holds personal data ({', '.join(kinds)}), which the policy of this organisation forbids; "
                "take it out and ask again",
                code="pii_blocked",
                details={"kinds": kinds},
            )
        hidden = treated.redacted(kinds)
        kept = [kind for kind in kinds if kind not in hidden]
        notes = [f"pii_redacted: {', '.join(hidden)}"] * bool(hidden) + [f"pii_flagged: {', '.join(kept)}"] * bool(kept)
        terms = changed.terms
        return msgspec.structs.replace(changed, terms=msgspec.structs.replace(terms, notes=(*terms.notes, *notes)))

    async def clear(self, request: Request, principal: Principal) -> Request:
        """The same for what leaves without being inference."""
        return await self.admit(request, principal)

    async def release(self, request: Request, completion: Completion, principal: Principal) -> Completion:
        """Redacts what the request may not hold either; an answer that is there is not refused for it."""
        kinds = treatment(await standing_of(self._gateway, principal.org)).redacted(self._detectors.kinds)
        if not kinds:
            return completion
        searched: Searched = {}
        if self._detectors.waits(kinds):
            searched = await self._search(lambda change: texts.of_completion(completion, change), kinds)
        return texts.of_completion(completion, self._redactor(kinds, searched))

    def whole(self, request: Request, principal: Principal) -> bool:
        """Whether another detector than the built-in one must see the answer: names are told by what stands around."""
        standing = self._gateway.standings.known(principal.org)
        return self._detectors.waits(treatment(standing).redacted(self._detectors.kinds))

    def sieve(self, request: Request, principal: Principal) -> Callable[[], Sieve] | None:
        """The same, piece by piece."""
        kinds = treatment(self._gateway.standings.known(principal.org)).redacted(KINDS)
        return partial(Redacting, kinds) if kinds else None

    async def _search(self, walk: Callable[[Callable[[str], str]], object], kinds: Sequence[str]) -> Searched:
        """What has to be waited for, of every text that a walk meets."""
        met: dict[str, None] = {}

        def note(text: str) -> str:
            met[text] = None
            return text

        walk(note)
        return await self._detectors.search(met, kinds)

    def _redactor(self, kinds: Sequence[str], searched: Searched) -> Callable[[str], str]:
        def change(text: str) -> str:
            found = self._detectors.look(text, kinds, searched)
            self.counts.update([f"answer.{each.kind}" for each in found])
            return redact(text, found, self._detectors.marks) if found else text

        return change

    def _look(
        self, request: Request, treated: Treatment, kinds: Sequence[str], searched: Searched
    ) -> tuple[Request, Counter[str]]:
        """The request as it may go on, and how often each kind is in it."""
        seen: Counter[str] = Counter()
        hidden = treated.redacted(kinds)

        def change(text: str) -> str:
            found = self._detectors.look(text, kinds, searched)
            if not found:
                return text
            seen.update([each.kind for each in found])
            return redact(text, [each for each in found if each.kind in hidden], self._detectors.marks)

        return texts.of_request(request, change), seen


def _size(request: Request) -> int:
    """About how many characters there are to look through."""
    size = len(request.document.text) if request.document is not None else 0
    for message in request.messages:
        if isinstance(message.content, str):
            size += len(message.content)
        else:
            size += sum(len(part.text or "") + len(part.raw) for part in message.content or ())
        size += sum(len(call.arguments) for call in message.tool_calls)
    return size
