"""Several credentials of one provider: weights, rests, and no bound bent on the way."""

import pytest
from tests.kernel.kit import ask, gateway_of
from tests.kernel.test_resilience import Clock

from asahi_kernel import Message, Request
from asahi_kernel.outlet import Outlet
from asahi_kernel.records import EventQuery
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.settings import Resilience
from asahi_kernel.testing import fakeup
from asahi_kernel.upstream import Upstream

pytestmark = pytest.mark.anyio


def question(text: str) -> Request:
    return Request(messages=(Message("user", text),))


def tree(url: str, *keys: tuple[str, str, float], **more: object) -> dict:
    listed = [{"name": name, "api_key": key, "weight": weight} for name, key, weight in keys]
    table = {"base_url": f"{url}/v1", "keys": listed, "backoff_base_s": 0.01, **more}
    model = {"name": "m", "provider": "openai", "cost_per_1k_input_tokens": 1, "cost_per_1k_output_tokens": 1}
    return {"providers": {"openai": table}, "models": [model]}


async def test_calls_are_shared_out_by_weight():
    async with fakeup.running() as vendor:
        async with gateway_of(tree(vendor.url, ("a", "sk-a", 3.0), ("b", "sk-b", 1.0))) as gateway:
            for number in range(200):
                await ask(gateway, question(f"{number}"))
        await vendor.settled()
        used = [row.credential for row in vendor.ledger]
    assert 110 < used.count("sk-a") < 185
    assert used.count("sk-a") + used.count("sk-b") == 200


async def test_a_refused_credential_rests_and_the_other_answers_at_once():
    async with fakeup.running(keys=["sk-good"]) as vendor:
        keys = (("bad", "sk-bad", 1000.0), ("good", "sk-good", 0.001))
        async with gateway_of(tree(vendor.url, *keys)) as gateway:
            for number in range(20):
                assert (await ask(gateway, question(f"{number}"))).completion.text
        await vendor.settled()
        used = [row.credential for row in vendor.ledger]
    assert used.count("sk-bad") == 1
    assert used.count("sk-good") == 20


async def test_a_limited_credential_rests_as_long_as_the_vendor_asks():
    clock = Clock()
    outlet = Outlet("a", object(), clock=clock)
    outlet.limited(7.0)
    assert not outlet.available()
    assert 7.0 <= outlet.wait_s() <= 7.7
    clock.now += 6.9
    assert not outlet.available()
    clock.now += 1
    assert outlet.available()


async def test_a_short_rest_does_not_cut_a_longer_one():
    clock = Clock()
    outlet = Outlet("a", object(), clock=clock)
    outlet.refused()
    outlet.limited(None)
    assert outlet.wait_s() == 60


async def test_each_credential_has_a_breaker_of_its_own():
    clock = Clock()
    outlets = [Outlet(name, object(), clock=clock) for name in "ab"]
    upstream = Upstream("p", outlets, Resilience())
    for _ in range(3):
        outlets[0].breaker.fail()
    assert {upstream.enter().name for _ in range(50)} == {"b"}
    for _ in range(3):
        outlets[1].breaker.fail()
    assert upstream.enter() is None
    assert upstream.health() == "resting"
    assert isinstance(outlets[0].breaker, Breaker)


async def test_two_keys_of_one_name_are_refused():
    with pytest.raises(Exception, match="two keys"):
        async with gateway_of(tree("http://127.0.0.1:1", ("a", "x", 1.0), ("a", "y", 1.0))):
            pass


async def test_429_of_the_only_credential_is_waited_out_within_the_deadline():
    async with fakeup.running() as vendor, gateway_of(tree(vendor.url, ("a", "sk-a", 1.0))) as gateway:
        answer = await ask(gateway, question("x [[fakeup: status=429 retry_after=1 first=1]]"))
        assert [attempt.outcome for attempt in (await _attempts(gateway))] == ["http_429", "ok"]
        assert answer.latency_ms >= 1_000


async def _attempts(gateway):
    await gateway.journal.flush()
    (event,) = await gateway.storage.events.newest("here", EventQuery())
    return event.attempts
