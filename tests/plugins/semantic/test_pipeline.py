"""The semantic tier in a gateway: hits, rechecks as overhead, feedback, and what a paid embedder costs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.kernel.kit import ask, events_of, gateway_of
from tests.plugins.semantic.kit import certain

from asahi_kernel.api.feedback import forget
from asahi_kernel.errors import ConfigError, ProviderError
from asahi_kernel.ledger import Head, fault
from asahi_kernel.protocols import LocalPart
from asahi_kernel.records import OWN
from asahi_kernel.testing import THERE
from asahi_kernel.types import Message, Request, Terms

pytestmark = pytest.mark.anyio
PASSWORD, SAME = "How do I reset my password?", "I forgot my password, how can I reset it now?"


def question(text: str) -> Request:
    return Request(messages=(Message("user", text),), terms=Terms(task_type="faq"))


@asynccontextmanager
async def proven(*, rechecks: bool = False, **tree):
    """A gateway whose org `here` has proven its faq."""
    options = {"thresholds": {"faq": 0.0}, "max_error_rate": 0.05, **tree.pop("options", {})}
    async with gateway_of({"cache_tiers": {"semantic": options}, **tree}) as gateway:
        tier = gateway.tiers["semantic"]
        tier._prior = certain()
        tier._draw = lambda: 0.0 if rechecks else 1.0
        controller = tier._tenant("here").controller("faq")
        for _ in range(400):
            controller.asked()
            controller.missed(0.999, True)
        yield gateway


async def settled(gateway) -> None:
    while gateway._tasks:
        await asyncio.gather(*gateway._tasks)


async def faults_of(gateway) -> list[str]:
    """What a verification of the savings ledger would find."""
    await gateway.journal.flush()
    head, found = Head(), []
    async for entry in gateway.storage.ledger.entries("here"):
        found.append(fault(head, entry, gateway.registry.book()))
        head = Head(entry.seq, entry.entry_hash)
    return found


async def test_it_is_there_when_it_has_a_table_and_in_its_place() -> None:
    async with gateway_of() as gateway:
        assert list(gateway.tiers) == ["exact"]
    async with gateway_of({"cache_tiers": {"semantic": {}}}) as gateway:
        assert list(gateway.tiers) == ["exact", "semantic"]
        assert isinstance(gateway.tiers["semantic"], LocalPart)


async def test_a_paraphrase_costs_nothing_and_is_told_as_tier_two() -> None:
    async with proven() as gateway:
        await ask(gateway, question(PASSWORD))
        answer = await ask(gateway, question(SAME))
        first, second = await events_of(gateway)
    assert (answer.hit.tier, answer.cache_status, answer.bill.cost) == (2, "t2", 0)
    assert answer.bill.saved_by == {"semantic_cache": answer.bill.baseline_cost}
    assert (second.cache_tier, second.cost, second.overhead_cost) == (2, 0, 0)
    assert second.cache_similarity == answer.hit.similarity
    assert first.cache_tier == 0


async def test_it_stays_silent_until_its_precision_is_proven() -> None:
    async with gateway_of({"cache_tiers": {"semantic": {"thresholds": {"faq": 0.0}}}}) as gateway:
        for text in (PASSWORD, SAME):
            assert (await ask(gateway, question(text))).hit is None
        (faq,) = gateway.tiers["semantic"].precision("here")
    assert (faq.state, faq.labels, faq.served) == ("uncalibrated", 1, 0)


async def test_another_org_pays_for_itself() -> None:
    async with proven() as gateway:
        await ask(gateway, question(PASSWORD))
        assert (await ask(gateway, question(PASSWORD), THERE)).hit is None


async def test_a_recheck_is_overhead_and_nobodys_request() -> None:
    async with proven(rechecks=True) as gateway:
        await ask(gateway, question(PASSWORD))
        hit = (await ask(gateway, question(SAME))).hit
        await settled(gateway)
        events = await events_of(gateway)
        totals = await gateway.storage.events.totals("here", None)
        (faq,) = [each for each in gateway.tiers["semantic"].precision("here") if each.task == "faq"]
        assert await faults_of(gateway) == ["", "", ""]
    (own,) = [each for each in events if each.route == OWN]
    assert hit is not None
    assert own.cost == 0
    assert own.overhead_cost > 0
    assert own.saved == -own.overhead_cost == own.saved_by["semantic_cache"]
    assert own.attempts[0].cost == own.overhead_cost
    assert own.model_selected == hit.completion.model
    assert (totals.requests, totals.misses, totals.overhead_cost) == (2, 1, own.overhead_cost)
    assert totals.saved == sum(each.saved for each in events)
    assert faq.labelled_hits == 1


async def test_a_recheck_that_fails_is_charged_for_what_it_used_and_teaches_nothing() -> None:
    async with proven(rechecks=True, providers={"mock": {"max_retries": 0}}) as gateway:
        await ask(gateway, question(PASSWORD))
        (upstream,) = gateway.upstreams.values()
        (outlet,) = upstream.outlets

        async def broken(model, request):
            raise ProviderError("500", status=500)

        outlet.provider.complete = broken
        assert (await ask(gateway, question(SAME))).hit is not None
        await settled(gateway)
        (own,) = [each for each in await events_of(gateway) if each.route == OWN]
        (faq,) = [each for each in gateway.tiers["semantic"].precision("here") if each.task == "faq"]
    assert (own.status, own.overhead_cost, own.saved) == ("failed", 0, 0)
    assert faq.labelled_hits == 0


async def test_feedback_that_an_answer_was_wrong_evicts_it() -> None:
    """T2-7, through the path that `POST /feedback` takes."""
    async with proven() as gateway:
        await ask(gateway, question(PASSWORD))
        hit = (await ask(gateway, question(SAME))).hit
        assert hit is not None
        assert await forget(gateway, "here", hit.entry_id)
        assert (await ask(gateway, question(SAME))).hit is None


class Dear:
    """An embedder whose vendor wants to be paid."""

    dimensions = 3

    async def embed(self, texts):
        return [(1.0, 0.0, 0.0) for _ in texts]


async def test_a_dear_embedding_can_make_a_saving_negative() -> None:
    """SV-5, on a hit and on a miss."""
    options = {"embedder": "dear", "embed_cost_per_1k_tokens": 1000.0, "thresholds": {"faq": 0.0}}
    tree = {"cache_tiers": {"semantic": {**options, "max_error_rate": 0.05}}, "embedders": {"dear": {}}}
    async with gateway_of(tree, embedders=("dear", Dear())) as gateway:
        tier = gateway.tiers["semantic"]
        tier._prior = certain()
        tier._draw = lambda: 1.0
        controller = tier._tenant("here").controller("faq")
        for _ in range(400):
            controller.asked()
            controller.missed(0.999, True)
        assert not isinstance(tier, LocalPart)
        miss = await ask(gateway, question(PASSWORD))
        await settled(gateway)
        hit = await ask(gateway, question(SAME))
        events = await events_of(gateway)
        assert await faults_of(gateway) == ["", ""]
    for answer in (miss, hit):
        bill = answer.bill
        assert bill.overhead_cost > 0
        assert bill.saved == bill.baseline_cost - bill.cost - bill.overhead_cost == sum(bill.saved_by.values())
    assert hit.hit is not None
    assert hit.bill.saved < 0
    assert [each.overhead_cost for each in events] == [miss.bill.overhead_cost, hit.bill.overhead_cost]


async def test_an_embedder_of_unknown_price_is_refused_at_start() -> None:
    tree = {"cache_tiers": {"semantic": {"embedder": "dear"}}, "embedders": {"dear": {}}}
    with pytest.raises(ConfigError, match="never taken for zero"):
        async with gateway_of(tree, embedders=("dear", Dear())):
            pass


@pytest.mark.parametrize("part", ["embedder", "vector_store"])
async def test_a_part_that_nobody_configured_is_refused_at_start(part: str) -> None:
    with pytest.raises(ConfigError, match="'elsewhere'"):
        async with gateway_of({"cache_tiers": {"semantic": {part: "elsewhere"}}}):
            pass


async def test_the_optimizer_names_the_task_where_the_caller_does_not() -> None:
    async with gateway_of({"cache_tiers": {"semantic": {}}}) as gateway:
        request = Request(messages=(Message("user", "Write a python function that sorts a list"),))
        await ask(gateway, request)
        (entry,) = gateway.tiers["semantic"]._stock._entries.of("here")
        assert entry.task == "coding"


async def test_gateways_over_one_postgres_answer_from_each_others_entries(fresh_database_url, tmp_path) -> None:
    tree = {
        "vector_stores": {"pgvector": {"url": fresh_database_url, "dimension": 256, "timeout_ms": 20_000}},
        "encryption": {"key": "0123456789abcdef" * 4, "dir": str(tmp_path)},
        "options": {"vector_store": "pgvector", "store_timeout_ms": 20_000},
    }
    async with proven(**tree) as one, proven(**tree) as other:
        await ask(one, question(PASSWORD))
        await settled(one)
        answer = await ask(other, question(SAME))
        assert (answer.hit.tier, answer.hit.user) == (2, "ann")
        assert other.tiers["exact"].held()[0] == 0
        assert await one.tiers["semantic"].evict("here", answer.hit.entry_id)
        assert (await ask(other, question(f"{SAME} "))).hit is None


async def test_the_org_bounds_what_all_its_tiers_hold_in_a_process() -> None:
    """10.12: exact and semantic entries of one org are shed together, and the room is given back at the end."""
    async with gateway_of({"cache_tiers": {"semantic": {}}}) as gateway:
        gateway.room._bound = lambda org: 40_000 if org == "here" else 1e12
        for number in range(30):
            await ask(gateway, question(f"Question about item{number:03}x"))
            await ask(gateway, question(f"Question about item{number:03}x"), THERE)
        exact, semantic = gateway.tiers["exact"], gateway.tiers["semantic"]
        held = [exact.weighed("here"), (await semantic.stats("here")).bytes]
        assert min(held) > 0
        assert 30_000 < sum(held) <= 40_000
        assert len(await semantic.entries("there")) == 30
        newest = [row.query async for row in semantic.rows("here")]
        assert newest.pop(0) == "Question about item029x"
    assert gateway.room._tiers == [exact]
