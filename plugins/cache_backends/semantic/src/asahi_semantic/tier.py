"""The semantic tier: answers a question with the stored answer of another that asks the same. Read `get` and `put`."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from asahi_kernel import Completion, Hit, Principal, Request
from asahi_kernel.clock import timestamp
from asahi_kernel.identity import new_id
from asahi_kernel.tiers import CacheRow, TierStats
from asahi_semantic.admission import alias, frame, refusal
from asahi_semantic.context import FLOOR, Contexts
from asahi_semantic.entries import Entries, Entry, Record
from asahi_semantic.facts import find, pack
from asahi_semantic.guards import veto
from asahi_semantic.judge import equal
from asahi_semantic.keeping import Keeper
from asahi_semantic.looking import Asked, Candidate, Outlook
from asahi_semantic.parts import Parts
from asahi_semantic.precision import told
from asahi_semantic.stock import Detach, OwnStock, Stock
from asahi_semantic.tenant import Tenant
from asahi_semantic.thresholds import Scale, floor, least_chance
from asahi_semantic.verifier import FAR, Pair, Prior, features
from asahi_semantic.wishes import Wanted, Wishes, of_file

if TYPE_CHECKING:
    from asahi_semantic.config import SemanticConfig
    from asahi_semantic.controller import Precision

Recheck: TypeAlias = Callable[[Request, Principal, str], Awaitable[Completion | None]]
#: Told of each served answer that was found out: org, task, what was served, right or not, who said so.
FoundOut: TypeAlias = Callable[[str, str, Candidate, bool, Literal["recheck", "feedback"]], None]

log = logging.getLogger(__name__)

#: Look-ups whose answer is still to come, and hits that feedback may still judge.
_PENDING, _SERVED = 4_096, 10_000
#: Neighbours fetched for each that is wanted, since some are of another system prompt or have expired.
_SPARE = 4
#: The similarity under which a neighbour is no candidate at all.
_NEAR = 0.5


class SemanticTier:
    """Serves only what passes the guards, the similarity floor, the money test, and a controller that has seen enough
    to promise the error bound. Everything else it only compares with the answer that comes instead."""

    tier: Literal[1, 2, 3] = 2

    def __init__(
        self,
        config: SemanticConfig,
        parts: Parts,
        prior: Prior,
        scale: Scale,
        *,
        keeper: Keeper | None = None,
        stock: Stock | None = None,
        contexts: Contexts | None = None,
        classify: Callable[[Request], str] = lambda request: request.terms.task_type or "general",
        recheck: Recheck | None = None,
        detach: Detach | None = None,
        wanted: Wanted | None = None,
        found_out: FoundOut | None = None,
        ttl_s: float = 86_400,
        ttl_jitter: float = 0.05,
        clock: Callable[[], float] = timestamp,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._parts = parts
        self._prior = prior
        self._scale = scale
        self._keeper = keeper or Keeper(None, None)
        self._loading = False
        self._contexts = contexts or Contexts()
        self._classify = classify
        self._recheck = recheck
        self._detach = detach
        self._wanted: Wanted = wanted or (lambda org: of_file(config))
        self._found_out = found_out
        self._cleared: dict[str, float] = {}
        self._ttl_s, self._ttl_jitter = ttl_s, ttl_jitter
        self._clock, self._draw = clock, draw
        self._stock: Stock = stock or OwnStock(Entries(config.max_entries), parts, self._keeper, clock, detach=detach)
        self._tenants: dict[str, Tenant] = {}
        self._pending: OrderedDict[bytes, Outlook] = OrderedDict()
        self._served: OrderedDict[tuple[str, str], tuple[str, Candidate]] = OrderedDict()
        self.reasons: dict[str, int] = {}
        if parts.here or self._contexts.kind == "model":
            self.local = True

    async def get(self, key: bytes, request: Request, principal: Principal) -> Hit | None:
        await self._listen()
        began = self._clock()
        if reason := self._inadmissible(request, principal.org):
            self._miss(reason)
            return None
        exact = self._exact(request, principal)
        if exact is not None:
            return self._hit(exact, 1.0)
        asked = await self._look(request, principal)
        near = await self._near(asked)
        same = next((entry for entry, _ in near if entry.alias == asked.alias), None)
        if same is not None:
            return self._hit(same, 1.0)
        tenant = self._tenant(asked.org)
        tenant.controller(asked.task).asked()
        candidate = self._candidate(asked, near, request, tenant)
        if candidate is None or candidate.refused:
            self._await_answer(key, Outlook(asked, candidate, began))
            self._miss(candidate.refused if candidate else "nothing near")
            return None
        self._serve(asked, candidate, tenant, request, principal)
        return self._hit(candidate.entry, candidate.similarity)

    async def put(self, key: bytes, request: Request, principal: Principal, completion: Completion) -> None:
        await self._listen()
        outlook = self._pending.pop(key, None)
        if self._inadmissible(request, principal.org):
            return
        if outlook is not None and outlook.began <= self._cleared.get(principal.org, 0.0):
            return
        asked = outlook.asked if outlook is not None else await self._look(request, principal)
        candidate = outlook.candidate if outlook is not None else None
        same: Entry | None = None
        if candidate is not None and self._stock.has(candidate.entry):
            right = await self._judge(candidate, completion, asked.task)
            self._learn_miss(asked, candidate, right)
            same = candidate.entry if right else None
        await self._keep(asked, principal, completion, same)

    async def clear(self, org: str) -> int:
        """Here and, as soon as they hear of it, in the other workers; no answer to an older question is kept."""
        self._cleared[org] = self._clock()
        return await self._stock.clear(org)

    async def evict(self, org: str, entry_id: str) -> bool:
        """Forget an entry whose answer was wrong for somebody, and learn from it."""
        self._found_wrong(org, entry_id)
        return await self._stock.evict(org, entry_id)

    async def expire(self) -> int:
        return await self._stock.expire()

    async def sweep(self, org: str) -> int:
        return await self._stock.sweep(org)

    async def trim(self, org: str) -> int:
        """Have the org's bound kept where its entries are shared."""
        return await self._stock.trim(org)

    def rows(self, org: str, before: str | None = None) -> AsyncIterator[CacheRow]:
        return self._stock.rows(org, before)

    async def stats(self, org: str) -> TierStats:
        entries, size = await self._stock.sizes(org)
        more = told(self.precision(org), self._wanted(org).max_error_rate, self._parts)
        return TierStats(entries, size, self._config.vector_store, {**more, "loading": self._loading})

    async def scrub(self) -> None:
        """Take what was forgotten out of the files."""
        await self._listen()
        await self._stock.scrub()

    def held(self) -> tuple[int, int]:
        """Entries and bytes in this process, of all orgs together."""
        return self._stock.held()

    async def entries(self, org: str) -> Sequence[str]:
        return await self._stock.ids(org)

    def precision(self, org: str) -> list[Precision]:
        """How the org's tasks are doing, by the labels there are."""
        tenant = self._tenants.get(org)
        return tenant.precision() if tenant else []

    async def load(self) -> None:
        """Take up what a former process left. Until that is done nothing is answered, and nothing kept."""
        self._loading = True
        try:
            await self._stock.load(self._tenant)
        finally:
            self._loading = False

    def _inadmissible(self, request: Request, org: str) -> str:
        if self._loading:
            return "still loading"
        return refusal(request, self._config) if self._wanted(org).enabled else "switched off"

    def _tenant(self, org: str) -> Tenant:
        found = self._tenants.get(org)
        if found is None:
            found = self._tenants[org] = Tenant(self._prior, self._config)
        found.bind(self._wanted(org).max_error_rate)
        return found

    def _exact(self, request: Request, principal: Principal) -> Entry | None:
        """The entry of this very text, which needs no verifier."""
        return self._stock.exact(principal.org, alias(frame(request, principal), request.messages[-1].text))

    async def _look(self, request: Request, principal: Principal) -> Asked:
        text, outer, task = request.messages[-1].text, frame(request, principal), self._classify(request)
        context = await self._contexts.line(request, principal, task)
        return Asked(
            org=principal.org,
            text=text,
            frame=outer,
            alias=alias(outer, text),
            facts=find(text),
            task=task,
            place=await self._parts.place(principal.org, context + text),
            context=context,
        )

    async def _near(self, asked: Asked) -> list[tuple[Entry, float]]:
        """Live entries of this frame. That they are this org's, whatever the store says, the stock has seen to."""
        found = await self._stock.near(asked.org, asked.place, self._config.top_k * _SPARE)
        now = self._clock()
        return [(entry, score) for entry, score in found if entry.frame == asked.frame and entry.expires > now][
            : self._config.top_k
        ]

    def _candidate(
        self, asked: Asked, near: Sequence[tuple[Entry, float]], request: Request, tenant: Tenant
    ) -> Candidate | None:
        """The nearest entry that no guard stops, and what becomes of it."""
        for entry, cosine in near:
            similarity = self._scale(cosine)
            if similarity < _NEAR:
                return None
            facts = entry.facts
            if veto(asked.facts, facts):
                continue
            others = [score for other, score in near if other.answer != entry.answer]
            margin = cosine - max(others) if others else FAR
            pair = Pair(cosine, margin, entry.record.right, entry.record.wrong)
            row = features(pair, asked.facts, facts)
            chance = tenant.verifier.probability(row)
            refused = self._refused(asked, entry, similarity, chance, request, tenant)
            return Candidate(entry=entry, similarity=similarity, row=row, chance=chance, refused=refused)
        return None

    def _refused(
        self, asked: Asked, entry: Entry, similarity: float, chance: float, request: Request, tenant: Tenant
    ) -> str:
        config, tasks = self._config, (asked.task, entry.task)
        wishes = self._wanted(asked.org)
        bar = max(self._floor(task, wishes) for task in tasks)
        bar = max(bar, request.terms.similarity_threshold or 0.0, FLOOR if asked.context else 0.0)
        if similarity < bar:
            return "too far"
        least = max(least_chance(task, config.mistake_factor) for task in tasks)
        if chance <= least:
            return "a mistake would cost more than it saves"
        if not tenant.controller(asked.task).allows(chance):
            return "not proven"
        return ""

    def _floor(self, task: str, wishes: Wishes) -> float:
        own = self._config.thresholds.get(task) if wishes.threshold is None else wishes.threshold
        return floor(task, wishes.sensitivity) if own is None else own

    def _serve(
        self, asked: Asked, candidate: Candidate, tenant: Tenant, request: Request, principal: Principal
    ) -> None:
        share = tenant.recheck_share(asked.task)
        tenant.controller(asked.task).hit(candidate.chance, share)
        self._keeper.told(asked.org, asked.task, candidate.row, candidate.chance, "hit", True, share)
        self._served[asked.org, candidate.entry.entry_id] = asked.task, candidate
        while len(self._served) > _SERVED:
            self._served.popitem(last=False)
        if self._recheck is not None and self._detach is not None and self._draw() < share:
            self._detach(self._audit(asked, candidate, share, request, principal))

    async def _audit(
        self, asked: Asked, candidate: Candidate, share: float, request: Request, principal: Principal
    ) -> None:
        """Have a served question answered again, and learn from it. The fresh answer is kept in its own right."""
        assert self._recheck is not None
        fresh = await self._recheck(request, principal, candidate.entry.completion.model)
        if fresh is None:
            return
        right = await self._judge(candidate, fresh, asked.task)
        self._served.pop((asked.org, candidate.entry.entry_id), None)
        self._audited(asked.org, asked.task, candidate, right, share, "recheck")
        _count(candidate.entry.record, right)
        await self._keep(asked, principal, fresh, candidate.entry if right else None)

    def _audited(
        self,
        org: str,
        task: str,
        candidate: Candidate,
        right: bool,
        share: float,
        source: Literal["recheck", "feedback"],
    ) -> None:
        self._tenant(org).audited(task, candidate.row, candidate.chance, right, share)
        self._keeper.told(org, task, candidate.row, candidate.chance, "audit", right, share)
        if self._found_out is not None:
            self._found_out(org, task, candidate, right, source)

    def _learn_miss(self, asked: Asked, candidate: Candidate, right: bool) -> None:
        self._tenant(asked.org).missed(asked.task, candidate.row, candidate.chance, right)
        self._keeper.told(asked.org, asked.task, candidate.row, candidate.chance, "miss", right, 1.0)
        _count(candidate.entry.record, right)

    async def _judge(self, candidate: Candidate, fresh: Completion, task: str) -> bool:
        return await equal(fresh, candidate.entry.completion, task, self._parts.likeness)

    async def _keep(self, asked: Asked, principal: Principal, completion: Completion, same: Entry | None) -> None:
        """A new entry. Where its answer was found equal to another's, the two are one answer from now on."""
        now = self._clock()
        life = self._ttl_s * (1 + random.uniform(-self._ttl_jitter, self._ttl_jitter))
        entry_id = new_id()
        entry = Entry(
            entry_id=entry_id,
            org=asked.org,
            user=principal.user,
            namespace=asked.place.namespace,
            frame=asked.frame,
            alias=asked.alias,
            text=asked.text,
            packed=pack(asked.facts),
            task=asked.task,
            answer=same.answer if same else entry_id,
            completion=completion,
            created=now,
            expires=now + life,
            record=same.record if same else self._stock.record(asked.org, entry_id),
            context=asked.context,
        )
        await self._stock.keep(entry, asked.place)

    def _found_wrong(self, org: str, entry_id: str) -> None:
        served = self._served.pop((org, entry_id), None)
        if served is not None:
            self._audited(org, *served, False, 1.0, "feedback")

    def _await_answer(self, key: bytes, outlook: Outlook) -> None:
        self._pending[key] = outlook
        while len(self._pending) > _PENDING:
            self._pending.popitem(last=False)

    def _hit(self, entry: Entry, similarity: float) -> Hit:
        self._stock.used(entry)
        return Hit(
            completion=entry.completion,
            tier=2,
            entry_id=entry.entry_id,
            age_s=max(0.0, self._clock() - entry.created),
            similarity=round(similarity, 4),
            user=entry.user,
            expires_in_s=entry.expires - self._clock(),
        )

    def _miss(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    async def _listen(self) -> None:
        """Forget at once, and for good, what another worker was told to forget; if it was served here, it was wrong
        here."""
        if self._loading:
            return
        for org, entry_id, moment in self._keeper.heard():
            if entry_id is None:
                self._cleared[org] = max(moment, self._cleared.get(org, 0.0))
            else:
                self._found_wrong(org, entry_id)
            await self._stock.hear(org, entry_id, moment)


def _count(record: Record, right: bool) -> None:
    if right:
        record.right += 1
    else:
        record.wrong += 1
