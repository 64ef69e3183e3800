"""The clock: what is written down, and what runs out, moves with it; it never goes back on who counts seconds."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from tests.kernel.kit import ask, events_of, gateway_of

from asahi_kernel import clock
from asahi_kernel.background import repeat_now, repeated
from asahi_kernel.identity import first_id
from asahi_kernel.resilience.breaker import Breaker

MONTH = timedelta(days=30)


@pytest.fixture(autouse=True)
def moving():
    with clock.moving():
        yield


def test_it_runs_with_the_system_until_somebody_moves_it_and_again_after_that():
    with clock.moving():
        clock.move(datetime.now(UTC) - MONTH)
        assert abs(datetime.now(UTC) - MONTH - clock.now()) < timedelta(seconds=5)
        assert abs(clock.timestamp() - clock.now().timestamp()) < 5
    assert abs(datetime.now(UTC) - clock.now()) < timedelta(seconds=5)


def test_seconds_are_counted_forwards_alone():
    before = clock.monotonic()
    clock.move(clock.now() - MONTH)
    back = clock.monotonic()
    clock.move(clock.now() + MONTH)
    assert before <= back < before + 5
    assert clock.monotonic() - back >= MONTH.total_seconds()


def test_what_rests_for_a_minute_is_back_when_the_clock_is_an_hour_further():
    breaker = Breaker()
    for _ in range(3):
        breaker.enter()
        breaker.fail()
    assert not breaker.available()
    clock.move(clock.now() + timedelta(hours=1))
    assert breaker.available()


@pytest.mark.anyio
async def test_a_request_is_dated_and_named_by_it():
    then = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
    async with gateway_of() as gateway:
        clock.move(then)
        answer = await ask(gateway)
        (event,) = await events_of(gateway)
    assert then <= event.timestamp < then + timedelta(seconds=30)
    assert first_id(then) <= answer.request_id < first_id(then + timedelta(seconds=30))


@pytest.mark.anyio
async def test_what_is_repeated_is_done_now_for_who_asks_and_not_after_its_end():
    done = []

    async def act():
        done.append(1)

    async with repeated("sweep", act, 3_600, Counter()):
        await repeat_now()
        assert done == [1]
    await repeat_now()
    assert done == [1]
