"""The tier: whom it serves, whom not, and what it learns."""

from __future__ import annotations

import random

import pytest
from tests.plugins.semantic.kit import HERE, LOCAL, THERE, Bench, ask, certain, replace, say

from asahi_kernel.types import Document, Message, Part, Principal, Tool
from asahi_semantic.store import NumpyStore
from asahi_semantic.thresholds import Scale, floor, least_chance

pytestmark = pytest.mark.anyio
PASSWORD, SAME = "How do I reset my password?", "I forgot my password, how can I reset it now?"


async def test_a_paraphrase_is_answered_once_precision_is_proven() -> None:
    bench = Bench()
    await bench.learn(PASSWORD, "Click reset.")
    hit = await bench.get(ask(SAME))
    assert (hit.completion.text, hit.tier, hit.user) == ("Click reset.", 2, "ann")
    assert 0.5 < hit.similarity < 1


async def test_nothing_is_served_before_anything_is_proven_but_it_is_compared() -> None:
    bench = Bench(proven=False)
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(ask(SAME)) is None
    assert bench.tier.reasons["not proven"] == 1
    await bench.put(ask(SAME), "Click reset.")
    (faq,) = bench.tier.precision("here")
    assert (faq.task, faq.labels, faq.served, faq.state) == ("faq", 1, 0, "uncalibrated")


async def test_what_is_proven_for_one_task_or_org_proves_nothing_for_another() -> None:
    bench = Bench(proven=False)
    bench.prove("here", "faq")
    for principal, task in ((HERE, "legal"), (THERE, "faq")):
        await bench.learn(PASSWORD, "Click reset.", principal, terms={"task_type": task})
        assert await bench.get(ask(SAME, terms={"task_type": task}), principal) is None
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(ask(SAME)) is not None


async def test_a_prompt_that_was_proven_equal_is_an_alias_and_hits_exactly() -> None:
    """Even where nothing else is served."""
    bench = Bench(proven=False)
    await bench.learn(PASSWORD, "Click reset.")
    await bench.learn(SAME, "Click  reset")
    assert {entry.answer for entry in bench.tier._stock._entries.of("here")} == {
        bench.tier._stock._entries.of("here")[0].answer
    }
    hit = await bench.get(ask(SAME))
    assert hit.similarity == 1.0


async def test_a_different_answer_is_an_answer_of_its_own() -> None:
    bench = Bench(proven=False)
    await bench.learn(PASSWORD, "Click reset.")
    await bench.learn(SAME, "Call the support line instead.")
    assert len({entry.answer for entry in bench.tier._stock._entries.of("here")}) == 2
    record = bench.tier._stock._entries.of("here")[0].record
    assert (record.right, record.wrong) == (0, 1)


async def test_no_cross_tenant_hit_even_with_a_broken_store() -> None:
    """T2-1, B2: the store's namespaces are switched off by mutation; 20,000 look-ups, and each tenant finds its own."""

    class Leaking(NumpyStore):
        async def upsert(self, namespace, key, vector, payload):
            await super().upsert("all", key, vector, payload)

        async def nearest(self, namespace, vector, limit):
            return await super().nearest("all", vector, limit * 5)

    from asahi_semantic.parts import Parts

    bench = Bench(parts=Parts(LOCAL, Leaking(None), LOCAL), top_k=20)
    texts = [f"{PASSWORD[:-1]} for the {word}?" for word in ("shop", "bank", "club", "forum", "school")]
    for org in (HERE, THERE):
        for text in texts:
            await bench.learn(text, f"{org.org}: {text}", org)
    draw = random.Random(3)
    crossed = found = 0
    for _ in range(20_000):
        principal = draw.choice((HERE, THERE, Principal(org="elsewhere")))
        text = draw.choice(texts) if draw.random() < 0.5 else draw.choice(texts).replace("How do I", "How can I")
        hit = await bench.get(ask(text), principal)
        bench.tier._pending.clear()
        if hit is not None:
            found += 1
            crossed += not hit.completion.text.startswith(f"{principal.org}: ")
    assert crossed == 0
    assert found > 10_000


async def test_expired_entries_are_never_served_nor_kept() -> None:
    """T2-2, with a clock that a test turns."""
    bench = Bench()
    await bench.learn(PASSWORD, "Click reset.")
    bench.clock.now += 86_400 * 0.94
    assert await bench.get(ask(PASSWORD)) is not None
    assert await bench.get(ask(SAME)) is not None
    bench.clock.now += 86_400 * 0.12
    assert await bench.get(ask(PASSWORD)) is None
    assert await bench.get(ask(SAME)) is None
    assert await bench.tier.expire() == 1
    assert await bench.tier.entries("here") == []
    assert await bench.store.count("here:local:1") == 0


@pytest.mark.parametrize(("task", "served"), [("legal", False), ("faq", True)])
async def test_the_money_test_refuses_what_the_threshold_passes(task: str, served: bool) -> None:
    """T2-3: at p = 0.985 a mistake about law costs more than it saves."""
    bench = Bench(prior=certain(0.985))
    await bench.learn(PASSWORD, "Click reset.", terms={"task_type": task})
    hit = await bench.get(ask(SAME, terms={"task_type": task}))
    assert (hit is not None) == served
    if not served:
        assert bench.tier.reasons["a mistake would cost more than it saves"] == 1


def test_the_money_test_is_that_of_the_specification() -> None:
    assert least_chance("faq", 20) == pytest.approx(0.95)
    assert least_chance("coding", 20) == pytest.approx(1 - 1 / 60)
    assert least_chance("legal", 20) == pytest.approx(0.9875)


async def test_the_floor_is_the_higher_of_both_tasks_and_callers_can_only_raise_it() -> None:
    bench = Bench(thresholds={"faq": 0.0, "legal": 0.999})
    await bench.learn(PASSWORD, "Click reset.", terms={"task_type": "legal"})
    assert await bench.get(ask(SAME)) is None
    assert bench.tier.reasons["too far"] == 1
    bench = Bench(thresholds={"faq": 0.99})
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(ask(SAME, terms={"similarity_threshold": 0.1})) is None


def test_the_table_of_thresholds() -> None:
    assert [floor("faq", each) for each in ("high", "medium", "low")] == [0.70, 0.80, 0.90]
    assert floor("translation", "medium") == 0.85
    assert Scale([(0.0, 0.5), (1.0, 1.0)])(0.5) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "change",
    [
        {"tools": (Tool(name="look_up"),)},
        {"n": 2},
        {"temperature": 0.9},
        {"messages": (Message("user", (Part("image_url", raw=b"{}"), Part("text", PASSWORD))),)},
        {"messages": (Message("user", "x" * 8_001),)},
        {"messages": tuple(Message("user", "turn") for _ in range(6))},
        {"messages": (Message("user", PASSWORD), Message("assistant", "Click"))},
        {"messages": (Message("user", "  "),)},
        {"terms": replace(ask(PASSWORD).terms, semantic_cache=False)},
    ],
)
async def test_who_has_no_business_here_is_neither_served_nor_remembered(change) -> None:
    bench = Bench()
    await bench.learn(PASSWORD, "Click reset.")
    request = replace(ask(PASSWORD), **change)
    assert await bench.get(request) is None
    await bench.put(request, "Something")
    assert len(await bench.tier.entries("here")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message("system", "Be rude."), Message("user", SAME))},
        {"messages": (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", SAME))},
        {"document": Document("The manual.")},
        {"response_format": b'{"type":"json_object"}'},
        {"max_tokens": 5},
        {"model": "model-b"},
        {"stop": ("x",)},
        {"temperature": 0.1},
    ],
)
async def test_everything_around_the_last_turn_must_be_identical(change) -> None:
    bench = Bench()
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(replace(ask(SAME), **change)) is None
    assert await bench.get(ask(SAME)) is not None


async def test_two_users_enriched_requests_never_share_an_answer() -> None:
    """T2-5, EN-1: with the same text even."""
    bench = Bench()
    await bench.learn(PASSWORD, "Dear Ann, click reset.", enrich_with_features=True)
    bob = replace(HERE, user="bob")
    assert await bench.get(ask(PASSWORD, enrich_with_features=True), bob) is None
    assert await bench.get(ask(SAME, enrich_with_features=True), bob) is None
    assert await bench.get(ask(SAME, enrich_with_features=True)) is not None


async def test_a_wrong_mark_evicts_at_once_and_is_learnt_from() -> None:
    """T2-7, in this worker."""
    bench = Bench()
    await bench.learn(PASSWORD, "Click reset.")
    hit = await bench.get(ask(SAME))
    assert await bench.tier.evict("there", hit.entry_id) is False
    assert await bench.tier.evict("here", hit.entry_id) is True
    assert await bench.get(ask(SAME)) is None
    assert await bench.get(ask(PASSWORD)) is None
    (faq,) = [each for each in bench.tier.precision("here") if each.task == "faq"]
    assert (faq.false_hits, faq.labelled_hits) == (1, 1)


async def test_a_served_hit_is_answered_again_and_a_wrong_one_is_found_out() -> None:
    async def truth(request, principal, model):
        assert model == "model-a"
        return say("Something quite different, really, in other words.")

    bench = Bench(recheck=truth)
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(ask(SAME)) is not None
    await bench.catch_up()
    (faq,) = [each for each in bench.tier.precision("here") if each.task == "faq"]
    assert (faq.served, faq.labelled_hits, faq.false_hits) == (1, 1, 1)
    hit = await bench.get(ask(SAME))
    assert hit.completion.text.startswith("Something quite different")


async def test_a_recheck_without_an_answer_teaches_nothing() -> None:
    async def nothing(request, principal, model):
        return None

    bench = Bench(recheck=nothing)
    await bench.learn(PASSWORD, "Click reset.")
    await bench.get(ask(SAME))
    await bench.catch_up()
    (faq,) = [each for each in bench.tier.precision("here") if each.task == "faq"]
    assert (faq.served, faq.labelled_hits) == (1, 0)


async def test_a_bound_of_zero_switches_the_tier_off() -> None:
    bench = Bench(max_error_rate=0.0)
    await bench.learn(PASSWORD, "Click reset.")
    assert await bench.get(ask(PASSWORD)) is None


async def test_the_least_recently_used_go_first() -> None:
    bench = Bench(max_entries=3)
    for number in range(5):
        await bench.learn(f"What is the meaning of the number {number}?", f"Answer {number}.")
    assert len(await bench.tier.entries("here")) == 3
    assert await bench.store.count("here:local:1") == 3
    assert await bench.get(ask("What is the meaning of the number 0?")) is None
    assert await bench.get(ask("What is the meaning of the number 4?")) is not None
