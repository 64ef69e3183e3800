"""A line of context before a text where it is embedded: off by default, by a template, or by a model that is paid."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.kernel.kit import ask as asking
from tests.kernel.kit import events_of, gateway_of
from tests.plugins.semantic.kit import HERE, LOCAL, Bench, ask, say
from tests.plugins.semantic.test_keeping import Worker
from tests.plugins.semantic.test_pipeline import proven, question, settled

from asahi_kernel.errors import ConfigError, ProviderError
from asahi_kernel.records import OWN
from asahi_semantic.context import Contexts, template
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore

pytestmark = pytest.mark.anyio
PASSWORD, SAME = "How do I reset my password?", "I forgot my password, how can I reset it now?"
ALMOST = "Please, how do I reset my password?"


def bench(kind: Any, store: NumpyStore, ask_model: Any = None) -> Bench:
    made = Bench(parts=Parts(LOCAL, store, LOCAL, context="" if kind == "off" else kind))
    made.tier._contexts = Contexts(kind, ask_model)
    return made


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({}, ("kind faq", "a person", "ordinary")),
        ({"tags": {"agent": "billing-bot"}, "quality_threshold": 4.2}, ("the agent billing-bot", "high quality")),
        ({"quality_preference": "max", "quality_threshold": 1.0}, ("max quality",)),
        ({"quality_threshold": 4.9}, ("the highest quality",)),
    ],
)
def test_the_template_names_task_agent_and_need(terms: dict[str, Any], words: tuple[str, ...]) -> None:
    line = template(ask(PASSWORD, terms=terms), "faq")
    assert all(word in line for word in words)
    assert 12 <= len(line.split()) <= 40


async def test_what_was_embedded_with_a_line_never_meets_what_was_not() -> None:
    """Over one store, each kind has a namespace of its own."""
    store = NumpyStore(None)
    plain, framed = bench("off", store), bench("template", store)
    await plain.learn(PASSWORD, "Click reset.")
    await framed.learn(PASSWORD, "Click reset.")
    assert sorted(store._shelves) == ["here:local:1", "here:local:1+template"]
    assert await store.count("here:local:1+template") == 1
    assert framed.tier._stock._entries.of("here")[0].context.startswith("This is a request")


async def test_the_floor_is_that_of_lines() -> None:
    store = NumpyStore(None)
    framed = bench("template", store)
    await framed.learn(PASSWORD, "Click reset.")
    assert await framed.get(ask(ALMOST)) is not None
    far = framed.tier._floor("faq", framed.tier._wanted("here"))
    assert far == 0.0
    assert await framed.get(ask("Where is my parcel now?")) is None
    assert framed.tier.reasons.get("too far", 0) + framed.tier.reasons.get("nothing near", 0) == 2


async def test_a_lost_vector_is_made_anew_with_its_line(tmp_path: Any) -> None:
    worker = Worker(tmp_path)
    worker.tier._contexts = Contexts("template")
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    before = worker.store._shelves["here:local:1"]
    worker.stop()
    for path in tmp_path.glob("*.vectors.*"):
        path.unlink()
    worker = Worker(tmp_path)
    await worker.tier.load()
    after = worker.store._shelves["here:local:1"]
    assert after is not before
    assert after.held() == before.held()
    assert (after._vector(0) == before._vector(0)).all()
    worker.stop()


OPTIONS = {"context": "model", "context_model": "mistral-7b", "thresholds": {"faq": 0.0}, "max_error_rate": 0.05}


async def test_the_model_that_writes_the_line_is_overhead_of_the_cache() -> None:
    async with proven(options=OPTIONS) as gateway:
        await asking(gateway, question(PASSWORD))
        await settled(gateway)
        events = await events_of(gateway)
        (entry,) = gateway.tiers["semantic"]._stock._entries.of("here")
    (own,) = [each for each in events if each.route == OWN]
    (asked,) = [each for each in events if each.route != OWN]
    assert entry.context
    assert not entry.context.startswith("This is a request of the kind")
    assert entry.namespace.endswith("+mistral-7b")
    assert (own.model_selected, own.cost) == ("mistral-7b", 0)
    assert own.overhead_cost > 0
    assert own.saved == own.saved_by["semantic_cache"] == -own.overhead_cost
    assert asked.overhead_cost == 0


@pytest.mark.parametrize("illness", ["broken", "slow"])
async def test_a_model_that_gives_no_line_costs_no_answer(illness: str) -> None:
    options = {**OPTIONS, "context_model": "gpt-4-turbo", "context_timeout_ms": 50}
    async with proven(options=options, providers={"mock": {"max_retries": 0}}) as gateway:
        ((outlet,),) = (upstream.outlets for upstream in gateway.upstreams.values())
        complete, answered = outlet.provider.complete, asyncio.Event()

        async def sick(model: Any, request: Any) -> Any:
            if model.name == "gpt-4-turbo":
                if illness == "broken":
                    raise ProviderError("500", status=500)
                await answered.wait()
            return await complete(model, request)

        outlet.provider.complete = sick
        async with asyncio.timeout(10):
            answer = await asking(gateway, question(PASSWORD))
        assert answer.completion.text
        answered.set()
        await settled(gateway)
        (own,) = [each for each in await events_of(gateway) if each.route == OWN]
        assert (own.overhead_cost > 0) == (illness == "slow"), "what it used is owed, and nothing else"
        (entry,) = gateway.tiers["semantic"]._stock._entries.of("here")
        assert entry.context.startswith("This is a request of the kind faq")
        assert gateway.faults["cache.semantic.context"] == 1


async def test_a_line_by_a_model_needs_a_model() -> None:
    with pytest.raises(ConfigError, match="context_model"):
        async with gateway_of({"cache_tiers": {"semantic": {"context": "model"}}}):
            pass
