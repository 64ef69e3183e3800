"""10.12 `privacy.store_prompts`: words are kept where an org wants it and may, off the path, within bounds."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.kernel.kit import ask, chunks_of, gateway_of, replace

from asahi_kernel import scribe as scribing
from asahi_kernel import words
from asahi_kernel.builtins.prompts import PROMPTS
from asahi_kernel.builtins.retention import sweep
from asahi_kernel.embedding import embed
from asahi_kernel.errors import Unstorable
from asahi_kernel.repositories.rules import ComplianceProfile, SettingsOf
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.repositories.work import Bodies, Body
from asahi_kernel.testing import ASK, HERE, THERE, ServiceContract
from asahi_kernel.trace import Trace
from asahi_kernel.types import Choice, Completion, Document, Example, Message, Part, Request, ToolCall

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class TestPrompts(ServiceContract):
    factory = PROMPTS


async def wanting(gateway, org="here", on=True):
    settings = gateway.storage.repositories.settings
    old = await settings.get(org)
    said = SettingsOf(org_id=org, updated_at=NOW, body={"privacy": {"store_prompts": on}})
    assert await settings.save(said, old.version if old else 0)
    gateway.standings.forget(org)
    await gateway.standings.of(org)


async def profiled(gateway, **fields):
    assert await gateway.storage.repositories.compliance.save(
        ComplianceProfile(org_id="here", updated_at=NOW, **fields)
    )
    gateway.standings.forget("here")
    await gateway.standings.of("here")


async def kept(gateway, answer, org="here"):
    await gateway.scribe.flush()
    return await gateway.storage.repositories.bodies.get(org, answer.request_id)


def said(turns):
    return [(each.role, each.text) for each in words.read(turns)]


async def test_what_was_asked_and_answered_is_kept_for_the_org_that_wants_it():
    async with gateway_of() as gateway:
        assert await kept(gateway, await ask(gateway)) is None
        await wanting(gateway)
        for number, hit in ((1, False), (1, True), (2, False)):
            request = replace(ASK, messages=(Message("system", "be brief"), Message("user", f"question {number}")))
            answer = await ask(gateway, request)
            assert (answer.hit is not None) is hit
            body = await kept(gateway, answer)
            assert said(body.request) == [("system", "be brief"), ("user", f"question {number}")]
            assert said(body.response) == [("assistant", answer.completion.text)]
            assert body.subject == subject_of("here", "ann")
        assert await kept(gateway, await ask(gateway, principal=THERE), "there") is None
        assert gateway.faults["prompts.lost"] == 0


async def test_a_stream_is_kept_as_it_was_released():
    async with gateway_of() as gateway:
        await wanting(gateway)
        *_, answer = await chunks_of(gateway)
        assert said((await kept(gateway, answer)).response) == [("assistant", answer.completion.text)]


async def test_vectors_are_no_words():
    async with gateway_of() as gateway:
        await wanting(gateway)
        asked = Request(messages=(Message("user", "hello"),), model="text-embedding-3-small")
        trace = Trace("/v1/embeddings")
        assert await embed(gateway, asked, HERE, trace, 8)
        assert gateway.scribe.waiting == 0
        assert await kept(gateway, trace) is None


async def test_nothing_is_kept_where_the_profile_or_the_request_forbids_it():
    async with gateway_of() as gateway:
        await wanting(gateway)
        private = replace(ASK, terms=replace(ASK.terms, keep_prompt=False))
        assert await kept(gateway, await ask(gateway, private)) is None
        await profiled(gateway, frameworks=("hipaa",))
        assert await kept(gateway, await ask(gateway)) is None
        await profiled(gateway, prompt_storage_allowed=False)
        assert await kept(gateway, await ask(gateway)) is None
        await profiled(gateway)
        assert await kept(gateway, await ask(gateway)) is not None


async def test_what_is_forbidden_while_it_waits_is_not_written():
    async with gateway_of() as gateway:
        await wanting(gateway)
        answer = await ask(gateway)
        await profiled(gateway, frameworks=("hipaa",))
        assert await kept(gateway, answer) is None
        assert gateway.scribe.waiting == 0


async def test_it_is_written_by_itself_soon():
    async with gateway_of() as gateway:
        await wanting(gateway)
        answer = await ask(gateway)
        while not await gateway.storage.repositories.bodies.get("here", answer.request_id):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("profile", "days"), [(None, 30), (20, 20), (400, 30)])
async def test_it_ends_with_the_retention_of_the_org(profile, days):
    async with gateway_of({"governance": {"retention_days": 30}}) as gateway:
        await wanting(gateway)
        if profile is not None:
            await profiled(gateway, retention_days=profile)
        answer = await ask(gateway)
        body = await kept(gateway, answer)
        assert body.expires_at == answer.timestamp + timedelta(days=days)
        await sweep(gateway.storage, 30, body.expires_at - timedelta(seconds=1))
        assert await kept(gateway, answer) == body
        await sweep(gateway.storage, 30, body.expires_at)
        assert await kept(gateway, answer) is None


async def test_a_retention_that_was_shortened_holds_for_what_is_there_too():
    """CO-6."""
    async with gateway_of() as gateway:
        await wanting(gateway)
        answer = await ask(gateway)
        await gateway.journal.flush()
        assert await kept(gateway, answer)
        await profiled(gateway, retention_days=3)
        await sweep(gateway.storage, 365, answer.timestamp + timedelta(days=2))
        assert await kept(gateway, answer)
        await sweep(gateway.storage, 365, answer.timestamp + timedelta(days=3, seconds=1))
        assert await kept(gateway, answer) is None


async def test_what_may_not_be_stored_any_more_is_swept():
    async with gateway_of() as gateway:
        await wanting(gateway)
        answer = await ask(gateway)
        await gateway.journal.flush()
        assert await kept(gateway, answer)
        await profiled(gateway, frameworks=("hipaa",))
        await sweep(gateway.storage, 365, answer.timestamp + timedelta(seconds=1))
        assert not await gateway.storage.repositories.bodies.holds("here")


async def test_a_storage_that_is_away_costs_no_request_and_its_words_wait(monkeypatch, caplog):
    async with gateway_of() as gateway:
        await wanting(gateway)

        async def away(self, bodies):
            raise OSError("gone")

        with monkeypatch.context() as patched:
            patched.setattr(Bodies, "save_all", away)
            answers = [await ask(gateway, replace(ASK, seed=number)) for number in range(3)]
            assert not await gateway.scribe.flush()
            assert gateway.faults["prompts.storage"] >= 1
            assert gateway.scribe.waiting == 3
        assert [await kept(gateway, each) is not None for each in answers] == [True] * 3
        assert [each.message for each in caplog.records if "prompts" in each.message] == [
            "prompts cannot be stored (OSError); they wait",
            "prompts are stored again",
        ]
        assert gateway.faults["prompts.lost"] == 0


async def test_past_its_bounds_words_are_lost_and_counted_and_nothing_else_is(monkeypatch, caplog):
    monkeypatch.setattr(scribing, "_BATCH_S", 60.0)
    async with gateway_of() as gateway:
        await wanting(gateway)
        monkeypatch.setattr(scribing, "MOST_WAITING", 2)
        answers = [await ask(gateway, replace(ASK, seed=number)) for number in range(5)]
        assert (gateway.scribe.waiting, gateway.faults["prompts.lost"]) == (2, 3)
        assert [await kept(gateway, each) is not None for each in answers] == [True, True, False, False, False]
        monkeypatch.setattr(scribing, "MOST_BYTES", 10_000)
        large = replace(ASK, messages=(Message("user", "x" * 10_000),))
        assert await kept(gateway, await ask(gateway, large)) is None
        assert gateway.faults["prompts.lost"] == 4
        await gateway.journal.flush()
        assert (await gateway.storage.events.totals("here", None)).requests == 6
    assert len([each for each in caplog.records if "prompts are lost" in each.message]) == 1


async def test_one_that_can_never_be_stored_holds_up_no_other(monkeypatch):
    async with gateway_of() as gateway:
        await wanting(gateway)
        answers = [await ask(gateway, replace(ASK, seed=number)) for number in range(3)]
        save = Bodies.save

        async def all_or_none(self, bodies):
            raise Unstorable("one is bad")

        async def picky(self, body: Body):
            if body.request_id == answers[1].request_id:
                raise Unstorable("this one")
            return await save(self, body)

        monkeypatch.setattr(Bodies, "save_all", all_or_none)
        monkeypatch.setattr(Bodies, "save", picky)
        assert [await kept(gateway, each) is not None for each in answers] == [True, False, True]
        assert gateway.faults["prompts.lost"] == 1


async def test_a_batch_whose_end_was_not_heard_is_written_once(monkeypatch):
    async with gateway_of() as gateway:
        await wanting(gateway)
        answer, save_all = await ask(gateway), Bodies.save_all

        async def silent(self, bodies):
            await save_all(self, bodies)
            raise OSError("the connection went before the answer came")

        with monkeypatch.context() as patched:
            patched.setattr(Bodies, "save_all", silent)
            assert not await gateway.scribe.flush()
        assert await kept(gateway, answer)
        assert (gateway.scribe.waiting, gateway.faults["prompts.lost"]) == (0, 0)


async def test_what_waits_of_an_org_can_be_forgotten(monkeypatch):
    async with gateway_of() as gateway:
        await wanting(gateway)
        await wanting(gateway, "there")

        async def away(self, bodies):
            raise OSError("gone")

        with monkeypatch.context() as patched:
            patched.setattr(Bodies, "save_all", away)
            mine, theirs = await ask(gateway), await ask(gateway, principal=THERE)
            assert await gateway.scribe.forget("here") == 1
        assert await kept(gateway, mine) is None
        assert await kept(gateway, theirs, "there")


async def test_what_waits_at_the_end_is_written():
    async with gateway_of() as gateway:
        await wanting(gateway)
        answer, bodies = await ask(gateway), gateway.storage.repositories.bodies
    assert await bodies.get("here", answer.request_id)


def test_words_say_what_there_was_and_what_is_missing():
    request = Request(
        document=Document("the document"),
        examples=(Example("in", "out"),),
        messages=(
            Message("user", (Part("text", "look"), Part("image_url", raw=b'{"url":"data:..."}'))),
            Message("assistant", None, tool_calls=(ToolCall(id="1", name="find", arguments='{"a":1}'),)),
            Message("tool", "found"),
        ),
    )
    assert said(words.asked(request)) == [
        ("document", "the document"),
        ("example", "in\n→ out"),
        ("user", "look"),
        ("user", "[image_url]"),
        ("tool_call", 'find({"a":1})'),
        ("tool", "found"),
    ]
    answer = Completion(model="m", text="one", others=(Choice(text="two"),))
    assert said(words.answered(answer)) == [("assistant", "one"), ("assistant", "two")]
    assert words.read(b"no json") == () == words.read(None)


def test_of_what_is_too_long_the_newest_is_kept_and_the_rest_is_said_to_be_cut(monkeypatch):
    monkeypatch.setattr(words, "MOST", 10)
    turns = (Message("user", "a" * 8), Message("assistant", "b" * 4), Message("user", "c" * 5))
    told = words.read(words.asked(Request(messages=turns)))
    assert [(each.text, each.cut) for each in told] == [("a", 7), ("b" * 4, 0), ("c" * 5, 0)]


def test_pictures_weigh_what_they_weigh():
    picture = Part("image_url", raw=b"x" * 500_000)
    heavy = Request(messages=(Message("user", (picture,)),))
    assert words.weight(heavy, Completion(model="m")) >= 500_000
    assert len(words.asked(heavy)) < 100


def test_a_turn_that_is_whole_says_nothing_of_cuts():
    assert msgspec.json.decode(words.answered(Completion(model="m", text="hi"))) == [
        {"role": "assistant", "text": "hi"}
    ]


def test_nobody_else_is_the_subject():
    assert subject_of("here", HERE.user) != subject_of("there", HERE.user)
