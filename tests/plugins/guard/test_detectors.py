"""10.8 further detectors: asked beside the built-in one, before anything leaves, and nothing passes where they fail."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.kernel.kit import ask, chunks_of, events_of, gateway_of, replace
from tests.plugins.guard.kit import MODELS, Model, asking, given, profiled, text_of

from asahi_guard.detectors import Builtin
from asahi_guard.opening import DETECTORS
from asahi_kernel.detecting import Detected
from asahi_kernel.errors import ConfigError, Denied, PluginError, Unavailable
from asahi_kernel.testing import DetectorContract
from asahi_kernel.types import Chunk, Document, Message, ToolCall

pytestmark = pytest.mark.anyio
MAIL = "ann@example.com"


class TestBuiltin(DetectorContract):
    factory = DETECTORS[0]
    samples = {
        f"write to {MAIL}, or pay with 4111 1111 1111 1111": {MAIL: "email", "4111 1111 1111 1111": "card"},
        "nothing to be seen": {},
    }


class Names:
    """Knows one name, takes its time, and remembers what it was asked."""

    marks = {"person": "[PERSON_REDACTED]"}

    def __init__(self, name="Ann Lee"):
        self.name, self.asked, self.fault = name, [], None

    async def find(self, texts, kinds):
        self.asked.append((list(texts), list(kinds)))
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return [list(self._find(text)) for text in texts]

    def _find(self, text):
        at = text.find(self.name)
        while at >= 0:
            yield Detected(at, at + len(self.name), "person")
            at = text.find(self.name, at + 1)


@asynccontextmanager
async def naming(model=None, names=None, order=("builtin", "names"), **policy):
    model, names = model or Model("It is Ann Lee."), names or Names()
    tree = {
        **MODELS,
        "governance": {"policies": ["pii"]},
        "policies": {"pii": {"detectors": list(order)}},
        "detectors": {"names": {}},
    }
    async with gateway_of(tree, providers=("scripted", model), detectors=("names", names)) as gateway:
        gateway.model, gateway.names = model, names
        if policy:
            await given(gateway, **policy)
        yield gateway


async def test_what_either_finds_is_redacted_before_it_leaves():
    async with naming(pii_action="redact") as gateway:
        request = replace(
            asking(f"I am Ann Lee, {MAIL}", terms={"tags": {"of": "Ann Lee"}}),
            document=Document("A letter of Ann Lee."),
        )
        call = ToolCall(id="1", name="find", arguments='{"who":"Ann Lee"}')
        request = replace(request, messages=(Message("assistant", None, tool_calls=(call,)), *request.messages))
        answer = await ask(gateway, request)
        sent = str(gateway.model.asked[0])
        assert "Ann Lee" not in sent
        assert MAIL not in sent
        assert sent.count("[PERSON_REDACTED]") == 4
        assert sent.count("[EMAIL_REDACTED]") == 1
        assert answer.warnings == ("pii_redacted: email, person",)
        assert answer.completion.text == "It is [PERSON_REDACTED]."
        (event,) = await events_of(gateway)
        assert event.tags == {"of": "[PERSON_REDACTED]"}


async def test_each_text_is_asked_for_once_and_only_for_what_is_sought():
    async with naming(Model("Yes."), pii_action="flag") as gateway:
        turns = (Message("user", "Ann Lee"), Message("assistant", "Ann Lee"), Message("user", "and Bob"))
        answer = await ask(gateway, replace(asking(""), messages=turns))
        assert gateway.names.asked == [(["Ann Lee", "and Bob"], ["person"])]
        assert answer.warnings == ("pii_flagged: person",)
        assert [message.text for message in gateway.model.asked[0].messages] == ["Ann Lee", "Ann Lee", "and Bob"]


async def test_what_is_forbidden_is_refused_by_its_kind():
    async with naming(pii_action="block") as gateway:
        with pytest.raises(Denied) as refused:
            await ask(gateway, asking("I am Ann Lee"))
        assert refused.value.details == {"kinds": ["person"]}
        assert "Ann" not in refused.value.message
        assert gateway.model.asked == []


async def test_where_nothing_it_knows_is_sought_it_is_not_asked():
    async with naming(pii_action="off") as gateway:
        await ask(gateway, asking("I am Ann Lee"))
        await profiled(gateway, "pci_dss", encryption_required=True)
        answer = await ask(gateway, asking("I am Ann Lee, 4111 1111 1111 1111"))
        assert "Ann Lee, [CC_REDACTED]" in gateway.model.asked[-1].messages[0].text
        assert gateway.names.asked == []
        assert answer.completion.text == "It is Ann Lee."


async def test_of_what_overlaps_the_first_detector_has_the_kind():
    for order, mark in ((("builtin", "names"), "[EMAIL_REDACTED]"), (("names", "builtin"), "[PERSON_REDACTED]")):
        async with naming(names=Names("ann@example.com now"), order=order, pii_action="redact") as gateway:
            await ask(gateway, asking(f"write to {MAIL} now!"))
            assert gateway.model.asked[0].messages[0].text == f"write to {mark}!"


async def test_a_stream_waits_for_the_whole_answer_where_names_are_redacted_and_nothing_slips():
    async with naming(Model("It is An", "n Le", "e, as you know."), pii_action="redact") as gateway:
        items = await chunks_of(gateway, asking("who is it?", terms={"cache": "off"}))
        assert text_of(items) == "It is [PERSON_REDACTED], as you know."
        assert "Ann" not in str(items)


async def test_a_stream_flows_where_names_are_only_flagged():
    async with naming(Model("It is An", "n Lee."), pii_action="flag") as gateway:
        items = [each for each in await chunks_of(gateway, asking("Ann Lee?")) if isinstance(each, Chunk)]
        assert [each.text for each in items if each.text] == ["It is An", "n Lee."]
        assert gateway.names.asked == [(["Ann Lee?"], ["person"])]


async def test_kept_answers_are_released_anew():
    async with naming() as gateway:
        await given(gateway, pii_action="off")
        assert (await ask(gateway, asking("who?"))).completion.text == "It is Ann Lee."
        await given(gateway, pii_action="redact")
        answer = await ask(gateway, asking("who?"))
        assert (answer.hit is not None, answer.completion.text) == (True, "It is [PERSON_REDACTED].")


@pytest.mark.parametrize("action", ["flag", "redact", "block"])
async def test_where_it_fails_nothing_leaves(action):
    async with naming(pii_action=action) as gateway:
        for fault, code in (
            (OSError("gone"), "detector_unavailable"),
            (TimeoutError(), "detector_unavailable"),
            (Unavailable("too slow", code="detector_timeout"), "detector_timeout"),
        ):
            gateway.names.fault = fault
            with pytest.raises(Unavailable) as refused:
                await ask(gateway, asking("I am somebody"))
            assert refused.value.code == code
        assert gateway.model.asked == []
        assert gateway.faults["detector.names"] == 3
        gateway.names.fault = None
        assert await ask(gateway, asking("I am somebody"))


async def test_an_answer_that_cannot_be_looked_at_does_not_go_out_and_is_paid_all_the_same():
    async with naming(pii_action="redact") as gateway:
        for stream in (False, True):
            request, work = asking(f"who {stream}?"), gateway.names.find

            async def failing(texts, kinds, work=work):
                if any("It is" in text for text in texts):
                    raise OSError("gone")
                return await work(texts, kinds)

            gateway.names.find = failing
            with pytest.raises(Unavailable):
                await (chunks_of(gateway, request) if stream else ask(gateway, request))
            gateway.names.find = work
        events = await events_of(gateway)
        assert [each.status for each in events] == ["failed", "failed"]
        assert all(each.cost for each in events)


@pytest.mark.parametrize(
    "told",
    [
        [[Detected(0, 99, "person")]],
        [[Detected(3, 3, "person")]],
        [[Detected(-1, 3, "person")]],
        [[Detected(0, 3, "card")]],
        [],
        [[], []],
    ],
)
async def test_what_makes_no_sense_is_a_fault_of_the_detector_and_lets_nothing_through(told):
    async with naming(pii_action="redact") as gateway:

        async def find(texts, kinds):
            return told

        gateway.names.find = find
        with pytest.raises(PluginError, match="names"):
            await ask(gateway, asking("I am Ann Lee"))
        assert gateway.model.asked == []


@pytest.mark.parametrize(
    ("order", "word"),
    [(("names",), "'builtin'"), (("builtin", "nobody"), "'nobody'"), (("builtin", "builtin"), "two of them find")],
)
async def test_detectors_that_make_no_sense_stop_the_start(order, word):
    with pytest.raises(ConfigError, match=word):
        async with naming(order=order):
            pass


async def test_two_detectors_of_one_kind_stop_the_start():
    names = Names()
    names.marks = {"email": "[MAIL_REDACTED]"}
    with pytest.raises(ConfigError, match="two of them find 'email'"):
        async with naming(names=names):
            pass


async def test_the_built_in_one_alone_takes_no_detour():
    async with naming(order=("builtin",), pii_action="redact") as gateway:
        items = await chunks_of(gateway, asking(f"Ann Lee, {MAIL}"))
        assert text_of(items) == "It is Ann Lee."
        assert gateway.names.asked == []
        assert isinstance(gateway.detectors["builtin"], Builtin)
