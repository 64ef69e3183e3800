"""Nothing of one organisation reaches another, not even that it is busy."""

import asyncio
from types import SimpleNamespace

import pytest
from tests.chaos.kit import Streams, ask, gateway_of, only, replace

from asahi_kernel.api import metrics
from asahi_kernel.api.explain import explain_routes
from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.errors import AsahiError, NotFound
from asahi_kernel.fingerprint import Salts, fingerprint
from asahi_kernel.resilience.retry import RetryBudget
from asahi_kernel.settings import Cache
from asahi_kernel.testing import ASK, HERE, PARIS, THERE
from asahi_kernel.types import Message, Terms

pytestmark = pytest.mark.anyio


def orgs(count):
    return [replace(HERE, org=f"org-{number}") for number in range(count)]


async def test_1000_identical_questions_of_50_orgs_never_cross():
    """B1, T1-3: every org pays once, then always hits."""
    async with gateway_of() as gateway:
        answers = {}
        for _ in range(20):
            for principal in orgs(50):
                answers.setdefault(principal.org, []).append(await ask(gateway, principal=principal))
        assert len(gateway.upstreams["mock"].provider.calls) == 50
        for first, *others in answers.values():
            assert first.hit is None
            assert all(each.hit is not None for each in others)
            assert len({each.hit.entry_id for each in others}) == 1


def test_no_two_orgs_have_a_key_in_common():
    salts = Salts(b"x" * 32)
    keys = {fingerprint(ASK, salts.of(f"org-{number}")) for number in range(2_000)}
    assert len(keys) == 2_000


async def test_the_tier_checks_the_org_even_under_the_same_key():
    """6.1: by construction and again before use."""
    tier = MemoryTier(Cache())
    await tier.put(b"same", ASK, HERE, PARIS)
    assert await tier.get(b"same", ASK, THERE) is None
    assert await tier.get(b"same", ASK, HERE) is not None


async def test_identical_questions_under_way_are_not_shared_across_orgs():
    """E9: per tenant."""
    async with gateway_of({"providers": {"mock": {"latency_share": 0.3}}}) as gateway:
        await asyncio.gather(*(ask(gateway, principal=each) for each in orgs(10) for _ in range(10)))
        assert len(gateway.upstreams["mock"].provider.calls) == 10


async def explained(gateway, request_id, principal):
    (route,) = explain_routes(gateway)
    return await route.fn(SimpleNamespace(scope={"asahi.principal": principal}), request_id=request_id)


async def test_another_orgs_decision_is_as_unknown_as_none():
    """B6, 3.11."""
    async with gateway_of() as gateway:
        answer = await ask(gateway)
        assert (await explained(gateway, answer.request_id, HERE))["request_id"] == answer.request_id
        refusals = []
        for request_id in (answer.request_id, "0" * 26):
            with pytest.raises(NotFound) as refused:
                await explained(gateway, request_id, THERE)
            refusals.append(refused.value.message)
        assert len(set(refusals)) == 1


async def test_without_view_metrics_only_ones_own_decisions_are_told():
    async with gateway_of() as gateway:
        answer = await ask(gateway)
        other = replace(HERE, user="eve", permissions=frozenset({"infer"}))
        with pytest.raises(NotFound):
            await explained(gateway, answer.request_id, other)
        assert await explained(gateway, answer.request_id, replace(other, user="ann"))


async def test_keys_without_a_user_do_not_see_each_others_decisions():
    """3.11: `infer` is for own requests; two keys without a user are not the same asker."""
    async with gateway_of() as gateway:
        nobody = replace(HERE, user=None, key_id="key-1", permissions=frozenset({"infer"}))
        answer = await ask(gateway, principal=nobody)
        with pytest.raises(NotFound):
            await explained(gateway, answer.request_id, replace(nobody, key_id="key-2"))


async def test_an_orgs_metrics_do_not_tell_of_others():
    """B10: what another org does changes no figure of mine."""
    async with gateway_of() as gateway:
        await ask(gateway)

        async def mine():
            await gateway.journal.flush()
            cached = len(await gateway.tiers["exact"].entries("here"))
            told = metrics.tell(gateway, await gateway.storage.events.totals("here", None), cached)
            return {name: value for name, value in told.items() if name != "uptime_seconds"}

        before = await mine()
        for number in range(5):
            await ask(gateway, replace(ASK, seed=number), THERE)
        assert await mine() == before


async def test_one_orgs_failures_leave_the_others_retries_alone():
    """7.2: the retry budget is per tenant and provider."""
    budget = RetryBudget(lambda: 0.0)
    while budget.withdraw("noisy", "p"):
        pass
    assert not budget.withdraw("noisy", "p")
    assert budget.withdraw("quiet", "p")
    assert budget.withdraw("noisy", "q")


async def test_a_hit_meets_the_quality_that_is_preferred_today():
    """6.1: `low` was answered by a small model; `max` must not get that answer from the cache."""

    class Guided:
        async def rank(self, request, principal, candidates):
            floor = {"low": 3.0, "max": 4.5}[request.terms.quality_preference]
            return sorted((each for each in candidates if each.quality >= floor), key=lambda each: each.cost)

    tree = {"routing": {"rules": ["preferring"]}}
    async with gateway_of(tree, rules=("preferring", Guided())) as gateway:
        low = await ask(gateway, replace(ASK, terms=Terms(mode="guided", quality_preference="low")))
        best = await ask(gateway, replace(ASK, terms=Terms(mode="guided", quality_preference="max")))
        assert low.completion.model == "mistral-7b"
        assert best.completion.model != low.completion.model


async def test_a_hit_meets_the_floor_for_its_task():
    """6.1: routing judges a model by its quality for the task, and so must the cache."""
    prices = {"cost_per_1k_input_tokens": 1, "cost_per_1k_output_tokens": 1}
    poor = {"name": "a", "provider": "p", "quality_score": 4.5, "task_quality": {"coding": 1.0}, **prices}
    good = {"name": "b", "provider": "p", "quality_score": 4.4, **dict.fromkeys(prices, 2)}
    rules = {"routing": {"rules": ["bounds", "cheapest"]}}
    async with gateway_of({**only(), **rules, "models": [poor, good]}, providers=("p", Streams())) as gateway:
        assert (await ask(gateway, replace(ASK, terms=Terms(task_type="coding")))).completion.model == "a"
        floor = Terms(task_type="coding", quality_threshold=4.0)
        assert (await ask(gateway, replace(ASK, terms=floor))).completion.model == "b"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_is_not_whole_is_in_no_cache_and_no_flight(reason):
    """6.1, E5."""

    class Short(Streams):
        async def complete(self, model, request):
            await asyncio.sleep(0.01)
            return replace(await super().complete(model, request), finish_reason=reason)

    async with gateway_of(only(), providers=("p", Short())) as gateway:
        answers = await asyncio.gather(*(ask(gateway) for _ in range(3)))
        answers.append(await ask(gateway))
        assert [answer.hit for answer in answers] == [None] * 4
        assert len(gateway.tiers["exact"]) == 0


async def test_who_is_refused_gets_no_hit_either():
    """PL-2, B9: a key whose policy says no is not served from the cache."""
    from asahi_kernel.errors import Denied

    class Revoked:
        def __init__(self):
            self.users = set()

        async def admit(self, request, principal):
            if principal.user in self.users:
                raise Denied("revoked")
            return request

    policy = Revoked()
    async with gateway_of({"governance": {"policies": ["r"]}}, policies=("r", policy)) as gateway:
        await ask(gateway)
        policy.users.add("ann")
        with pytest.raises(AsahiError):
            await ask(gateway)
        assert (await ask(gateway, principal=replace(HERE, user="bob"))).hit is not None


async def test_bytes_moved_between_turns_change_the_key():
    """B4."""
    salt = Salts(b"x" * 32).of("here")
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")]
    keys = {
        fingerprint(replace(ASK, messages=(Message("user", first), Message("user", second))), salt)
        for first, second in pairs
    }
    assert len(keys) == 4


async def test_no_other_org_can_push_out_the_claim_of_a_request_under_way():
    """A10: a claim that is dropped while its request runs lets the same key be paid for twice."""
    from asahi_kernel.builtins.memory_idempotency import MemoryIdempotency
    from asahi_kernel.records import Claim, Kept

    def claim(org, key):
        return Claim(org_id=org, route="/infer", key=key, fingerprint=b"same", request_id="r")

    store = MemoryIdempotency()
    assert await store.claim(claim("mine", "key")) is None
    for number in range(200):
        other = claim("other", str(number))
        assert await store.claim(other) is None
        await store.keep(other, Kept(fingerprint=b"same", status=200, headers=(), body=b"x" * (1 << 20)))
    assert await store.claim(claim("mine", "key")) is not None
