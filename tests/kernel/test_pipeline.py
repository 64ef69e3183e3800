"""One inference through the real gateway with the mock provider: order of stages, failure modes, one event each."""

import asyncio

import msgspec
import pytest
from tests.kernel.kit import ask, chunks_of, events_of, faults, gateway_of

from asahi_kernel.answer import Answer
from asahi_kernel.clearing import clear
from asahi_kernel.errors import (
    Denied,
    Invalid,
    NoRoute,
    PluginError,
)
from asahi_kernel.testing import ASK, HERE, THERE
from asahi_kernel.types import Message, Request, Terms, Tool

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


async def test_the_second_answer_is_a_hit_that_costs_nothing_and_keeps_its_tokens():
    """PL-4."""
    async with gateway_of() as gateway:
        first, second = await ask(gateway), await ask(gateway)
        assert first.bill.cost > 0
        assert (second.bill.cost, second.hit.tier, second.billed_tokens) == (0, 1, 0)
        assert second.completion.text == first.completion.text
        assert (second.usage.input_tokens, second.usage.source) == (first.usage.input_tokens, "stored")
        miss, hit = await events_of(gateway)
        assert (hit.model_selected, hit.cache_tier, hit.output_tokens) == (miss.model_selected, 1, miss.output_tokens)
        assert hit.baseline_cost == hit.saved == miss.baseline_cost > 0


async def test_a_hit_stays_inside_its_org():
    async with gateway_of() as gateway:
        await ask(gateway)
        assert (await ask(gateway, principal=THERE)).hit is None
        assert (await ask(gateway)).hit is not None


async def test_what_a_request_saved_is_the_sum_of_its_parts():
    async with gateway_of() as gateway:
        for request in (ASK, ASK, replace(ASK, model="claude-opus-4", terms=Terms(mode="explicit"))):
            answer = await ask(gateway, request)
            bill = answer.bill
            assert bill.saved == bill.baseline_cost - bill.cost - bill.overhead_cost == sum(bill.saved_by.values())


async def test_the_parts_of_the_latency_sum_to_the_total():
    """PL-5."""
    async with gateway_of() as gateway:
        answer = await ask(gateway)
        assert sum(answer.breakdown.values()) == pytest.approx(answer.latency_ms, abs=1)


async def test_policies_run_before_the_cache_and_are_asked_about_hits():
    """PL-2."""
    seen = []

    class Mark:
        async def admit(self, request, principal):
            seen.append("admit")
            return request

        async def release(self, request, completion, principal):
            seen.append("release")
            return replace(completion, text="released")

    async with gateway_of({"governance": {"policies": ["mark"]}}, policies=("mark", Mark())) as gateway:
        for _ in range(2):
            seen.clear()
            assert (await ask(gateway)).completion.text == "released"
            assert seen == ["admit", "release"]
        items = await chunks_of(gateway, replace(ASK, max_tokens=50))
        assert "".join(item.text for item in items[:-1]) == "released"


async def test_a_policy_that_breaks_stops_the_request():
    class Broken:
        async def admit(self, request, principal):
            raise RuntimeError("bug")

    async with gateway_of({"governance": {"policies": ["broken"]}}, policies=("broken", Broken())) as gateway:
        with pytest.raises(RuntimeError):
            await ask(gateway)
        assert [event.status for event in await events_of(gateway)] == ["failed"]


async def test_a_denied_request_is_recorded_without_tokens():
    class No:
        async def admit(self, request, principal):
            raise Denied("no")

    async with gateway_of({"governance": {"policies": ["no"]}}, policies=("no", No())) as gateway:
        with pytest.raises(Denied):
            await ask(gateway)
        (event,) = await events_of(gateway)
        assert (event.status, event.error, event.total_tokens, event.cost) == ("denied", "permission_denied", 0, 0)


class BrokenTier:
    def __init__(self):
        self.asked = 0

    async def get(self, key, request, principal):
        self.asked += 1
        raise OSError("gone")

    put = get


async def test_a_broken_tier_is_a_miss_and_soon_left_alone():
    tier = BrokenTier()
    tiers = {"cache": {"tiers": ["broken", "exact"]}}
    async with gateway_of(tiers, cache_tiers=("broken", tier)) as gateway:
        for number in range(10):
            assert await ask(gateway, replace(ASK, seed=number))
        assert (await ask(gateway, replace(ASK, seed=1))).hit is not None
        assert tier.asked <= 4
        assert gateway.faults["cache.broken"] >= 3


async def test_a_hanging_tier_costs_its_timeout_and_no_more():
    class Hanging(BrokenTier):
        async def get(self, key, request, principal):
            await asyncio.Event().wait()

        put = get

    tiers = {"cache": {"tiers": ["slow"], "timeout_ms": 20}}
    async with gateway_of(tiers, cache_tiers=("slow", Hanging())) as gateway:
        async with asyncio.timeout(2):
            assert (await ask(gateway)).completion.text


async def test_a_broken_transform_leaves_the_request_as_it_was():
    class Broken:
        async def apply(self, request, principal):
            raise RuntimeError("bug")

    async with gateway_of({"routing": {"transforms": ["broken"]}}, transforms=("broken", Broken())) as gateway:
        assert (await ask(gateway)).completion.text


@pytest.mark.parametrize(
    "invent",
    [
        lambda given: [replace(given[0], name="made-up")],
        lambda given: [replace(given[0], model=replace(given[0].model, api_model="made-up"))],
        lambda given: [given[0], given[0]],
    ],
)
async def test_a_rule_that_invents_a_model_is_refused(invent):
    class Inventor:
        async def rank(self, request, principal, candidates):
            return invent(candidates)

    async with gateway_of({"routing": {"rules": ["inventor"]}}, rules=("inventor", Inventor())) as gateway:
        with pytest.raises(PluginError, match="inventor"):
            await ask(gateway)


async def test_identical_requests_under_way_are_paid_for_once():
    """T1-5."""
    async with gateway_of({"providers": {"mock": {"latency_share": 0.5}}}) as gateway:
        answers = await asyncio.gather(*(ask(gateway) for _ in range(200)))
        assert len(gateway.upstreams["mock"].provider.calls) == 1
        assert sum(answer.bill.cost > 0 for answer in answers) == 1
        assert len(await events_of(gateway)) == 200


async def test_an_answer_under_way_while_the_org_clears_its_cache_is_not_kept():
    """CM-1."""
    async with gateway_of({"providers": {"mock": {"latency_share": 0.5}}}) as gateway:
        calls = gateway.upstreams["mock"].provider.calls
        mine, theirs = (asyncio.create_task(ask(gateway, principal=each)) for each in (HERE, THERE))
        async with asyncio.timeout(5):
            while len(calls) < 2:
                await asyncio.sleep(0.001)
        await clear(gateway, HERE.org)
        await asyncio.gather(mine, theirs)
        assert (await ask(gateway)).hit is None
        assert (await ask(gateway)).hit is not None
        assert (await ask(gateway, principal=THERE)).hit is not None


async def test_a_follower_is_served_nothing_below_its_own_floor():
    """The floor is not part of what makes two requests identical."""
    async with gateway_of({"providers": {"mock": {"latency_share": 0.5}}}) as gateway:
        strict = replace(ASK, terms=Terms(quality_threshold=4.2))
        leader, same, better = await asyncio.gather(ask(gateway), ask(gateway), ask(gateway, strict))
    assert (leader.completion.model, same.hit is not None) == ("mistral-7b", True)
    assert (better.hit, better.completion.model) == (None, "claude-3-5-sonnet")


async def test_followers_of_a_failing_leader_still_get_an_answer():
    async with gateway_of(faults({"call": 1, "status": 400}, latency_share=0.2)) as gateway:
        answers = await asyncio.gather(*(ask(gateway) for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers].count(Invalid) == 1
        assert sum(isinstance(answer, Answer) for answer in answers) == 4


async def test_two_orgs_never_share_a_flight():
    async with gateway_of({"providers": {"mock": {"latency_share": 0.5}}}) as gateway:
        await asyncio.gather(ask(gateway), ask(gateway, principal=THERE))
        assert len(gateway.upstreams["mock"].provider.calls) == 2


@pytest.mark.parametrize("terms", [Terms(cache="off"), Terms(cache="refresh")])
async def test_a_caller_may_pass_the_cache_by(terms):
    async with gateway_of() as gateway:
        await ask(gateway, replace(ASK, terms=terms))
        again = await ask(gateway, replace(ASK, terms=terms))
        assert (again.hit, again.cache_status) == (None, "bypass")
        stored = await ask(gateway)
        assert (stored.hit is not None) == (terms.cache == "refresh")


async def test_a_truncated_answer_is_never_cached():
    async with gateway_of() as gateway:
        short = replace(ASK, max_tokens=3)
        assert (await ask(gateway, short)).completion.finish_reason == "length"
        assert (await ask(gateway, short)).hit is None


async def test_a_hit_must_meet_todays_quality_floor():
    async with gateway_of() as gateway:
        assert (await ask(gateway)).completion.model == "mistral-7b"
        better = await ask(gateway, replace(ASK, terms=Terms(quality_threshold=4.2)))
        assert (better.hit, better.completion.model) == (None, "claude-3-5-sonnet")


async def test_a_model_without_the_needed_capability_is_no_candidate():
    tree = {
        "providers": {"mock": {}},
        "models": [
            {"name": "plain", "provider": "mock", "capabilities": []},
            {"name": "able", "provider": "mock", "capabilities": ["tools"]},
        ],
    }
    async with gateway_of(tree) as gateway:
        answer = await ask(gateway, replace(ASK, tools=(Tool(name="look", parameters=b"{}"),)))
        assert (answer.completion.model, answer.completion.finish_reason) == ("able", "tool_calls")


async def test_a_request_larger_than_every_context_is_422_with_the_largest():
    async with gateway_of() as gateway:
        with pytest.raises(NoRoute) as refused:
            await ask(gateway, Request(messages=(Message("user", "word " * 200_000),)))
        assert (refused.value.code, refused.value.details["largest_context"]) == ("context_too_long", 200_000)


async def test_500_requests_with_one_client_id_are_500_events():
    """PL-10, A9."""
    async with gateway_of() as gateway:
        terms = Terms(client_request_id="same", cache="off")
        await asyncio.gather(*(ask(gateway, replace(ASK, terms=terms)) for _ in range(500)))
        events = await events_of(gateway)
        assert len({event.request_id for event in events}) == 500


async def test_a_rule_is_told_who_answered_but_not_of_hits_and_its_failure_harms_nobody():
    class Witness:
        told = []

        async def rank(self, request, principal, candidates):
            return candidates

        def answered(self, request, principal, completion):
            self.told.append((principal.org, completion.model))
            raise RuntimeError

    async with gateway_of({"routing": {"rules": ["witness", "cheapest"]}}, rules=("witness", Witness())) as gateway:
        answer = await ask(gateway)
        assert (await ask(gateway)).hit is not None
        assert Witness.told == [("here", answer.completion.model)]
        assert gateway.faults["rule.Witness"] == 1
