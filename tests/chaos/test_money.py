"""Money under faults: nothing lost, nothing doubled, nothing below zero, parts that sum."""

import asyncio
import contextlib
import random

import pytest
from tests.chaos.kit import LONG, Says, Streams, ask, begin, chunks_of, events_of, gateway_of, only, read, replace

from asahi_kernel import pipeline
from asahi_kernel.calling import Aborted
from asahi_kernel.errors import AsahiError, NoRoute
from asahi_kernel.money import Prices
from asahi_kernel.records import EventQuery
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Choice, Chunk, Completion, Message, Terms, Usage

pytestmark = pytest.mark.anyio


class Budget:
    """Notes what is held and what is settled."""

    def __init__(self):
        self.held, self.settled = {}, []

    async def admit(self, request, principal):
        return request

    async def reserve(self, request_id, principal, amount):
        assert request_id not in self.held
        self.held[request_id] = amount

    async def settle(self, request_id, principal, cost):
        self.settled.append((request_id, self.held.pop(request_id), cost))


def budgeted(budget, tree, **kinds):
    return gateway_of({"governance": {"policies": ["purse"]}, **tree}, policies=("purse", budget), **kinds)


async def test_a_stream_that_the_drain_cuts_is_still_paid_for():
    async with gateway_of({"api": {"drain_s": 0.1}, **only()}, providers=("p", Streams(10_000, 0.005))) as gateway:
        relay = begin(gateway)
        await relay.take()
        storage = gateway.storage
        reader = asyncio.ensure_future(read(relay))
    items, error = await reader
    assert error is not None
    (event,) = await storage.events.newest("here", EventQuery())
    assert event.status == "aborted"
    assert event.output_tokens >= len(items) > 0
    assert event.cost > 0


@pytest.mark.parametrize("usage", [Usage(10.5, 200.5), Usage(None, 5), {"input_tokens": 5}])
async def test_usage_that_is_not_whole_numbers_is_never_billed(usage):
    """SV-9: whatever a provider plugin says, money stays an integer."""
    provider = Says(Completion(text="word " * 100, model="m", usage=usage))
    async with gateway_of(only(), providers=("p", provider)) as gateway:
        answer = await ask(gateway, LONG)
        assert type(answer.bill.cost) is int
        assert answer.usage.source == "estimated"


async def test_input_usage_far_below_what_was_sent_never_lowers_spend():
    """SV-9, A13: one input token for 25,000 bytes of prompt cannot be true."""
    honest = Says(Completion(text="word " * 100, model="m", usage=Usage(5_003, 125)))
    lying = Says(Completion(text="word " * 100, model="m", usage=Usage(1, 125)))
    costs = []
    for provider in (honest, lying):
        async with gateway_of(only(), providers=("p", provider)) as gateway:
            costs.append((await ask(gateway, LONG)).bill.cost)
    assert costs[1] >= costs[0] * 0.9


async def test_absurdly_high_usage_is_replaced_by_our_own_count():
    """SV-9, A13: no model says 999,999,999 tokens in 500 bytes, nor more than it can say at all."""
    provider = Says(Completion(text="word " * 100, model="m", usage=Usage(5_000, 999_999_999)))
    async with gateway_of(only(), providers=("p", provider)) as gateway:
        answer = await ask(gateway, LONG)
        assert answer.usage.output_tokens <= 4_096


async def test_a_stream_of_many_pieces_cannot_be_told_to_be_a_few_tokens():
    """SV-9: a count far below the pieces that were delivered is below what was delivered."""

    class Stingy(Streams):
        async def stream(self, model, request):
            for _ in range(64):
                yield Chunk(text="abcd")
            yield Chunk(finish_reason="stop", usage=Usage(8, 15))

    async with gateway_of(only(), providers=("p", Stingy())) as gateway:
        items = await chunks_of(gateway)
        assert items[-1].usage.output_tokens >= 64


async def test_what_is_reserved_covers_what_is_billed():
    """Stage 14: the worst case is set aside, so a budget cannot be overshot by one request."""
    budget = Budget()
    said = Says(Completion(text="abcd " * 2_000, model="m", usage=Usage(10, 2_500)))
    async with budgeted(budget, only(), providers=("p", said)) as gateway:
        await ask(gateway, replace(ASK, max_tokens=4_000))
    (((_, held, cost)),) = budget.settled
    assert held >= cost > 0


async def test_an_unpriced_model_is_not_reserved_as_free():
    """4.2: unknown is never zero, so with a budget in force an unpriced model is refused or held at some price."""
    budget = Budget()
    async with budgeted(budget, only(price=None), providers=("p", Streams())) as gateway:
        try:
            await ask(gateway)
        except NoRoute as refused:
            assert refused.code == "price_unknown"
        else:
            assert 0 not in [held for _, held, _ in budget.settled]


async def test_every_way_to_end_settles_exactly_once_with_the_bill_of_its_event():
    """PL-9, A8, A11: 120 requests, streamed or not, whole, broken, stalled, left; holds and settlements pair up."""
    budget, rng = Budget(), random.Random(5)

    class Chaos(Streams):
        async def complete(self, model, request):
            await asyncio.sleep(0)
            match request.seed % 4:
                case 0:
                    raise KeyError("bug")
                case 1:
                    return None
            return Completion(text="abcd " * 4, model=model.name, usage=Usage(9, 5))

        async def stream(self, model, request):
            for at in range(8):
                await asyncio.sleep(0)
                if request.seed % 4 == 0 and at == request.seed % 7:
                    raise OSError("reset")
                yield Chunk(text="abcd ")
            if request.seed % 4 == 1:
                await asyncio.Event().wait()
            if request.seed % 4 == 2:
                return
            yield Chunk(finish_reason="stop")

    tree = only(idle_timeout_s=0.05, first_token_timeout_s=0.05, max_retries=0, timeout_s=1)
    tree["providers"]["p"]["breaker"] = {"consecutive_failures": 10_000, "min_calls": 10_000}
    async with budgeted(budget, tree, providers=("p", Chaos())) as gateway:

        async def one(seed):
            request = replace(ASK, seed=seed)
            if seed % 3 == 0:
                with contextlib.suppress(AsahiError):
                    await ask(gateway, request)
                return
            relay = begin(gateway, request)
            if seed % 3 == 1:
                for _ in range(rng.randrange(6)):
                    await asyncio.sleep(0)
                relay.abandon()
            else:
                await read(relay)

        await asyncio.gather(*(one(seed) for seed in range(120)))
        await gateway.drain(5)
        events = {event.request_id: event for event in await events_of(gateway)}
    assert budget.held == {}
    assert len(events) == 120
    assert len({request_id for request_id, _, _ in budget.settled}) == len(budget.settled)
    for request_id, _, cost in budget.settled:
        assert events[request_id].cost == cost == sum(each.cost for each in events[request_id].attempts)
    for event in events.values():
        assert event.cost >= 0
        assert event.saved == event.baseline_cost - event.cost == sum(event.saved_by.values())


@pytest.mark.parametrize("at", range(4))
async def test_a_reservation_is_closed_when_a_stream_fails_at_any_place(at):
    budget = Budget()

    class Breaks(Streams):
        async def stream(self, model, request):
            for _ in range(at):
                yield Chunk(text="abcd ")
            raise OSError("reset")

    async with budgeted(budget, only(max_retries=0), providers=("p", Breaks())) as gateway:
        _, error = await read(begin(gateway))
        await gateway.drain(2)
        assert error is not None
        assert budget.held == {}
        assert [cost > 0 for _, _, cost in budget.settled] == [at > 0]


async def test_every_choice_that_is_paid_for_is_streamed():
    """n = 2 with `stream`: the client pays for two answers and must get two."""
    both = Completion(text="first", model="m", usage=Usage(5, 10), others=(Choice(text="second"),))
    async with gateway_of(only(), providers=("p", Says(both))) as gateway:
        items = await chunks_of(gateway, replace(ASK, n=2))
    told = {at: "".join(item.text for item in items[:-1] if item.index == at) for at in (0, 1)}
    assert told == {0: "first", 1: "second"}


async def test_the_parts_of_a_foreseen_saving_sum_to_it():
    """3.4: `saved_by` sums to `saved` exactly, in a dry run too."""
    async with gateway_of() as gateway:
        bill = (await pipeline.rehearse(gateway, ASK, HERE, Trace("/infer"))).bill
        assert bill.saved != 0
        assert sum(bill.saved_by.values()) == bill.saved


async def test_a_priced_failed_attempt_is_not_forgotten_beside_an_unpriced_answer():
    """4.2: the answer's price is unknown, but what the failed attempt was billed is known and must not vanish."""

    class Half(Streams):
        async def stream(self, model, request):
            if model.name == "a":
                yield Chunk(usage=Usage(50, 0))
                yield Chunk(delta=b"", text="")
                raise OSError("reset")
            yield Chunk(text="abcd ", finish_reason="stop")

    tree = only(max_retries=0, models=("a", "b"))
    del tree["models"][1]["cost_per_1k_input_tokens"], tree["models"][1]["cost_per_1k_output_tokens"]
    async with gateway_of(tree, providers=("p", Half())) as gateway:
        items = await chunks_of(gateway)
        (event,) = await events_of(gateway)
        assert items[-1].bill.cost is None
        assert (await gateway.storage.events.totals("here", None)).cost == sum(
            each.cost or 0 for each in event.attempts
        )


@pytest.mark.parametrize("tokens", [1, 2, 3, 999_999_999])
def test_a_bill_is_rounded_up(tokens):
    """SV-6: never a fraction of a nUSD less than it was."""
    prices = Prices(input=1, output=0)
    assert prices.cost(Usage(tokens, 0)) == prices.plain(tokens, 0) == 1
    assert Prices(input=10**9 + 1, output=0).cost(Usage(tokens, 0)) > tokens


async def test_an_abandoned_stream_stops_paying_before_the_first_piece():
    """A8: the client leaves while the vendor is still thinking; the upstream is let go at once."""
    closed = asyncio.Event()

    class Thinks(Streams):
        async def stream(self, model, request):
            try:
                await asyncio.Event().wait()
                yield Chunk()
            finally:
                closed.set()

    async with gateway_of(only(first_token_timeout_s=30), providers=("p", Thinks())) as gateway:
        relay = begin(gateway)
        await asyncio.sleep(0.01)
        relay.abandon()
        async with asyncio.timeout(1):
            await closed.wait()
            _, error = await read(relay)
        assert isinstance(error, Aborted)
        (event,) = await events_of(gateway)
        assert (event.status, event.output_tokens) == ("aborted", 0)


async def test_who_leaves_before_anything_was_sent_upstream_pays_nothing():
    """A8: no call, no charge."""
    calls = []

    class Counts(Streams):
        async def stream(self, model, request):
            calls.append(1)
            yield Chunk(text="abcd ", finish_reason="stop")

    async with gateway_of(only(), providers=("p", Counts())) as gateway:
        relay = begin(gateway, LONG)
        relay.abandon()
        await gateway.drain(2)
        (event,) = await events_of(gateway)
        assert (calls, event.status, event.cost) == ([], "aborted", 0)


async def test_a_stream_left_halfway_stops_within_one_chunk():
    """A8: abort means no further piece is pulled from the vendor."""
    pulled = []

    class Long(Streams):
        async def stream(self, model, request):
            for at in range(1_000):
                await asyncio.sleep(0.002)
                pulled.append(at)
                yield Chunk(text="abcd ")

    async with gateway_of(only(), providers=("p", Long())) as gateway:
        relay = begin(gateway, replace(ASK, terms=Terms(cache="off")))
        while len(pulled) < 5:
            await relay.take()
        relay.abandon()
        sent = len(pulled)
        await gateway.drain(2)
        (event,) = await events_of(gateway)
    assert len(pulled) <= sent + 1
    assert (event.status, sent <= event.output_tokens <= sent * 2 + 2) == ("aborted", True)


async def test_the_question_alone_is_never_free():
    """A request of one word costs at least one token of input when the vendor says nothing."""
    async with gateway_of(only(), providers=("p", Says(Completion(text="", model="m")))) as gateway:
        answer = await ask(gateway, replace(ASK, messages=(Message("user", "x"),)))
        assert answer.bill.cost >= 1


async def test_what_costs_more_than_without_asahi_is_shown_as_a_loss():
    """SV-5: a dear model that the caller asked for beside a cheap baseline, in answer, header and totals."""
    from asahi_kernel.api.metrics import tell
    from asahi_kernel.types import Terms
    from asahi_kernel.wire.headers import answer_headers

    tree = {"pricing": {"baseline_model": "mistral-7b"}}
    async with gateway_of(tree) as gateway:
        answer = await ask(gateway, replace(ASK, terms=Terms(quality_threshold=4.55)))
        assert answer.bill.saved == answer.bill.baseline_cost - answer.bill.cost < 0
        assert sum(answer.bill.saved_by.values()) == answer.bill.saved
        headers = dict(answer_headers(answer))
        assert headers[b"x-asahi-saved"].startswith(b"-0.")
        await gateway.journal.flush()
        told = tell(gateway, await gateway.storage.events.totals("here", None), 0)
        assert told["absolute_savings"] < 0
        assert told["savings_percent"] < 0
