"""The intermediate tier: splits a request into steps, and keeps what each step gave."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Literal

import msgspec

from asahi_kernel import Completion, Hit, Principal, Request
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.money import count_tokens
from asahi_kernel.tiers import CacheRow, Step, TierStats
from asahi_semantic.plans import AboutDocument, Compared, Kind, Severally
from asahi_semantic.splitting import comparison, questions

if TYPE_CHECKING:
    from asahi_kernel.fingerprint import Salt
    from asahi_kernel.protocols import CacheTier
    from asahi_kernel.tiers import Plan
    from asahi_semantic.config import IntermediateConfig

#: Part of every key: another version splits and asks otherwise.
VERSION = "asahi-steps-1"
_DOCUMENTS = 10_000
_LEAST_SHARE = 64
_encode = msgspec.msgpack.Encoder().encode


class IntermediateTier:
    """`shared` gives a tier that the other workers see too, or None; what is found there is kept here as well. Clearing
    takes all of the org's entries there: to forget too much is only dearer."""

    local = True
    tier: Literal[1, 2, 3] = 3

    def __init__(
        self,
        config: IntermediateConfig,
        shelf: MemoryTier,
        salt: Callable[[str], Salt],
        *,
        shared: Callable[[], CacheTier | None] = lambda: None,
        wanted: Callable[[str], bool] = lambda org: True,
        life: Callable[[str], float] = lambda org: inf,
    ) -> None:
        self._config = config
        self._shelf = shelf
        self._salt = salt
        self._shared = shared
        self._wanted = wanted
        self._life = life
        self._documents: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._stale: set[tuple[str, str]] = set()
        self._reused: dict[str, int] = {}

    async def get(self, key: bytes, request: Request, principal: Principal) -> Hit | None:
        return None

    async def put(self, key: bytes, request: Request, principal: Principal, completion: Completion) -> None:
        """Whole answers belong to the other tiers."""

    def plan(self, request: Request, principal: Principal) -> Plan | None:
        if not self._config.enabled or not self._wanted(principal.org) or not admissible(request):
            return None
        self._notice(request, principal.org)
        salt, need = self._salt(principal.org), _need(request)

        def keyed(kind: Kind, step: Request) -> bytes:
            bare = msgspec.structs.replace(_normalised(step), terms=_NO_TERMS)
            return salt.sign(_encode([VERSION, kind, need, bare]))

        text, shapes = request.messages[-1].text, self._config.shapes
        long = request.document is not None and count_tokens(request.document.text) >= self._config.min_document_tokens
        if request.document is None and "comparison" in shapes and (compared := comparison(text)) is not None:
            return Compared(request, keyed, compared)
        found = questions(text, self._config.max_steps - long) if "questions" in shapes else None
        if found is not None and (request.max_tokens or 1 << 30) // len(found.texts) >= _LEAST_SHARE:
            return Severally(request, keyed, found, shorten=long)
        return AboutDocument(request, keyed) if long and "document" in shapes else None

    async def find(self, step: Step, principal: Principal) -> Hit | None:
        if step.document_id is not None and (principal.org, step.document_id) in self._stale:
            await self._forget_document(principal.org, step.document_id)
        found = await self._shelf.get(step.key, step.request, principal)
        if found is None and (shared := self._shared()) is not None:
            found = await shared.get(step.key, step.request, principal)
            if found is not None and found.age_s >= self._life(principal.org):
                found = None
            if found is not None:
                await self._shelf.put(step.key, step.request, principal, found.completion)
        if found is None:
            return None
        self._reused[principal.org] = self._reused.get(principal.org, 0) + 1
        return msgspec.structs.replace(found, tier=3, expires_in_s=None)

    async def keep(self, step: Step, principal: Principal, result: Completion) -> None:
        await self._shelf.put(step.key, step.request, principal, result)
        if (shared := self._shared()) is not None:
            await shared.put(step.key, step.request, principal, result)

    async def clear(self, org: str) -> int:
        gone = await self._shelf.clear(org)
        if (shared := self._shared()) is not None:
            await shared.clear(org)
        return gone

    async def evict(self, org: str, entry_id: str) -> bool:
        gone = await self._shelf.evict(org, entry_id)
        if gone and (shared := self._shared()) is not None:
            await shared.clear(org)
        return gone

    async def expire(self) -> int:
        return await self._shelf.expire()

    def held(self) -> tuple[int, int]:
        """Entries and bytes in this process, of all orgs together."""
        return self._shelf.held()

    async def entries(self, org: str) -> Sequence[str]:
        return await self._shelf.entries(org)

    def rows(self, org: str, before: str | None = None) -> AsyncIterator[CacheRow]:
        return self._shelf.rows(org, before)

    async def sweep(self, org: str) -> int:
        return await self._shelf.sweep(org)

    async def stats(self, org: str) -> TierStats:
        found = await self._shelf.stats(org)
        more: Mapping[str, int] = {"steps_reused": self._reused.get(org, 0)}
        return TierStats(found.entries, found.bytes, found.backend, more)

    def _notice(self, request: Request, org: str) -> None:
        """A document that comes under a known id with another content makes the steps of the old one stale."""
        document = request.document
        if document is None or document.id is None:
            return
        digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).digest()
        known = self._documents.get((org, document.id))
        if known is not None and known != digest:
            self._stale.add((org, document.id))
        self._documents[org, document.id] = digest
        self._documents.move_to_end((org, document.id))
        if len(self._documents) > _DOCUMENTS:
            self._documents.popitem(last=False)

    async def _forget_document(self, org: str, document_id: str) -> None:
        self._stale.discard((org, document_id))
        doomed = [row.entry_id async for row in self._shelf.rows(org) if row.document_id == document_id]
        for entry_id in doomed:
            await self._shelf.evict(org, entry_id)


_NO_TERMS = Request(messages=()).terms


def admissible(request: Request) -> bool:
    """Whether a request is plain enough to be split: one turn of text, no tools, nothing that shapes the whole of the
    answer, and no bound in money, which each step could keep while all together break it."""
    terms, turns = request.terms, request.messages
    if terms.cache != "on" or terms.intermediate_cache is False or terms.cost_budget is not None:
        return False
    if request.n != 1 or request.tools or request.tool_choice or request.response_format or request.stop:
        return False
    if request.wire or request.options or request.examples or request.enrich_with_features:
        return False
    if not turns or turns[-1].role != "user" or any(each.role not in {"system", "developer"} for each in turns[:-1]):
        return False
    return all(isinstance(each.content, str) and not each.extra and not each.name for each in turns)


def _need(request: Request) -> tuple[str, float, str]:
    """What the answer must be worth: a result that was good enough for less is not good enough for more."""
    terms = request.terms
    preference = terms.quality_preference or "medium" if terms.mode == "guided" else ""
    return terms.mode, terms.quality_threshold or 0.0, preference


def _normalised(request: Request) -> Request:
    """With runs of blanks as one, for the key alone."""
    messages = tuple(msgspec.structs.replace(each, content=" ".join(each.text.split())) for each in request.messages)
    document = request.document
    if document is not None:
        document = msgspec.structs.replace(document, text=" ".join(document.text.split()), id=None)
    return msgspec.structs.replace(request, messages=messages, document=document)
