"""Personal data in requests and answers, through the whole pipeline."""

import json

import pytest
from benchmarks.guard.sentences import labelled
from tests.kernel.kit import ask, chunks_of, events_of
from tests.plugins.guard.kit import NOW, ORG, Model, asking, given, guarded, profiled, replace, text_of

from asahi_guard.finding import find, redact
from asahi_kernel.errors import AsahiError, Denied
from asahi_kernel.repositories.rules import SettingsOf
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.types import (
    Chunk,
    Completion,
    Document,
    Example,
    Message,
    Part,
    Request,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)

pytestmark = pytest.mark.anyio
CARD, MAIL = "4111 1111 1111 1111", "ann@example.com"
STREAM = {"stream": True}


def everywhere(data):
    """A request with the data in every part that a caller can write."""
    told = json.dumps({"to": data, data: [data]}).encode()
    return Request(
        messages=(
            Message("system", f"You serve {data}."),
            Message("user", (Part("text", f"I am {data}"), Part("note", raw=told)), name=data),
            Message("assistant", None, tool_calls=(ToolCall(id="1", name="mail", arguments=told.decode()),)),
            Message("tool", f"sent to {data}", tool_call_id="1"),
            Message("user", f"and {data}?"),
        ),
        tools=(Tool(name="mail", description=f"writes to {data}", parameters=told),),
        document=Document(f"A letter to {data}"),
        examples=(Example(f"Who is {data}?", f"{data} is Ann"),),
        options=(("metadata", told),),
        terms=replace(asking("x").terms, tags={"who": data}, task_id=data),
    )


async def test_by_default_it_is_flagged_and_goes_on_unchanged():
    async with guarded() as gateway:
        answer = await ask(gateway, asking(f"Write to {MAIL}"))
        assert MAIL in gateway.model.asked[0].messages[-1].text
        assert answer.warnings == ("pii_flagged: email",)
        assert (await events_of(gateway))[0].warnings == ("pii_flagged: email",)
        assert gateway.policies["pii"].counts == {"email": 1}


async def test_a_policy_wins_over_the_preferences_which_win_over_the_default():
    async with guarded() as gateway:
        wish = SettingsOf(org_id=ORG, updated_at=NOW, body={"privacy": {"pii_action": "block"}})
        await gateway.storage.repositories.settings.save(wish, 0)
        gateway.standings.forget(ORG)
        with pytest.raises(Denied):
            await ask(gateway, asking(f"Write to {MAIL}"))
        await given(gateway, pii_action="off")
        assert (await ask(gateway, asking(f"Write to {MAIL}"))).warnings == ()


async def test_block_names_kinds_and_never_values():
    async with guarded(pii_action="block") as gateway:
        with pytest.raises(Denied) as refused:
            await ask(gateway, asking(f"{MAIL} pays with {CARD}"))
        error = refused.value
        assert (error.status, error.code, error.details) == (403, "pii_blocked", {"kinds": ["card", "email"]})
        assert MAIL not in error.message
        assert "4111" not in error.message
        assert gateway.model.asked == []


async def test_redaction_reaches_every_part_before_any_cache_log_or_vendor(monkeypatch):
    """C8, CO-4: nothing behind the policy ever sees it: vendor, cache tier, event, decision, log."""
    seen = []

    async with guarded(pii_action="redact") as gateway:
        tier = gateway.tiers["exact"]
        put = tier.put

        async def spy(key, request, principal, completion):
            seen.append(repr(request))
            await put(key, request, principal, completion)

        monkeypatch.setattr(tier, "put", spy)
        for data in (MAIL, CARD):
            await ask(gateway, everywhere(data))
        rows = [row async for row in tier.rows(ORG)]
        events = await events_of(gateway)
        told = "".join(map(repr, [*gateway.model.asked, *seen, *rows, *events]))
        assert len(seen) == len(gateway.model.asked) == 2
        assert MAIL not in told
        assert "4111 1" not in told
        assert told.count("[EMAIL_REDACTED]") > 20
        assert events[0].tags == {"who": "[EMAIL_REDACTED]"}


async def test_json_escapes_hide_nothing():
    escaped = '{"to": "ann\\u0040example.com", "card": 4111111111111111}'
    turn = Message("assistant", None, tool_calls=(ToolCall(id="1", name="mail", arguments=escaped),))
    async with guarded(pii_action="redact") as gateway:
        await ask(gateway, replace(asking("x"), messages=(turn, Message("user", "go"))))
        sent = json.loads(gateway.model.asked[0].messages[0].tool_calls[0].arguments)
        assert sent == {"to": "[EMAIL_REDACTED]", "card": "[CC_REDACTED]"}


async def test_a_request_without_any_is_the_very_same_object():
    async with guarded(pii_action="redact") as gateway:
        request = everywhere("nobody")
        assert await gateway.policies["pii"].admit(request, HERE) is request


async def test_what_is_redacted_shares_its_cached_answer():
    async with guarded(pii_action="redact") as gateway:
        await ask(gateway, asking("Greet ann@example.com"))
        assert (await ask(gateway, asking("Greet bob@example.com"))).hit is not None


async def test_answers_are_redacted_and_so_is_what_is_cached():
    async with guarded(Model(f"Her card is {CARD}."), pii_action="redact") as gateway:
        assert (await ask(gateway)).completion.text == "Her card is [CC_REDACTED]."
        rows = [row async for row in gateway.tiers["exact"].rows(ORG)]
        assert rows[0].completion.text == "Her card is [CC_REDACTED]."


async def test_an_old_answer_is_held_to_todays_policy():
    """A stored answer is released anew: whole, and as a stream."""
    async with guarded(Model(f"Her card is {CARD}.")) as gateway:
        assert CARD in (await ask(gateway)).completion.text
        await given(gateway, pii_action="redact")
        again = await ask(gateway)
        assert again.hit is not None
        assert again.completion.text == "Her card is [CC_REDACTED]."
        items = await chunks_of(gateway, asking_again())
        assert text_of(items) == "Her card is [CC_REDACTED]."
        assert items[-1].hit is not None


def asking_again():
    return replace(ASK, terms=replace(ASK.terms, stream=True))


async def test_streams_stay_streams_and_leak_nothing_at_any_split():
    """CO-4, C17. Through pipeline and relay: several chunks come, and no split of any entity leaks it."""
    for each in labelled(seed=21, each=6):
        text = f"Well, this is what I know of it so far. {each.text} That is all there is to say about that."
        whole = redact(text, find(text))
        start = text.index(each.data)
        async with guarded(pii_action="redact") as gateway:
            for cut in range(start, start + len(each.data) + 1, 3):
                gateway.model.pieces = (text[:20], text[20:cut], text[cut:])
                items = await chunks_of(gateway, asking("say", terms={**STREAM, "cache": "off"}))
                assert text_of(items) == whole
                assert items[-1].completion.text == whole
                assert sum(isinstance(item, Chunk) and bool(item.text) for item in items) >= 3


async def test_the_first_words_go_out_before_the_last_have_come():
    import asyncio

    from asahi_kernel import pipeline
    from asahi_kernel.trace import Trace

    gate = asyncio.Event()

    class Slow(Model):
        async def stream(self, model, request):
            yield Chunk(text="The first words are here. ")
            await gate.wait()
            yield Chunk(text=f"And {CARD}.")
            yield Chunk(finish_reason="stop", usage=Usage(10, 5))

    async with guarded(Slow(), pii_action="redact") as gateway:
        relay = pipeline.stream(gateway, asking("say", terms=STREAM), HERE, Trace("/infer"))
        first = await asyncio.wait_for(relay.take(), 5)
        assert text_of(first).startswith("The first words are")
        gate.set()
        rest = []
        while items := await relay.take():
            rest += items
        assert text_of([*first, *rest]) == "The first words are here. And [CC_REDACTED]."


async def test_an_org_without_output_filtering_streams_through_no_screen():
    """What costs nothing: the chunks are the provider's own objects."""
    async with guarded(Model(Chunk(text=f"a {CARD} b"))) as gateway:
        items = await chunks_of(gateway, asking("say", terms=STREAM))
        assert items[0] is gateway.model.pieces[0]


async def test_tool_calls_are_redacted_in_streams_too():
    pieces = [
        ToolCallDelta(index=0, id="1", name="mail", arguments='{"to": "ann\\u00'),
        ToolCallDelta(index=0, arguments="40example."),
        ToolCallDelta(index=0, arguments='com", "n": 1}'),
    ]
    async with guarded(Model("Writing. ", calls=pieces), pii_action="redact") as gateway:
        items = await chunks_of(gateway, asking("write", terms=STREAM))
        calls = [call for item in items if isinstance(item, Chunk) for call in item.tool_calls]
        assert [json.loads(call.arguments) for call in calls] == [{"to": "[EMAIL_REDACTED]", "n": 1}]
        assert (calls[0].id, calls[0].name) == ("1", "mail")
        assert text_of(items) == "Writing. "
        assert items[-1].completion.tool_calls[0].arguments == calls[0].arguments


async def test_log_probabilities_are_left_out_of_streams():
    odd = Chunk(text="4111 1111 ", choice=b'{"logprobs":{"content":[{"token":"4111"}]}}')
    async with guarded(Model("It is ", odd, Chunk(text="1111 1111")), pii_action="redact") as gateway:
        items = await chunks_of(gateway, asking("say", terms=STREAM))
        assert text_of(items) == "It is [CC_REDACTED]"
        assert "logprobs" not in repr(items)


def thought(text):
    return Chunk(delta=json.dumps({"reasoning_content": text}).encode())


def block(**fields):
    return Chunk(delta=json.dumps({"content_block_delta": fields}).encode())


async def test_thinking_is_streamed_and_redacted_too():
    """CO-4. As OpenAI's kin and as Anthropic send it; its end is out before the answer begins."""
    said = "The user is ann@exam", "ple.com and pays by 4111 1111 11", "11 1111, it says"
    blocks = [block(type="thinking_delta", thinking=text) for text in said]
    for pieces, take in (
        (map(thought, said), lambda told: told.get("reasoning_content", "")),
        (
            [*blocks, block(type="signature_delta", signature="c2ln")],
            lambda told: told["content_block_delta"].get("thinking", ""),
        ),
    ):
        async with guarded(Model(*pieces, "Hello there, ", "you."), pii_action="redact") as gateway:
            items = await chunks_of(gateway, asking("say", terms=STREAM))
        deltas = [json.loads(item.delta) for item in items if isinstance(item, Chunk) and item.delta]
        told = "The user is [EMAIL_REDACTED] and pays by [CC_REDACTED], it says"
        assert "".join(map(take, deltas)) == told
        assert len(deltas) > 2
        last = max(place for place, item in enumerate(items) if isinstance(item, Chunk) and item.delta)
        first = min(place for place, item in enumerate(items) if isinstance(item, Chunk) and item.text)
        assert last < first
        assert text_of(items) == "Hello there, you."
    assert deltas[-1] == {"content_block_delta": {"type": "signature_delta", "signature": "c2ln"}}
    assert all(each["content_block_delta"]["type"] for each in deltas)


async def test_other_vendor_fields_are_looked_at_whole_wherever_they_come():
    late = Chunk(text="mid ", delta=b'{"note":{"of":["4111 1111 1111 1111"]},"annotations":[1]}')
    async with guarded(Model("Begin here now ", late, "end."), pii_action="redact") as gateway:
        items = await chunks_of(gateway, asking("say", terms=STREAM))
        assert text_of(items) == "Begin here now mid end."
        deltas = [item.delta for item in items if isinstance(item, Chunk) and item.delta]
        assert deltas == [b'{"note":{"of":["[CC_REDACTED]"]},"annotations":[1]}']


async def test_a_failed_attempt_leaves_nothing_for_the_next():
    class Flaky(Model):
        async def stream(self, model, request):
            self.asked.append(request)
            if len(self.asked) == 1:
                yield Chunk(text="4111")
                raise ConnectionError
            yield Chunk(text="fine")
            yield Chunk(finish_reason="stop", usage=Usage(1, 1))

    async with guarded(Flaky(), pii_action="redact") as gateway:
        items = await chunks_of(gateway, asking("say", terms=STREAM))
        assert text_of(items) == "fine"
        assert len(gateway.model.asked) == 2


async def test_a_policy_that_breaks_ends_the_stream_and_blames_no_provider(monkeypatch):
    from asahi_guard.sieving import Redacting

    def broken(self, text):
        raise ValueError

    monkeypatch.setattr(Redacting, "feed", broken)
    async with guarded(Model("a", "b"), pii_action="redact") as gateway:
        with pytest.raises(AsahiError) as error:
            await chunks_of(gateway, asking("say", terms=STREAM))
        assert error.value.status == 500
        assert len(gateway.model.asked) == 1
        event = (await events_of(gateway))[0]
        assert (event.status, len(event.attempts)) == ("failed", 1)
        assert gateway.upstreams["scripted"].available()


async def test_choices_beyond_the_first_are_redacted():
    class Many(Model):
        async def complete(self, model, request):
            from asahi_kernel.types import Choice

            return Completion(text="one", model=model.name, usage=Usage(1, 2), others=(Choice(text=MAIL),))

    async with guarded(Many(), pii_action="redact") as gateway:
        answer = await ask(gateway, asking("two", n=2))
        assert answer.completion.others[0].text == "[EMAIL_REDACTED]"


async def test_embeddings_are_made_of_redacted_texts():
    async with guarded(pii_action="redact") as gateway:
        admitted = await gateway.policies["pii"].admit(asking(f"of {MAIL}"), HERE)
        assert admitted.messages[0].text == "of [EMAIL_REDACTED]"


async def test_pci_redacts_cards_only_where_nothing_else_is_asked_for():
    async with guarded(Model(f"{CARD} of {MAIL}"), pii_action="off") as gateway:
        gateway.vault.configured = True
        await profiled(gateway, "pci_dss")
        answer = await ask(gateway, asking(f"{CARD} of {MAIL}?"))
        assert gateway.model.asked[0].messages[-1].text == f"[CC_REDACTED] of {MAIL}?"
        assert answer.completion.text == f"[CC_REDACTED] of {MAIL}"


async def test_a_long_request_is_looked_through_beside_the_loop():
    import asyncio

    text = ("lorem ipsum 12 " * 40_000) + MAIL
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async with guarded(pii_action="block") as gateway:
        other = asyncio.ensure_future(tick())
        with pytest.raises(Denied):
            await gateway.policies["pii"].admit(asking(text), HERE)
        other.cancel()
        assert ticks > 2
