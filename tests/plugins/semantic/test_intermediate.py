"""Requests in steps, through the whole pipeline: what is reused, what is paid, what is told. See product 6.4."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.kernel.kit import ask, chunks_of, events_of, gateway_of

from asahi_kernel.answer import Answer
from asahi_kernel.api.feedback import forget_copies
from asahi_kernel.errors import AsahiError, ProviderError
from asahi_kernel.ledger import Head, fault
from asahi_kernel.preferences import Caching, Preferences
from asahi_kernel.testing import HERE, THERE
from asahi_kernel.types import Completion, Document, Message, Request, Terms, Usage

pytestmark = pytest.mark.anyio
LONG = "The lease of flat 7 ends on 31 May 2027 and costs 1,240 euros a month. " * 200
TWO = "Who wrote Faust? Where is Lake Constance?"
MODELS = [
    {"name": "small", "provider": "scribe", "cost_per_1k_input_tokens": 0.001, "cost_per_1k_output_tokens": 0.002},
    {
        "name": "large",
        "provider": "scribe",
        "quality_score": 4.8,
        "cost_per_1k_input_tokens": 0.01,
        "cost_per_1k_output_tokens": 0.03,
    },
]


class Scribe:
    """Answers with what it was asked last, and keeps every question; what has `broken` in it fails."""

    def __init__(self):
        self.asked: list[str] = []
        self.broken = "\0"
        self.cut: set[int] = set()
        self.gate: asyncio.Event | None = None

    async def complete(self, model, request):
        said = request.messages[-1].text
        self.asked.append(said)
        number = len(self.asked)
        if self.gate is not None:
            await self.gate.wait()
        if self.broken in said:
            raise ProviderError("broken", status=400, retryable=False)
        text = f"About {said.splitlines()[-1][:60]}"
        tokens = Usage(len(said) // 4 + 1, len(text) // 4 + 1)
        reason = "length" if number in self.cut else "stop"
        return Completion(text=text, model=model.name, usage=tokens, finish_reason=reason)


@asynccontextmanager
async def stepping(**options):
    scribe = Scribe()
    tree = {
        "providers": {"scribe": {"max_retries": 0}},
        "models": MODELS,
        "cache": {"tiers": ["intermediate"]},
        "cache_tiers": {"intermediate": options},
    }
    async with gateway_of(tree, providers=("scribe", scribe)) as gateway:
        yield gateway, scribe


def question(text: str = TWO, document: str | None = None, document_id: str | None = None, **fields) -> Request:
    paper = Document(document, document_id) if document is not None else None
    terms = fields.pop("terms", Terms())
    return Request(messages=(Message("user", text),), document=paper, terms=terms, **fields)


async def faults_of(gateway) -> list[str]:
    await gateway.journal.flush()
    head, found = Head(), []
    async for entry in gateway.storage.ledger.entries("here"):
        found.append(fault(head, entry, gateway.registry.book()))
        head = Head(entry.seq, entry.entry_hash)
    return found


async def test_an_all_hit_answer_equals_the_first_one_and_costs_nothing():
    """T3-1"""
    async with stepping() as (gateway, scribe):
        asked = question("When does the lease end?", LONG)
        first, second = await ask(gateway, asked), await ask(gateway, asked)
        assert second.completion.text == first.completion.text
        assert first.completion.text.count("About") == 1
        assert (len(scribe.asked), second.bill.cost, second.hit.tier, second.cache_status) == (2, 0, 3, "t3")
        assert second.bill.saved == second.bill.baseline_cost > 0
        assert set(second.bill.saved_by) == {"intermediate_cache"}
        (_, hit) = await events_of(gateway)
        assert (hit.cache_hit, hit.cache_tier, hit.output_tokens) == (True, 3, first.usage.output_tokens)


async def test_the_same_first_sentence_with_another_body_is_another_request():
    """T3-2"""
    async with stepping() as (gateway, _):
        one = await ask(gateway, question("Who wrote Faust? Where is Lake Constance?"))
        other = await ask(gateway, question("Who wrote Faust? Where is Lake Geneva?"))
        assert one.completion.text != other.completion.text
        assert [step.reused for step in other.steps] == [True, False]


async def test_a_second_question_about_a_document_runs_one_step():
    """T3-3"""
    async with stepping() as (gateway, scribe):
        await ask(gateway, question("When does the lease end?", LONG))
        second = await ask(gateway, question("What does the flat cost?", LONG))
        assert len(scribe.asked) == 3
        assert LONG not in scribe.asked[2]
        assert (second.hit, second.tier) == (None, 3)
        assert [(step.step_id, step.reused) for step in second.steps] == [("document", True), ("answer", False)]


async def test_orgs_never_meet_even_under_one_document_id():
    """T3-4"""
    async with stepping() as (gateway, scribe):
        asked = question("When does the lease end?", LONG, "lease")
        await ask(gateway, asked)
        await ask(gateway, asked, THERE)
        assert len(scribe.asked) == 4


@pytest.mark.parametrize("broken", ["characterises Redis", "characterises Memcached", "With these notes"])
async def test_a_failing_step_fails_the_request_and_leaves_no_answer(broken):
    """T3-5"""
    async with stepping() as (gateway, scribe):
        scribe.broken = broken
        asked = question("Compare Redis and Memcached.")
        with pytest.raises(AsahiError) as failed:
            await ask(gateway, asked)
        assert failed.value.status in {400, 502}
        (event,) = await events_of(gateway)
        assert event.status == "failed"
        assert event.cost == sum(attempt.cost for attempt in event.attempts)
        assert await faults_of(gateway) == [""]
        scribe.broken = "\0"
        answer = await ask(gateway, asked)
        assert answer.completion.text.startswith("About With these notes")
        assert answer.hit is None


async def test_the_money_of_a_partial_answer_adds_up():
    async with stepping() as (gateway, _):
        await ask(gateway, question("Who wrote Faust? Where is Lake Constance?"))
        answer = await ask(gateway, question("Who wrote Faust? Where is Lake Geneva?"))
        bill = answer.bill
        assert bill.saved == bill.baseline_cost - bill.cost == sum(bill.saved_by.values())
        assert bill.saved_by["intermediate_cache"] == answer.steps[0].worth > 0
        assert bill.cost == answer.steps[1].cost > 0
        event = (await events_of(gateway))[-1]
        assert (event.cache_hit, event.cache_tier, len(event.attempts)) == (False, 3, 1)
        assert await faults_of(gateway) == ["", ""]


async def test_a_comparison_reuses_what_is_known_of_a_subject():
    async with stepping() as (gateway, scribe):
        await ask(gateway, question("Compare Redis and Memcached."))
        second = await ask(gateway, question("Redis vs Valkey"))
        assert [step.reused for step in second.steps] == [True, False, False]
        assert len(scribe.asked) == 5


async def test_independent_steps_run_at_once_and_the_journal_knows_of_all_of_them():
    async with stepping() as (gateway, scribe):
        scribe.gate = asyncio.Event()
        pledged = []
        gateway.journal.mode = "durable"

        async def intend(receipt, settled):
            pledged.append(settled.event)

        gateway.journal.intend = intend
        work = asyncio.create_task(ask(gateway, question()))
        while len(scribe.asked) < 2:
            await asyncio.sleep(0)
        assert [len(event.attempts) for event in pledged] == [1, 2]
        assert pledged[1].cost == sum(attempt.cost for attempt in pledged[1].attempts)
        gateway.journal.mode = "memory"
        scribe.gate.set()
        await work


async def test_everything_that_the_steps_may_cost_is_reserved():
    held = []

    class Purse:
        async def admit(self, request, principal):
            return request

        async def reserve(self, request_id, principal, amount):
            held.append(amount)

        async def settle(self, request_id, principal, cost):
            held.append(-cost)

    scribe = Scribe()
    tree = {
        "providers": {"scribe": {}},
        "models": MODELS[:1],
        "cache": {"tiers": ["intermediate"]},
        "governance": {"policies": ["purse"]},
    }
    async with gateway_of(tree, providers=("scribe", scribe), policies=("purse", Purse())) as gateway:
        answer = await ask(gateway, question(max_tokens=500))
    alone, both, settled = held
    assert both - alone == pytest.approx(alone, rel=0.01)
    assert settled == -answer.bill.cost


async def test_a_step_that_was_cut_off_is_not_built_on():
    async with stepping() as (gateway, scribe):
        scribe.cut = {1}
        answer = await ask(gateway, question("When does the lease end?", LONG))
        assert LONG.strip() in scribe.asked[1]
        assert (answer.steps, answer.tier, answer.attempts) == ((), 0, 2)
        assert await gateway.stepwise.entries("here") == []
        assert await faults_of(gateway) == [""]


async def test_an_answer_that_was_cut_off_says_so_and_is_not_kept():
    async with stepping() as (gateway, scribe):
        scribe.cut = {2}
        answer = await ask(gateway, question("When does the lease end?", LONG))
        assert answer.completion.finish_reason == "length"
        assert len(await gateway.stepwise.entries("here")) == 1


async def test_a_document_that_changed_under_its_id_is_read_anew_and_the_old_one_forgotten():
    async with stepping() as (gateway, scribe):
        await ask(gateway, question("When does the lease end?", LONG, "lease"))
        await ask(gateway, question("When does the lease end?", LONG.replace("2027", "2028"), "lease"))
        assert len(scribe.asked) == 4
        assert len(await gateway.stepwise.entries("here")) == 2


@pytest.mark.parametrize(
    "request_",
    [
        question(terms=Terms(intermediate_cache=False)),
        question(terms=Terms(cache="off")),
        question(terms=Terms(cost_budget=10**9)),
        question(stop=("x",)),
        question(n=2),
        question(response_format=b'{"type":"json_object"}'),
        question("When does the lease end?", "short"),
        question("Who wrote Faust?"),
        question(max_tokens=100),
        Request(messages=(Message("user", "Hi?"), Message("assistant", "Hello."), Message("user", TWO))),
    ],
)
async def test_what_steps_could_change_is_answered_whole(request_):
    async with stepping() as (gateway, _):
        assert gateway.stepwise.plan(request_, HERE) is None


async def test_an_org_can_switch_it_off():
    async with stepping() as (gateway, _):
        known = await gateway.standings.of("here")
        off = msgspec.structs.replace(known, preferences=Preferences(cache=Caching(t3_enabled=False)))
        gateway.standings._known["here"].told = off
        assert gateway.stepwise.plan(question(), HERE) is None
        assert gateway.stepwise.plan(question(), THERE) is not None


async def test_results_live_as_long_as_the_org_says():
    async with stepping() as (gateway, _):
        known = await gateway.standings.of("here")
        wants = msgspec.structs.replace(
            known, preferences=Preferences(cache=Caching(t3_ttl_hours=7)), said=frozenset({"cache.t3_ttl_hours"})
        )
        gateway.standings._known["here"].told = wants
        await ask(gateway, question())
        lives = [row.expires_at - row.created_at async for row in gateway.stepwise.rows("here")]
        assert lives
        assert all(6 < each.total_seconds() / 3_600 < 8 for each in lives)


async def test_another_need_or_another_model_is_another_step():
    async with stepping() as (gateway, scribe):
        await ask(gateway, question())
        await ask(gateway, question(terms=Terms(quality_threshold=4.5)))
        await ask(gateway, question(model="large", terms=Terms(mode="explicit")))
        assert len(scribe.asked) == 6


async def test_the_last_step_is_streamed_and_joined_answers_are_replayed():
    async with stepping() as (gateway, _):
        for text, document in (("When does the lease end?", LONG), (TWO, None)):
            *chunks, answer = await chunks_of(gateway, question(text, document))
            assert isinstance(answer, Answer)
            assert "".join(chunk.text for chunk in chunks) == answer.completion.text


async def test_a_wrong_answer_in_steps_takes_all_steps_of_the_org_with_it():
    async with stepping() as (gateway, scribe):
        await ask(gateway, question())
        await forget_copies(gateway, "here")
        await ask(gateway, question())
        assert len(scribe.asked) == 4


async def test_blanks_do_not_make_another_step():
    async with stepping() as (gateway, scribe):
        await ask(gateway, question("When does the lease end?", LONG))
        await ask(gateway, question("When does the  lease\nend?", LONG + "\n\n"))
        assert len(scribe.asked) == 2


async def test_the_explanation_names_the_steps():
    async with stepping() as (gateway, _):
        await ask(gateway, question())
        answer = await ask(gateway, question("Who wrote Faust? Where is Lake Geneva?"))
        assert answer.route.reason == "answered in 2 steps, 1 of them known; the last by small"
        decision = await gateway.storage.decisions.find("here", answer.request_id)
        assert decision is None or decision.lookups[-1].reason == "1 of 2 steps known"
