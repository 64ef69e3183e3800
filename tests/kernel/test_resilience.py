"""Breaker, retry budget, single-flight, admission, with clocks that the test moves."""

import asyncio

import pytest

from asahi_kernel.errors import Unavailable
from asahi_kernel.resilience.admission import Admission
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.resilience.flights import Flights
from asahi_kernel.resilience.retry import RetryBudget, backoff
from asahi_kernel.testing import PARIS

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def tripped(clock):
    breaker = Breaker(clock=clock)
    for _ in range(3):
        assert breaker.enter()
        breaker.fail()
    return breaker


def test_three_failures_in_a_row_open_the_breaker():
    """PR-1."""
    clock = Clock()
    breaker = tripped(clock)
    assert breaker.open
    assert not breaker.enter()
    assert breaker.wait_s() == 5


def test_a_success_between_failures_keeps_it_closed():
    breaker = Breaker(clock=Clock())
    for outcome in (False, False, True, False, False):
        breaker.succeed() if outcome else breaker.fail()
    assert not breaker.open


def test_single_probes_come_after_5_10_and_20_seconds():
    clock = Clock()
    breaker = tripped(clock)
    probes = []
    for second in range(1, 60):
        clock.now = 1_000 + second
        if breaker.enter():
            probes.append(second)
            breaker.fail()
    assert probes == [5, 15, 35]


def test_while_a_probe_is_out_no_other_call_is_made():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 5
    assert breaker.enter()
    assert not breaker.enter()
    breaker.leave()
    clock.now += 10
    assert breaker.enter()


def test_a_good_probe_closes_it():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 5
    assert breaker.enter()
    breaker.succeed()
    assert not breaker.open
    assert breaker.enter()
    assert breaker.enter()


def test_after_a_minute_calls_are_made_again_and_one_failure_opens_it_again():
    clock = Clock()
    breaker = tripped(clock)
    clock.now += 60
    assert breaker.enter()
    breaker.fail()
    assert breaker.open
    assert not breaker.enter()


def test_half_of_twenty_calls_failing_opens_it():
    breaker = Breaker(clock=Clock())
    for number in range(20):
        breaker.fail() if number % 2 else breaker.succeed()
        assert breaker.open == (number == 19)


def test_failures_older_than_half_a_minute_are_forgotten():
    clock = Clock()
    breaker = Breaker(clock=clock)
    for number in range(40):
        clock.now += 10
        breaker.fail() if number % 2 else breaker.succeed()
    assert not breaker.open


def test_the_retry_budget_is_a_tenth_of_the_requests_and_one_a_second():
    clock = Clock()
    budget = RetryBudget(clock)
    allowed = 0
    for _ in range(1_000):
        budget.deposit("org", "provider")
        allowed += budget.withdraw("org", "provider")
    assert 100 <= allowed <= 111
    clock.now += 3
    assert [budget.withdraw("org", "provider") for _ in range(4)] == [True, True, True, False]


def test_retry_budgets_are_per_org_and_provider():
    budget = RetryBudget(Clock())
    while budget.withdraw("a", "p"):
        pass
    assert budget.withdraw("b", "p")
    assert budget.withdraw("a", "q")


def test_backoff_is_jittered_capped_and_yields_to_retry_after():
    waits = [backoff(attempt, 0.5, 8, None) for attempt in range(1, 20) for _ in range(50)]
    assert 0 <= min(waits) < max(waits) <= 8
    assert all(backoff(1, 0.5, 8, None) <= 0.5 for _ in range(100))
    asked = [backoff(1, 0.5, 8, 2.0) for _ in range(100)]
    assert 2.0 <= min(asked) < max(asked) <= 2.2


async def test_followers_share_what_the_leader_lands():
    """T1-5."""
    flights = Flights()
    with flights.lead(b"k") as flight:
        followers = [asyncio.ensure_future(flights.follow(b"k", 5)) for _ in range(100)]
        await asyncio.sleep(0)
        flight.land(PARIS)
    assert await asyncio.gather(*followers) == [PARIS] * 100
    assert await flights.follow(b"k", 5) is None


async def test_a_failing_leader_sends_its_followers_on_their_own_way():
    flights = Flights()
    with pytest.raises(ValueError, match="boom"), flights.lead(b"k"):
        follower = asyncio.ensure_future(flights.follow(b"k", 5))
        await asyncio.sleep(0)
        raise ValueError("boom")
    assert await follower is None


async def test_a_follower_that_leaves_disturbs_nobody():
    flights = Flights()
    with flights.lead(b"k") as flight:
        leaver, stayer = (asyncio.ensure_future(flights.follow(b"k", 5)) for _ in range(2))
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        flight.land(PARIS)
    assert await stayer == PARIS


async def test_places_are_bounded_and_handed_on():
    admission = Admission(2, 10, 5)
    await admission.enter("a")
    await admission.enter("a")
    waiter = asyncio.ensure_future(admission.enter("a"))
    await asyncio.sleep(0)
    assert not waiter.done()
    admission.leave()
    await waiter
    assert (admission.inflight, admission.queued) == (2, 0)


async def test_waiting_ends_with_503_after_the_deadline():
    admission = Admission(1, 10, 0.01)
    await admission.enter("a")
    with pytest.raises(Unavailable) as refused:
        await admission.enter("a")
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    admission.leave()
    await admission.enter("b")
    assert (admission.inflight, admission.queued) == (1, 0)


async def test_waiting_tenants_take_turns():
    admission = Admission(1, 100, 5)
    await admission.enter("a")
    order = []

    async def wait(org):
        await admission.enter(org)
        order.append(org)
        admission.leave()

    waiting = [asyncio.ensure_future(wait(org)) for org in ("a", "a", "a", "b", "c")]
    await asyncio.sleep(0)
    admission.leave()
    await asyncio.gather(*waiting)
    assert order == ["a", "b", "c", "a", "a"]


async def test_a_full_queue_sheds_the_longest_line_not_the_newcomer():
    """B8."""
    admission = Admission(1, 3, 5)
    await admission.enter("loud")
    loud = [asyncio.ensure_future(admission.enter("loud")) for _ in range(3)]
    await asyncio.sleep(0)
    quiet = asyncio.ensure_future(admission.enter("quiet"))
    await asyncio.sleep(0.01)
    assert [each.done() for each in loud] == [False, False, True]
    with pytest.raises(Unavailable):
        await loud[2]
    admission.leave()
    await loud[0]
    admission.leave()
    await quiet


async def test_the_loud_one_itself_is_refused_when_the_queue_is_full():
    admission = Admission(1, 2, 5)
    await admission.enter("loud")
    waiting = [asyncio.ensure_future(admission.enter("loud")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await admission.enter("loud")
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_caller_that_leaves_the_queue_loses_no_place():
    admission = Admission(1, 10, 5)
    await admission.enter("a")
    for _ in range(20):
        waiter = asyncio.ensure_future(admission.enter("a"))
        await asyncio.sleep(0)
        waiter.cancel()
        admission.leave()
        await asyncio.gather(waiter, return_exceptions=True)
        await asyncio.wait_for(admission.enter("a"), 1)
    assert (admission.inflight, admission.queued) == (1, 0)
