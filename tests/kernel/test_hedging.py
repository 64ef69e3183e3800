"""E11: a slow call gets a second beside it; the sooner answers, the loser is charged, and a budget keeps it rare."""

import asyncio
from datetime import date

import pytest
from tests.chaos.kit import begin, only
from tests.kernel.kit import ask, chunks_of, events_of, gateway_of, replace

from asahi_kernel.errors import AsahiError, ProviderError
from asahi_kernel.ledger import Head, fault, link
from asahi_kernel.resilience.hedging import Hedges, Race
from asahi_kernel.settings import HedgingSettings
from asahi_kernel.testing import ASK
from asahi_kernel.types import Chunk, Completion, Usage

pytestmark = pytest.mark.anyio
ON = {"hedging": {"enabled": True, "share": 0.5, "max_cost_per_day": 1_000_000}}


class Slow:
    """Answers after the scripted seconds, call by call, then at once. A negative number fails after so many."""

    def __init__(self, *script):
        self.script, self.calls, self.cancelled, self.ended = list(script), 0, 0, 0

    async def _wait(self):
        self.calls += 1
        number, wait = self.calls, self.script.pop(0) if self.script else 0.0
        try:
            await asyncio.sleep(abs(wait))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if wait < 0:
            raise ProviderError("failed", status=500)
        return number

    async def complete(self, model, request):
        number = await self._wait()
        return Completion(text=f"answer {number}", model=model.name, usage=Usage(9, 3))

    async def stream(self, model, request):
        try:
            number = await self._wait()
            yield Chunk(text=f"answer {number}")
            await asyncio.sleep(0)
            yield Chunk(text=" ends", finish_reason="stop", usage=Usage(9, 3))
        finally:
            self.ended += 1


async def warm(gateway, streamed=False):
    """Enough calls that the usual time is known: a millisecond or so."""
    for seed in range(25):
        if streamed:
            await chunks_of(gateway, replace(ASK, seed=seed))
        else:
            await ask(gateway, replace(ASK, seed=seed))


async def test_the_sooner_of_two_answers_and_both_are_charged():
    provider = Slow()
    async with gateway_of(only(**ON), providers=("p", provider)) as gateway:
        await warm(gateway)
        provider.script = [5.0]
        answer = await asyncio.wait_for(ask(gateway, replace(ASK, seed=99)), 2)
        assert (answer.completion.text, provider.calls, provider.cancelled) == ("answer 27", 27, 1)
        event = (await events_of(gateway))[-1]
        assert [attempt.outcome for attempt in event.attempts] == ["hedged", "ok"]
        assert event.attempts[0].cost == event.attempts[1].cost > 0
        assert event.attempts[0].usage.source == "estimated"
        assert event.cost == 2 * event.attempts[1].cost
        assert gateway.upstreams["p"].hedges._spent == event.attempts[0].cost
        assert event.saved_by["failed_attempts"] == -event.attempts[0].cost
        assert fault(Head(), link(Head(), event), gateway.registry.book()) == ""
        assert "usage_estimated" in event.warnings


async def test_streams_are_hedged_before_their_first_byte_and_never_spliced():
    provider = Slow()
    async with gateway_of(only(**ON), providers=("p", provider)) as gateway:
        await warm(gateway, streamed=True)
        provider.script = [5.0]
        items = await asyncio.wait_for(chunks_of(gateway, replace(ASK, seed=99)), 2)
        assert "".join(item.text for item in items[:-1]) == "answer 27 ends"
        assert provider.cancelled == 1
        assert provider.ended == provider.calls
        assert [attempt.outcome for attempt in (await events_of(gateway))[-1].attempts] == ["hedged", "ok"]


async def test_a_first_call_that_wins_after_all_is_the_answer():
    provider = Slow()
    async with gateway_of(only(**ON), providers=("p", provider)) as gateway:
        await warm(gateway)
        provider.script = [0.2, 5.0]
        answer = await asyncio.wait_for(ask(gateway, replace(ASK, seed=99)), 2)
        assert (answer.completion.text, provider.cancelled) == ("answer 26", 1)


async def test_a_second_call_that_fails_does_not_spoil_the_first():
    provider = Slow()
    async with gateway_of(only(**ON), providers=("p", provider)) as gateway:
        await warm(gateway)
        provider.script = [0.2, -0.01]
        answer = await asyncio.wait_for(ask(gateway, replace(ASK, seed=99)), 2)
        assert answer.completion.text == "answer 26"


async def test_a_second_call_that_failed_is_not_charged_as_if_it_had_answered():
    provider = Slow()
    async with gateway_of(only(**ON), providers=("p", provider)) as gateway:
        await warm(gateway)
        provider.script = [0.2, -0.01]
        answer = await asyncio.wait_for(ask(gateway, replace(ASK, seed=99)), 2)
        event = (await events_of(gateway))[-1]
        assert [(each.outcome, each.billed) for each in event.attempts] == [("hedged", False), ("ok", True)]
        assert event.cost == answer.bill.cost == event.attempts[1].cost
        assert gateway.upstreams["p"].hedges._spent == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_leaves_while_two_calls_are_made_is_charged_for_both(streamed):
    provider = Slow()
    tree = {**only(**ON), "streams": {"on_disconnect": "abort"}}
    async with gateway_of(tree, providers=("p", provider)) as gateway:
        await warm(gateway, streamed=streamed)
        provider.script = [5.0, 5.0]
        if streamed:
            relay = begin(gateway, replace(ASK, seed=99))
        else:
            asking = asyncio.ensure_future(ask(gateway, replace(ASK, seed=99)))
        while provider.calls < 27:
            await asyncio.sleep(0.005)
        if streamed:
            relay.abandon()
            while gateway.relays:
                await asyncio.sleep(0.005)
        else:
            asking.cancel()
            await asyncio.wait([asking])
        event = (await events_of(gateway))[-1]
        assert event.status == "aborted"
        assert [(each.outcome, each.billed) for each in event.attempts] == [("hedged", True), ("aborted", True)]
        assert gateway.upstreams["p"].hedges._spent == event.attempts[0].cost
        assert event.attempts[0].cost == event.attempts[1].cost > 0
        assert fault(Head(), link(Head(), event), gateway.registry.book()) == ""


async def test_both_failing_is_one_failure():
    provider = Slow()
    async with gateway_of(only(max_retries=0, **ON), providers=("p", provider)) as gateway:
        await warm(gateway)
        provider.script = [-0.2, -0.1]
        with pytest.raises(AsahiError) as failed:
            await asyncio.wait_for(ask(gateway, replace(ASK, seed=99)), 2)
        assert failed.value.status == 502
        assert len((await events_of(gateway))[-1].attempts) == 1


@pytest.mark.parametrize("limits", [{}, {"hedging": {"enabled": True, "share": 0.01}}])
async def test_nothing_is_hedged_unless_asked_for_and_within_its_share(limits):
    provider = Slow()
    async with gateway_of(only(**limits), providers=("p", provider)) as gateway:
        await warm(gateway)
        provider.script = [0.2]
        await ask(gateway, replace(ASK, seed=99))
        assert provider.calls == 26


async def test_a_day_has_a_budget():
    today = [date(2026, 11, 26)]
    hedges = Hedges(HedgingSettings(enabled=True, share=0.5, max_cost_per_day=1e-6), lambda: today[0])
    for _ in range(100):
        hedges.count()
    assert hedges.allowed(1_000)
    hedges.begin(1_000)
    assert not hedges.allowed(1)
    hedges.settled(1_000, 600)
    assert hedges.allowed(400)
    assert not hedges.allowed(401)
    today[0] = date(2026, 11, 27)
    assert hedges.allowed(1_000)


async def test_the_journal_knows_of_both_before_the_second_is_made(tmp_path):
    from asahi_kernel.journal.recovery import resolve

    provider = Slow()
    tree = {**only(**ON), "journal": {"mode": "durable", "dir": str(tmp_path)}}
    async with gateway_of(tree, providers=("p", provider)) as gateway:

        def written():
            return [each.event for each in resolve([path.read_bytes() for path in sorted(tmp_path.glob("*.wal"))])]

        await warm(gateway)
        before, called = {each.request_id for each in written()}, provider.calls  # a slow machine may have hedged here
        provider.script = [5.0, 5.0]
        asking = asyncio.ensure_future(ask(gateway, replace(ASK, seed=99)))
        while provider.calls < called + 2:
            await asyncio.sleep(0.005)
        (unheard,) = [each for each in written() if each.request_id not in before]
        assert (unheard.status, len(unheard.attempts)) == ("unknown", 2)
        asking.cancel()
        await asyncio.wait([asking])
        await events_of(gateway)


async def test_a_race_leaves_nothing_running():
    ended = []

    async def runner(wait):
        try:
            await asyncio.sleep(wait)
            return wait
        finally:
            ended.append(wait)

    async def second():
        return lambda: runner(0.05)

    race = Race(0.01)
    assert await race.run(runner(5), second) == 0.05
    assert (race.hedged, race.won_by_second, sorted(ended)) == (True, True, [0.05, 5])
    asking = asyncio.ensure_future(Race(0.01).run(runner(6), second))
    await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.wait([asking])
    assert sorted(ended) == [0.05, 0.05, 5, 6]
