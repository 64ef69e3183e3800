"""The pipeline of embeddings: what is cached, what is billed, what is refused."""

import asyncio
import base64
import json

import pytest
from tests.kernel.kit import events_of, faults, gateway_of, replace

from asahi_kernel.embedding import embed
from asahi_kernel.errors import (
    ConfigError,
    DeadlineExceeded,
    Denied,
    Exhausted,
    NoRoute,
    PluginError,
    ProviderFailed,
    Unavailable,
)
from asahi_kernel.testing import HERE, THERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Completion, Embedded, Message, Request, Terms

pytestmark = pytest.mark.anyio
SMALL = "text-embedding-3-small"
PRICE = 20


@pytest.fixture
def anyio_backend():
    return "asyncio"


def texts(*given, **terms):
    return Request(messages=tuple(Message("user", text) for text in given), model=SMALL, terms=Terms(**terms))


async def ask(gateway, *given, principal=HERE, dimensions=8, **terms):
    return await embed(gateway, texts(*given, **terms), principal, Trace("/v1/embeddings"), dimensions)


class Embedding:
    """A provider that embeds as it is told, and remembers what it was asked."""

    def __init__(self, give=None, most_texts=96):
        self.most_texts = most_texts
        self.asked = []
        self._give = give or (lambda texts, dimensions: Embedded(vectors(texts, dimensions or 8), 10 * len(texts)))

    async def complete(self, model, request):
        return Completion(text="words", model=model.name)

    async def embed(self, model, texts, dimensions):
        self.asked.append(list(texts))
        return self._give(texts, dimensions)


def vectors(texts, dimensions):
    return tuple(tuple(float(ord(text[0]) + at) for at in range(dimensions)) for text in texts)


def served_by(**more):
    model = {"name": SMALL, "provider": "own", "cost_per_1k_input_tokens": 0.00002, "capabilities": ["embeddings"]}
    return {"providers": {"own": {"max_retries": 0}}, "models": [{**model, **more}]}


class TestMoney:
    async def test_one_event_with_the_exact_cost_of_what_was_counted(self):
        async with gateway_of(served_by(), providers=("own", Embedding())) as gateway:
            found = await ask(gateway, "a", "b")
            (event,) = await events_of(gateway)
        assert (event.cost, event.billed_tokens, event.input_tokens, event.output_tokens) == (20 * PRICE, 20, 20, 0)
        assert (event.baseline_cost, event.saved, event.route) == (20 * PRICE, 0, "/v1/embeddings")
        assert found.answer.bill.cost == event.cost

    async def test_only_unknown_texts_are_sent_and_billed(self):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            first = await ask(gateway, "a", "b")
            found = await ask(gateway, "b", "c", "a")
            event = (await events_of(gateway))[-1]
        assert provider.asked == [["a", "b"], ["c"]]
        assert found.vectors[0] == first.vectors[1]
        assert found.vectors[2] == first.vectors[0]
        assert (event.cost, event.baseline_cost, event.saved) == (10 * PRICE, 30 * PRICE, 20 * PRICE)
        assert (dict(event.saved_by), event.cache_hit, found.cached) == ({"exact_cache": 20 * PRICE}, False, 2)

    async def test_what_the_cache_knows_whole_is_free(self):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await ask(gateway, "a", "b")
            found = await ask(gateway, "b", "a")
            event = (await events_of(gateway))[-1]
        assert len(provider.asked) == 1
        assert (event.cost, event.saved, event.cache_hit, event.cache_tier) == (0, 20 * PRICE, True, 1)
        assert (found.answer.cache_status, found.answer.usage.source, event.billed_tokens) == ("t1", "stored", 0)

    async def test_a_text_that_stands_twice_is_sent_once(self):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            found = await ask(gateway, "a", "b", "a")
            (event,) = await events_of(gateway)
        assert provider.asked == [["a", "b"]]
        assert found.vectors[0] == found.vectors[2]
        assert (event.cost, event.baseline_cost) == (20 * PRICE, 30 * PRICE)

    async def test_shares_of_the_vendors_count_sum_to_it(self):
        provider = Embedding(lambda texts, dimensions: Embedded(vectors(texts, 8), 17))
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await ask(gateway, "a", "a longer text with many more words in it", "two words")
            again = await ask(gateway, "a", "a longer text with many more words in it", "two words")
        assert again.answer.usage.input_tokens == 17

    @pytest.mark.parametrize("told", [None, -5, 2**60, 0, "many", 1.5])
    async def test_an_incredible_count_is_replaced_and_flagged(self, told):
        provider = Embedding(lambda texts, dimensions: Embedded(vectors(texts, 8), told))
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await ask(gateway, "four words of text")
            (event,) = await events_of(gateway)
        assert (event.cost, event.warnings, event.usage_source) == (5 * PRICE, ("usage_estimated",), "estimated")

    async def test_an_unknown_price_is_never_zero(self):
        async with gateway_of(served_by(cost_per_1k_input_tokens=None), providers=("own", Embedding())) as gateway:
            found = await ask(gateway, "a")
            (event,) = await events_of(gateway)
            assert (event.cost, "price_unknown" in event.warnings) == (None, True)
            assert found.answer.bill.cost is None
            with pytest.raises(NoRoute) as refused:
                await ask(gateway, "b", cost_budget=1_000)
        assert refused.value.code == "price_unknown"

    async def test_a_cost_budget_is_held_against_the_missing_texts(self):
        async with gateway_of(served_by(), providers=("own", Embedding())) as gateway:
            with pytest.raises(NoRoute):
                await ask(gateway, "word " * 100, cost_budget=100 * PRICE)
            await ask(gateway, "word", cost_budget=100 * PRICE)
            assert len(await events_of(gateway)) == 2

    async def test_a_failure_costs_what_was_billed_before_it(self):
        calls = iter([Embedded(vectors("ab", 8), 20), Embedded((), 20)])
        provider = Embedding(lambda texts, dimensions: next(calls), most_texts=2)
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            with pytest.raises(ProviderFailed):
                await ask(gateway, "a", "b", "c")
            (event,) = await events_of(gateway)
            assert (event.status, event.cost, event.baseline_cost, event.saved) == ("failed", 400, 0, -400)
            assert [attempt.outcome for attempt in event.attempts] == ["ok", "error"]
            calls = iter([Embedded(vectors("c", 8), 10)])
            await ask(gateway, "a", "b", "c")
        assert provider.asked[-1] == ["c"]

    async def test_many_texts_go_in_as_many_calls_as_the_provider_needs(self):
        provider = Embedding(most_texts=2)
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            found = await ask(gateway, *"abcde")
            (event,) = await events_of(gateway)
        assert provider.asked == [["a", "b"], ["c", "d"], ["e"]]
        assert (len(found.vectors), event.cost, len(event.attempts)) == (5, 50 * PRICE, 3)


class TestReservation:
    class Purse:
        """A settlement that lends at most `left`."""

        def __init__(self, left):
            self.left = left
            self.settled = []

        async def admit(self, request, principal):
            return request

        async def reserve(self, request_id, principal, amount):
            if amount > self.left:
                raise Exhausted("the budget is spent", code="budget_exceeded")

        async def settle(self, request_id, principal, cost):
            self.settled.append(cost)

    async def test_the_worst_case_is_held_and_the_bill_settled(self):
        purse = self.Purse(1_000)
        table = {**served_by(), "governance": {"policies": ["purse"]}}
        async with gateway_of(table, providers=("own", Embedding()), policies=("purse", purse)) as gateway:
            await ask(gateway, "a", "b")
            await ask(gateway, "a", "b")
            with pytest.raises(Exhausted):
                await ask(gateway, "word " * 100)
        assert purse.settled == [20 * PRICE, 0]

    async def test_without_a_price_there_is_no_budget(self):
        table = {**served_by(cost_per_1k_input_tokens=None), "governance": {"policies": ["purse"]}}
        async with gateway_of(table, providers=("own", Embedding()), policies=("purse", self.Purse(9))) as gateway:
            with pytest.raises(NoRoute) as refused:
                await ask(gateway, "a")
        assert refused.value.code == "price_unknown"


class TestCache:
    async def test_orgs_never_share(self):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await ask(gateway, "a")
            await ask(gateway, "a", principal=THERE)
        assert provider.asked == [["a"], ["a"]]

    async def test_another_dimension_is_another_text(self):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await ask(gateway, "a")
            found = await ask(gateway, "a", dimensions=4)
        assert (len(provider.asked), len(found.vectors[0])) == (2, 16)

    async def test_the_models_own_length_is_another_text_even_where_it_is_the_same(self):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await ask(gateway, "a", dimensions=8)
            await ask(gateway, "a", dimensions=None)
        assert len(provider.asked) == 2

    async def test_another_model_is_another_text(self):
        async with gateway_of() as gateway:
            request = texts("a")
            other = replace(request, model="text-embedding-3-large")
            one = await embed(gateway, request, HERE, Trace("/v1/embeddings"), 8)
            two = await embed(gateway, other, HERE, Trace("/v1/embeddings"), 8)
        assert one.vectors != two.vectors
        assert two.answer.hit is None

    @pytest.mark.parametrize(("mode", "sent"), [("off", 3), ("refresh", 2)])
    async def test_the_callers_wish_is_honoured(self, mode, sent):
        provider = Embedding()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            for wish in (mode, mode, "on"):
                found = await ask(gateway, "a", cache=wish)
        assert (len(provider.asked), found.answer.cache_status) == (sent, "miss" if mode == "off" else "t1")

    async def test_a_broken_tier_is_a_miss(self):
        class Broken:
            local = exact = True

            async def get(self, key, request, principal):
                raise OSError("gone")

            put = get

        table = {**served_by(), "cache": {"tiers": ["broken"]}}
        async with gateway_of(table, providers=("own", Embedding()), cache_tiers=("broken", Broken())) as gateway:
            assert len((await ask(gateway, "a")).vectors) == 1
            assert gateway.faults["cache.broken"] == 2

    @pytest.mark.parametrize(
        "entry",
        [b"", b"{}", b'{"embedding":"AAAA"}', b'{"embedding":"!"}', b'{"embedding":""}', b'{"embedding":"AAAAAA=="}'],
    )
    async def test_an_entry_that_is_no_such_vector_is_a_miss(self, entry):
        class Poisoned:
            local = exact = True

            async def get(self, key, request, principal):
                from asahi_kernel.types import Hit, Usage

                told = Completion(model=SMALL, message=entry, usage=Usage(5))
                return Hit(completion=told, tier=1, entry_id="e")

            async def put(self, *entry):
                return None

        provider = Embedding()
        table = {**served_by(), "cache": {"tiers": ["poisoned"]}}
        async with gateway_of(table, providers=("own", provider), cache_tiers=("poisoned", Poisoned())) as gateway:
            assert (await ask(gateway, "a")).answer.hit is None
        assert provider.asked == [["a"]]

    async def test_a_tier_that_reads_questions_never_sees_an_embedding(self):
        class Semantic:
            async def get(self, *asked):
                raise AssertionError

            put = get

        table = {**served_by(), "cache": {"tiers": ["reader"]}}
        async with gateway_of(table, providers=("own", Embedding()), cache_tiers=("reader", Semantic())) as gateway:
            await ask(gateway, "a")
            assert not gateway.faults


class TestFlights:
    class Slow(Embedding):
        async def embed(self, model, texts, dimensions):
            await asyncio.sleep(0.05)
            return await super().embed(model, texts, dimensions)

    async def test_the_same_texts_under_way_are_paid_for_once(self):
        provider = self.Slow()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            found = await asyncio.gather(*(ask(gateway, "a", "b") for _ in range(20)))
            events = await events_of(gateway)
        assert len(provider.asked) == 1
        assert len({each.vectors for each in found}) == 1
        assert (len(events), sum(event.cost for event in events)) == (20, 20 * PRICE)

    async def test_tenants_and_those_who_pass_the_cache_by_pay_for_themselves(self):
        provider = self.Slow()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            await asyncio.gather(
                ask(gateway, "a"), ask(gateway, "a", principal=THERE), ask(gateway, "a", cache="off"), ask(gateway, "b")
            )
        assert len(provider.asked) == 4

    async def test_a_leader_that_fails_does_not_fail_its_followers(self):
        outcomes = iter([Embedded((), 1)])

        class Once(self.Slow):
            async def embed(self, model, texts, dimensions):
                given = await super().embed(model, texts, dimensions)
                return next(outcomes, given)

        provider = Once()
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            asked = (ask(gateway, "a") for _ in range(5))
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(each, ProviderFailed) for each in found].count(True) == 1
        assert len(provider.asked) == 2


class TestPolicies:
    async def test_each_text_is_seen_and_may_be_amended(self):
        class Masking:
            async def admit(self, request, principal):
                turns = tuple(replace(turn, content=turn.text.replace("secret", "…")) for turn in request.messages)
                return replace(request, messages=turns)

        provider = Embedding()
        table = {**served_by(), "governance": {"policies": ["masking"]}}
        async with gateway_of(table, providers=("own", provider), policies=("masking", Masking())) as gateway:
            await ask(gateway, "a", "my secret")
        assert provider.asked == [["a", "my …"]]

    async def test_a_refusal_stops_everything_even_what_is_cached(self):
        class Fickle:
            denies = False

            async def admit(self, request, principal):
                if self.denies:
                    raise Denied("not today")
                return request

        fickle = Fickle()
        table = {**served_by(), "governance": {"policies": ["fickle"]}}
        async with gateway_of(table, providers=("own", Embedding()), policies=("fickle", fickle)) as gateway:
            await ask(gateway, "a")
            fickle.denies = True
            with pytest.raises(Denied):
                await ask(gateway, "a")
            assert [event.status for event in await events_of(gateway)] == ["ok", "denied"]

    async def test_output_policies_are_asked_on_hits_too(self):
        class Closing:
            closed = False

            async def admit(self, request, principal):
                return request

            async def release(self, request, completion, principal):
                if self.closed:
                    raise Denied(f"{completion.model} is closed")
                return completion

        closing = Closing()
        table = {**served_by(), "governance": {"policies": ["closing"]}}
        async with gateway_of(table, providers=("own", Embedding()), policies=("closing", closing)) as gateway:
            await ask(gateway, "a")
            closing.closed = True
            with pytest.raises(Denied):
                await ask(gateway, "a")

    async def test_a_text_cannot_be_lost(self):
        class Losing:
            async def admit(self, request, principal):
                return replace(request, messages=request.messages[1:])

        table = {**served_by(), "governance": {"policies": ["losing"]}}
        async with gateway_of(table, providers=("own", Embedding()), policies=("losing", Losing())) as gateway:
            with pytest.raises(PluginError):
                await ask(gateway, "a", "b")


class TestCalls:
    async def test_a_failure_is_retried_like_any_other(self):
        async with gateway_of(faults({"call": 1, "status": 503})) as gateway:
            await ask(gateway, "a")
            (event,) = await events_of(gateway)
        assert [attempt.outcome for attempt in event.attempts] == ["http_503", "ok"]

    async def test_a_stall_ends_within_the_time_of_a_call(self):
        async with gateway_of(faults({"kind": "stall"}, timeout_s=0.1, max_retries=0)) as gateway:
            for _ in range(3):
                with pytest.raises(DeadlineExceeded):
                    await ask(gateway, "a")
            with pytest.raises(Unavailable):
                await ask(gateway, "a")
            event = (await events_of(gateway))[0]
        assert [(attempt.outcome, attempt.billed) for attempt in event.attempts] == [("timeout", False)]
        assert event.warnings == ("charge_unknown",)

    async def test_many_calls_have_the_time_of_one(self):
        async with gateway_of(faults({"call": 3, "kind": "stall"}, timeout_s=0.3, max_retries=0)) as gateway:
            with pytest.raises(DeadlineExceeded):
                await ask(gateway, *(f"text {number}" for number in range(250)))
            (event,) = await events_of(gateway)
        assert [attempt.outcome for attempt in event.attempts][:2] == ["ok", "ok"]
        assert (event.status, event.cost > 0) == ("failed", True)

    async def test_slow_calls_share_the_time(self):
        class Slow(Embedding):
            async def embed(self, model, texts, dimensions):
                await asyncio.sleep(0.1)
                return await super().embed(model, texts, dimensions)

        slow = Slow(most_texts=1)
        table = {**served_by(), "providers": {"own": {"timeout_s": 0.35}}}
        async with gateway_of(table, providers=("own", slow)) as gateway:
            with pytest.raises(DeadlineExceeded):
                await ask(gateway, *"abcdefghij")
            (event,) = await events_of(gateway)
        assert 0 < len(slow.asked) < 10
        assert event.cost >= 10 * PRICE * len(slow.asked)

    async def test_the_breaker_is_the_providers(self):
        async with gateway_of(faults({"status": 500}, max_retries=0)) as gateway:
            for _ in range(3):
                with pytest.raises(ProviderFailed):
                    await ask(gateway, "a")
            with pytest.raises(Unavailable):
                await ask(gateway, "a")

    async def test_a_text_beyond_the_context_is_refused_before_it_is_sent(self):
        async with gateway_of() as gateway:
            with pytest.raises(NoRoute) as refused:
                await ask(gateway, "short", "word " * 9_000)
        assert refused.value.code == "context_too_long"

    @pytest.mark.parametrize(
        "given",
        [
            Embedded((), 1),
            Embedded((((1.0,) * 8), ((1.0,) * 8)), 1),
            Embedded(((1.0,) * 7,), 1),
            Embedded(((float("nan"),) * 8,), 1),
            Embedded(((1e300,) * 8,), 1),
            Embedded((("high",) * 8,), 1),
            Embedded(((),), 1),
            None,
            [[1.0] * 8],
        ],
    )
    async def test_what_is_no_vector_for_each_text_is_a_failure(self, given):
        async with gateway_of(served_by(), providers=("own", Embedding(lambda texts, dimensions: given))) as gateway:
            with pytest.raises(ProviderFailed):
                await ask(gateway, "a")
            (event,) = await events_of(gateway)
        assert (event.status, event.warnings) == ("failed", ("charge_unknown",))

    async def test_vectors_of_two_lengths_are_no_answer(self):
        lengths = iter([8, 9])
        provider = Embedding(lambda texts, dimensions: Embedded(vectors(texts, next(lengths)), 5), most_texts=1)
        async with gateway_of(served_by(), providers=("own", provider)) as gateway:
            with pytest.raises(ProviderFailed):
                await ask(gateway, "a", "b", dimensions=None)


async def test_a_model_whose_provider_cannot_embed_stops_the_start():
    class Words:
        async def complete(self, model, request):
            return Completion(text="words", model=model.name)

    with pytest.raises(ConfigError, match="'own' cannot embed"):
        async with gateway_of(served_by(), providers=("own", Words())):
            pass


async def test_the_decision_tells_of_the_cache_and_the_model():
    async with gateway_of() as gateway:
        found = await ask(gateway, "a")
        await gateway.journal.flush()
        decision = await gateway.storage.decisions.find("here", found.answer.request_id)
    assert [lookup.reason for lookup in decision.lookups] == ["knew 0 of 1 texts"]
    assert (decision.chosen, [each.name for each in decision.candidates]) == (SMALL, [SMALL])


async def test_what_is_kept_is_a_vector_of_32_bit_floats():
    async with gateway_of() as gateway:
        found = await ask(gateway, "a")
        (entry,) = gateway.tiers["exact"]._entries.values()
    kept = json.loads(entry.completion.message)
    assert base64.b64decode(kept["embedding"]) == found.vectors[0]
