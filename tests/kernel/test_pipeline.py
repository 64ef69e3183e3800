"""One inference through the real gateway with the mock provider: order of stages, failure modes, one event each."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from asahi_kernel import pipeline
from asahi_kernel.answer import Answer
from asahi_kernel.config import decode
from asahi_kernel.errors import (
    DeadlineExceeded,
    Denied,
    Exhausted,
    Invalid,
    NoRoute,
    PluginError,
    ProviderFailed,
    Unavailable,
)
from asahi_kernel.factory import Config, Factory
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.hookspecs import hookimpl
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings
from asahi_kernel.testing import ASK, HERE, THERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Completion, Message, Request, Terms, Tool, Usage

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace


def plugin(**kinds):
    """A plugin registering ready-made backends: kind=(name, backend)."""

    class Plugin:
        pass

    for kind, (name, backend) in kinds.items():

        @asynccontextmanager
        async def opened(config, gateway, backend=backend):
            yield backend

        def register(self, factory=None, name=name, opened=opened):
            return [Factory(name, Config, opened)]

        register.__name__ = f"register_{kind}"
        setattr(Plugin, f"register_{kind}", hookimpl(_named(register, kind, name, opened)))
    return Plugin()


def _named(_register, kind, name, opened):
    def register(self):
        return [Factory(name, Config, opened)]

    register.__name__ = f"register_{kind}"
    return register


@asynccontextmanager
async def gateway_of(tree=None, **kinds):
    plugins = load_plugins()
    if kinds:
        plugins.manager.register(plugin(**kinds), name="test")
    settings = decode({"profile": "development", **(tree or {})}, Settings, "test")
    async with running(Gateway(settings), plugins) as gateway:
        yield gateway


async def ask(gateway, request=ASK, principal=HERE):
    return await pipeline.infer(gateway, request, principal, Trace("/infer"))


async def chunks_of(gateway, request=ASK, principal=HERE):
    relay = pipeline.stream(gateway, request, principal, Trace("/infer"))
    items = []
    while batch := await relay.take():
        items += batch
    return items


async def events_of(gateway, org="here"):
    await gateway.journal.flush()
    shelf = gateway.storage.events._shelf
    return shelf.of(org)


def faults(*scripts, **more):
    return {"providers": {"mock": {"faults": list(scripts), "backoff_base_s": 0.001, **more}}}


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


async def test_retries_are_one_request_with_one_event_and_every_attempt():
    """PL-9, A11."""
    async with gateway_of(faults({"call": 1}, {"call": 2})) as gateway:
        answer = await ask(gateway)
        (event,) = await events_of(gateway)
        assert [attempt.outcome for attempt in event.attempts] == ["http_503", "http_503", "ok"]
        assert event.cost == event.attempts[-1].cost == answer.bill.cost


async def test_a_client_error_is_not_retried():
    async with gateway_of(faults({"status": 400})) as gateway:
        with pytest.raises(Invalid):
            await ask(gateway)
        (event,) = await events_of(gateway)
        assert len(event.attempts) == 1


async def test_429_from_every_attempt_is_429_with_the_vendors_wish():
    async with gateway_of(faults({"status": 429, "retry_after_s": 60})) as gateway:
        with pytest.raises(Exhausted) as refused:
            await ask(gateway)
        assert (refused.value.status, refused.value.retry_after) == (429, 60)


async def test_a_failing_provider_rests_and_then_answers_503_without_a_call():
    async with gateway_of(faults({"status": 500})) as gateway:
        with pytest.raises(ProviderFailed):
            await ask(gateway)
        calls = len(gateway.upstreams["mock"].provider.calls)
        with pytest.raises(Unavailable) as refused:
            await ask(gateway)
        assert refused.value.code == "no_provider"
        assert len(gateway.upstreams["mock"].provider.calls) == calls == 3


async def test_a_provider_that_never_answers_is_504_in_time():
    """PR-2."""
    async with gateway_of(faults({"kind": "stall"}, timeout_s=0.05, max_retries=0)) as gateway:
        with pytest.raises(DeadlineExceeded):
            async with asyncio.timeout(2):
                await ask(gateway)


async def test_a_fallback_goes_to_the_next_adequate_model():
    async with gateway_of(faults({"call": 1, "status": 404})) as gateway:
        answer = await ask(gateway)
        (event,) = await events_of(gateway)
        assert [attempt.model for attempt in event.attempts] == ["mistral-7b", answer.completion.model]
        assert event.fallback_used
        assert event.attempts[0].model != answer.completion.model


async def test_a_named_model_has_no_fallback():
    async with gateway_of(faults({"call": 1, "status": 401})) as gateway:
        with pytest.raises(ProviderFailed):
            await ask(gateway, replace(ASK, model="claude-opus-4", terms=Terms(mode="explicit")))
        assert gateway.upstreams["mock"].provider.calls == ["claude-opus-4"]


async def test_a_provider_that_raises_anything_else_fails_like_any_other():
    class Buggy:
        async def complete(self, model, request):
            raise KeyError("secret-key-value")

    async with gateway_of(
        {"providers": {"buggy": {}}, "models": [{"name": "m", "provider": "buggy"}]}, providers=("buggy", Buggy())
    ) as gateway:
        with pytest.raises(ProviderFailed) as failed:
            await ask(gateway)
        assert "secret" not in failed.value.message


@pytest.mark.parametrize("usage", ["none", "negative", "absurd"])
async def test_unbelievable_usage_never_lowers_spend(usage):
    """SV-9."""
    async with gateway_of() as honest, gateway_of(faults({"kind": "usage", "usage": usage})) as lying:
        fair, answer = await ask(honest), await ask(lying)
        assert answer.bill.cost >= fair.bill.cost * 0.9
        assert answer.usage.source == "estimated"
        assert "usage_estimated" in answer.warnings


async def test_usage_below_what_was_delivered_is_replaced():
    class Stingy:
        async def complete(self, model, request):
            return Completion(text="word " * 1_000, model=model.name, usage=Usage(5, 1))

    tree = {"providers": {"stingy": {}}, "models": [{"name": "m", "provider": "stingy"}]}
    async with gateway_of(tree, providers=("stingy", Stingy())) as gateway:
        answer = await ask(gateway)
        assert answer.usage.output_tokens >= 1_000


async def test_an_unknown_price_is_never_zero():
    tree = {"providers": {"mock": {}}, "models": [{"name": "m", "provider": "mock"}]}
    async with gateway_of(tree) as gateway:
        answer = await ask(gateway)
        assert answer.bill.cost is None
        assert "price_unknown" in answer.warnings
        with pytest.raises(NoRoute) as refused:
            await ask(gateway, replace(ASK, seed=1, terms=Terms(cost_budget=10**9)))
        assert refused.value.code == "price_unknown"


async def test_identical_requests_under_way_are_paid_for_once():
    """T1-5."""
    async with gateway_of({"providers": {"mock": {"latency_share": 0.5}}}) as gateway:
        answers = await asyncio.gather(*(ask(gateway) for _ in range(200)))
        assert len(gateway.upstreams["mock"].provider.calls) == 1
        assert sum(answer.bill.cost > 0 for answer in answers) == 1
        assert len(await events_of(gateway)) == 200


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


async def test_a_stream_gives_the_same_text_and_ends_with_the_answer():
    async with gateway_of() as gateway:
        whole = await ask(gateway, replace(ASK, seed=1))
        items = await chunks_of(gateway, replace(ASK, terms=Terms(cache="off"), seed=1))
        assert isinstance(items[-1], Answer)
        assert "".join(item.text for item in items[:-1]) == whole.completion.text == items[-1].completion.text


async def test_a_hit_is_streamed_from_the_cache():
    async with gateway_of() as gateway:
        whole = await ask(gateway)
        items = await chunks_of(gateway)
        assert "".join(item.text for item in items[:-1]) == whole.completion.text
        assert items[-1].hit is not None


@pytest.mark.parametrize("after", range(4))
async def test_a_stream_that_breaks_is_a_failure_and_never_cached(after):
    """PR-6, E5."""
    async with gateway_of(faults({"call": 1, "kind": "reset", "after": after}, max_retries=0)) as gateway:
        relay = pipeline.stream(gateway, replace(ASK, model="gpt-4-turbo"), HERE, Trace("/infer"))
        text, failure = "", None
        try:
            while items := await relay.take():
                text += "".join(item.text for item in items if not isinstance(item, Answer))
        except ProviderFailed as error:
            failure = error
        if after:
            assert failure is not None
            (event,) = await events_of(gateway)
            assert (event.status, event.cost > 0, event.saved < 0) == ("failed", True, True)
            assert (await ask(gateway, replace(ASK, model="gpt-4-turbo"))).hit is None
        else:
            assert not text.count("Mock answer") > 1


async def test_a_stream_never_splices_two_models():
    """E4."""
    async with gateway_of(faults({"call": 1, "kind": "reset", "after": 2})) as gateway:
        relay = pipeline.stream(gateway, ASK, HERE, Trace("/infer"))
        with pytest.raises(ProviderFailed):
            while await relay.take():
                pass
        assert len(gateway.upstreams["mock"].provider.calls) == 1


async def test_a_client_that_leaves_still_pays_for_what_was_generated():
    """PL-8."""
    for mode, status in (("abort", "aborted"), ("drain", "ok")):
        tree = {"streams": {"on_disconnect": mode}}
        long = replace(ASK, messages=(Message("user", "tell me everything " * 50),))
        async with gateway_of(tree) as gateway:
            relay = pipeline.stream(gateway, long, HERE, Trace("/infer"))
            await relay.take()
            relay.abandon()
            await gateway.drain(5)
            (event,) = await events_of(gateway)
            assert event.status == status
            assert event.cost > 0
            assert event.output_tokens >= 4


async def test_a_dry_run_calls_nobody_and_records_nothing():
    async with gateway_of() as gateway:
        answer = await pipeline.rehearse(gateway, ASK, HERE, Trace("/infer"))
        assert answer.bill.cost > 0
        assert len(answer.route.alternatives) == 4
        assert gateway.upstreams["mock"].provider.calls == []
        assert await events_of(gateway) == []


async def test_reservations_are_settled_once_whatever_happens():
    log = []

    class Budget:
        async def admit(self, request, principal):
            return request

        async def reserve(self, request_id, principal, amount):
            log.append(("reserve", amount))

        async def settle(self, request_id, principal, cost):
            log.append(("settle", cost))

    script = faults({"call": 2, "status": 400})
    async with gateway_of({"governance": {"policies": ["budget"]}, **script}, policies=("budget", Budget())) as gateway:
        answer = await ask(gateway)
        assert log[-1] == ("settle", answer.bill.cost)
        log.clear()
        await ask(gateway)
        assert log == []
        with pytest.raises(Invalid):
            await ask(gateway, replace(ASK, seed=2))
        assert [word for word, _ in log] == ["reserve", "settle"]
        assert log[-1] == ("settle", 0)


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


async def test_a_storage_that_fails_loses_nothing_and_stops_nobody():
    async with gateway_of() as gateway:
        save, down = gateway.storage.events.save, [True]

        async def flaky(events):
            if down[0]:
                raise OSError("down")
            await save(events)

        gateway.storage.events.save = flaky
        for number in range(3):
            await ask(gateway, replace(ASK, seed=number))
        await gateway.journal.flush()
        assert (gateway.journal.lag, gateway.faults["storage"] > 0) == (3, True)
        down[0] = False
        assert len(await events_of(gateway)) == 3
        assert gateway.journal.lag == 0


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
