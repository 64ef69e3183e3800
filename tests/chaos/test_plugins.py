"""E18: a plugin that raises, hangs or gives a wrong type fails by its kind's rule, and takes nobody with it."""

import asyncio
import logging

import pytest
from tests.chaos.kit import Says, Streams, ask, begin, events_of, gateway_of, only, read, replace

from asahi_kernel.errors import AsahiError, Unstorable
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.types import Chunk, Completion, ToolCallDelta, Usage

pytestmark = pytest.mark.anyio
PATIENCE_S = 1.5
SPARE = {"name": "spare", "provider": "mock", "cost_per_1k_input_tokens": 9, "cost_per_1k_output_tokens": 9}


async def for_ever(*_):
    await asyncio.Event().wait()


def with_spare(**limits):
    """The bad provider's model first, and a dearer one of the mock provider behind it."""
    tree = only(**limits)
    return {"providers": {**tree["providers"], "mock": {}}, "models": [*tree["models"], SPARE]}


@pytest.mark.parametrize(
    "completion",
    [
        None,
        "text",
        Completion(text=None, model="m"),
        Completion(text=b"bytes", model="m"),
        Completion(text="x", model="m", tool_calls=("call",)),
        Completion(text="x", model="m", finish_reason="weird"),
        Completion(text="x", model="m", others=("y",)),
    ],
)
async def test_a_provider_that_answers_nonsense_is_fallen_back_from(completion):
    async with gateway_of(with_spare(), providers=("p", Says(completion))) as gateway:
        answer = await ask(gateway)
        assert answer.completion.model == "spare"


@pytest.mark.parametrize("usage", [{"input_tokens": 1}, Usage(None, None), Usage(1.5, 2.5)])
async def test_a_usage_of_nonsense_is_counted_anew(usage):
    completion = Completion(text="x", model="m", usage=usage)
    async with gateway_of(with_spare(), providers=("p", Says(completion))) as gateway:
        answer = await ask(gateway)
        assert answer.completion.model == "m"
        assert answer.usage.source == "estimated"
        assert type(answer.bill.cost) is int


@pytest.mark.parametrize(
    "chunk",
    [None, "text", Chunk(text=b"bytes"), Chunk(text=7), Chunk(tool_calls=("call",)), Chunk(text="x", usage="many")],
)
async def test_a_stream_of_nonsense_is_a_failure_of_the_provider(chunk):
    class Odd(Streams):
        async def stream(self, model, request):
            yield chunk
            yield Chunk(finish_reason="stop")

    async with gateway_of(only(max_retries=0), providers=("p", Odd())) as gateway:
        _, error = await read(begin(gateway))
        assert error is not None
        assert error.status == 502
        (event,) = await events_of(gateway)
        assert (event.status, event.error) == ("failed", "provider_error")


async def test_a_provider_that_swallows_its_cancellation_does_not_outlive_its_deadline_for_others():
    """A stubborn stream may live on, but the breaker, the counters and the next request are as they should be."""

    class Stubborn(Streams):
        async def stream(self, model, request):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("no") from None
            yield Chunk()

    async with gateway_of(only(first_token_timeout_s=0.05, max_retries=0), providers=("p", Stubborn())) as gateway:
        _, error = await asyncio.wait_for(read(begin(gateway)), PATIENCE_S)
        assert isinstance(error, AsahiError)


@pytest.mark.parametrize("given", [None, "text", 5])
async def test_a_transform_that_gives_a_wrong_type_leaves_the_request_as_it_was(given):
    class Odd:
        async def apply(self, request, principal):
            return given

    async with gateway_of({"routing": {"transforms": ["t"]}}, transforms=("t", Odd())) as gateway:
        assert (await ask(gateway)).completion.text


async def test_a_transform_that_hangs_leaves_the_request_as_it_was():
    class Hangs:
        apply = staticmethod(for_ever)

    async with gateway_of({"routing": {"transforms": ["t"]}}, transforms=("t", Hangs())) as gateway:
        assert (await asyncio.wait_for(ask(gateway), PATIENCE_S)).completion.text


@pytest.mark.parametrize(
    ("kind", "method", "tree"),
    [
        ("policies", "admit", {"governance": {"policies": ["h"]}}),
        ("rules", "rank", {"routing": {"rules": ["h"]}}),
    ],
)
async def test_what_fails_closed_and_hangs_ends_with_an_error_in_time(kind, method, tree):
    """Without a clock such a request keeps its admission place for ever."""
    hangs = type("Hangs", (), {method: staticmethod(for_ever)})()
    tree = {**tree, "providers": {"mock": {"timeout_s": 0.5}}}
    async with gateway_of(tree, **{kind: ("h", hangs)}) as gateway:
        task = asyncio.ensure_future(ask(gateway))
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        task.cancel()
        assert done
        assert isinstance(task.exception(), AsahiError)


async def test_a_settlement_that_hangs_does_not_hold_back_a_paid_answer():
    class Hangs:
        async def admit(self, request, principal):
            return request

        async def reserve(self, request_id, principal, amount):
            pass

        settle = staticmethod(for_ever)

    tree = {"governance": {"policies": ["h"]}, "api": {"drain_s": 0.1}}
    async with gateway_of(tree, policies=("h", Hangs())) as gateway:
        assert (await asyncio.wait_for(ask(gateway), PATIENCE_S)).completion.text


@pytest.mark.parametrize("given", [None, "hit", 5])
async def test_a_tier_that_gives_a_wrong_type_is_a_miss(given):
    class Odd:
        async def get(self, key, request, principal):
            return given

        async def put(self, key, request, principal, completion):
            return given

    async with gateway_of({"cache": {"tiers": ["odd"]}}, cache_tiers=("odd", Odd())) as gateway:
        answer = await ask(gateway)
        assert answer.hit is None


@pytest.mark.parametrize("given", [None, 5, "text", [None]])
async def test_a_rule_that_gives_a_wrong_type_is_named_as_the_culprit(given):
    """Rules fail closed: the request stops, and the error is told as the plugin's, not as a bug of ours."""

    class Odd:
        async def rank(self, request, principal, candidates):
            return given

    async with gateway_of({"routing": {"rules": ["odd"]}}, rules=("odd", Odd())) as gateway:
        with pytest.raises(AsahiError, match="odd"):
            await ask(gateway)


@pytest.mark.parametrize("given", [None, "request"])
async def test_a_policy_that_gives_a_wrong_type_stops_the_request_and_is_recorded(given):
    class Odd:
        async def admit(self, request, principal):
            return given

    async with gateway_of({"governance": {"policies": ["odd"]}}, policies=("odd", Odd())) as gateway:
        with pytest.raises((AsahiError, AttributeError, TypeError)):
            await ask(gateway)
        assert gateway.upstreams["mock"].provider.calls == []
        (event,) = await events_of(gateway)
        assert event.status == "failed"


async def test_a_sink_that_hangs_stops_neither_the_journal_nor_who_waits_for_it():
    """The journal's lock is held while a sink writes: metrics, explain and the end of the process all wait for it."""

    class Hangs:
        write = staticmethod(for_ever)

    async def life():
        async with gateway_of({"sinks": {"h": {}}}, sinks=("h", Hangs())) as gateway:
            await ask(gateway)
            await asyncio.sleep(0.05)
            await ask(gateway, replace(ASK, seed=1))
            await asyncio.wait_for(gateway.journal.flush(), PATIENCE_S)
            assert len(await events_of(gateway)) == 2

    task = asyncio.ensure_future(life())
    done, _ = await asyncio.wait([task], timeout=2 * PATIENCE_S)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=1)
    assert done
    await task


async def test_one_event_that_storage_cannot_take_does_not_hold_back_the_others():
    """A3: a poisoned row in a batch."""
    async with gateway_of() as gateway:
        post, poisoned = gateway.storage.books.post, set()

        async def picky(batch):
            if any(each.event.request_id in poisoned for each in batch):
                raise Unstorable("22021: invalid byte sequence")
            return await post(batch)

        gateway.storage.books.post = picky
        for seed in range(5):
            answer = await ask(gateway, replace(ASK, seed=seed))
            if seed == 2:
                poisoned.add(answer.request_id)
        for _ in range(5):
            await gateway.journal.flush()
        assert len(await events_of(gateway)) == 4
        poisoned.clear()


async def test_a_failed_batch_is_kept_whole_and_stored_once():
    """I1: what storage refused is tried again, decisions too, and nothing is counted twice."""
    async with gateway_of() as gateway:
        post, down = gateway.storage.books.post, [True]

        async def flaky(batch):
            if down[0]:
                raise OSError("down")
            return await post(batch)

        gateway.storage.books.post = flaky
        answers = [await ask(gateway, replace(ASK, seed=seed)) for seed in range(3)]
        await gateway.journal.flush()
        await gateway.journal.flush()
        assert gateway.journal.lag == 3
        down[0] = False
        await gateway.journal.flush()
        totals = await gateway.storage.events.totals("here", None)
        assert (totals.requests, totals.cost) == (3, sum(answer.bill.cost for answer in answers))
        for answer in answers:
            assert await gateway.storage.decisions.find("here", answer.request_id)


async def test_what_a_plugin_says_of_a_prompt_reaches_no_log(caplog):
    """Logs never hold prompts: the text of a foreign exception may well be one."""
    caplog.set_level(logging.DEBUG)

    class Chatty:
        async def get(self, key, request, principal):
            raise ValueError(f"cannot embed {request.messages[0].text!r}")

        put = get

        async def apply(self, request, principal):
            raise ValueError(f"cannot shorten {request.messages[0].text!r}")

        def __len__(self):
            return 0

    tree = {"cache": {"tiers": ["t"]}, "routing": {"transforms": ["t"]}}
    async with gateway_of(tree, cache_tiers=("t", Chatty()), transforms=("t", Chatty())) as gateway:
        await ask(gateway)
    formatter = logging.Formatter()
    assert "capital of France" not in "".join(formatter.format(record) for record in caplog.records)


async def test_tool_call_pieces_with_gaps_and_repeats_become_whole_calls():
    class Tools(Streams):
        async def stream(self, model, request):
            for index, piece in ((3, '{"a"'), (1, "{"), (3, ":1}"), (1, "}")):
                delta = ToolCallDelta(index=index, id=f"c{index}", name="look", arguments=piece)
                yield Chunk(tool_calls=(delta,))
            yield Chunk(finish_reason="tool_calls")

    async with gateway_of(only(), providers=("p", Tools())) as gateway:
        items, error = await read(begin(gateway, ASK, HERE))
        assert error is None
        assert [call.arguments for call in items[-1].completion.tool_calls] == ["{}", '{"a":1}']
