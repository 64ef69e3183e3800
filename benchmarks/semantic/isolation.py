"""Tenants that ask each other's questions, while the store mixes up their namespaces. See T2-1 of the product."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from msgspec import Struct

from asahi_kernel.types import Match, Principal, Vector
from asahi_semantic.entries import Entries, Entry
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore
from asahi_semantic.verifier import NAMES, Prior
from benchmarks.semantic.driving import LOCAL, Run, answering, asking
from benchmarks.semantic.truth import intents

_ORGS, _OWN = 50, 200


class Isolation(Struct, kw_only=True):
    """Hits by whose entry they were; `unfiltered` are those of others once the tier's own filter is taken away, which
    shows that the count can be other than zero."""

    lookups: int = 0
    own: int = 0
    others: int = 0
    unfiltered: int = 0


class Mixed(NumpyStore):
    """A store whose filter by namespace has failed: everybody's vectors are everybody's neighbours."""

    async def upsert(self, namespace: str, key: str, vector: Vector, payload: bytes) -> None:
        await super().upsert("all", key, vector, payload)

    async def nearest(self, namespace: str, vector: Vector, limit: int) -> Sequence[Match]:
        return await super().nearest("all", vector, limit)


class Open(Entries):
    """Entries that are given to whoever names them."""

    def find(self, org: str, entry_id: str) -> Entry | None:
        return next((own.entries[entry_id] for own in self._orgs.values() if entry_id in own.entries), None)


def isolate(lookups: int) -> Isolation:
    """Every tenant asks what others have asked, word for word and a little changed."""
    return asyncio.run(_isolate(lookups))


async def _isolate(lookups: int) -> Isolation:
    texts = sorted({each.text for each in intents("banking77", training=True)})
    draw = random.Random(8)
    parts = Parts(LOCAL, Mixed(None), LOCAL)
    runner = Run(parts=parts, max_error_rate=0.2, mistake_factor=0, thresholds={"faq": 0.0})
    tier = runner.tier
    tier._prior = _sure()
    told = Isolation()
    for number in range(_ORGS):
        org = _org(number)
        for _ in range(400):
            controller = tier._tenant(org.org).controller("faq")
            controller.asked()
            controller.missed(0.999, True)
        for text in draw.sample(texts, _OWN):
            await tier.put(draw.randbytes(32), asking(f"{text} Thanks!"), org, answering(org.org))
    for at in range(lookups + lookups // 10):
        if at == lookups:
            stock, opened = tier._stock, Open(_OWN)
            opened._orgs, opened._aliases = stock._entries._orgs, stock._entries._aliases
            stock._entries = opened
        org, text = _org(draw.randrange(_ORGS)), draw.choice(texts)
        hit = await tier.get(draw.randbytes(32), asking(draw.choice((f"{text} Thanks!", f"Hello, {text}"))), org)
        mine = hit is not None and hit.completion.text == answering(org.org).text
        if at < lookups:
            told.lookups += 1
            told.own += mine
            told.others += hit is not None and not mine
        else:
            told.unfiltered += hit is not None and not mine
    runner.close()
    return told


def _org(number: int) -> Principal:
    return Principal(org=f"org-{number}", user="ann")


def _sure() -> Prior:
    """A verifier that finds everything right, so that nothing but tenancy keeps an answer back."""
    weights = (7.0, *[0.0] * (len(NAMES) - 1))
    size = len(NAMES)
    return Prior(weights, tuple(tuple(1e-9 * (row == column) for column in range(size)) for row in range(size)))
