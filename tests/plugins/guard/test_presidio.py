"""The detector `presidio`, where `asahi-guard[presidio]` is installed; a missing one is said wherever it is not.

Patterns are tried with a blank pipeline. What needs a model is tried where `ASAHI_TEST_SPACY_MODEL` names one.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from tests.kernel.kit import ask, gateway_of
from tests.plugins.guard.kit import MODELS, Model, asking, given

from asahi_guard.opening import DETECTORS
from asahi_guard.presidio import _PIECE, _WORD, pieces
from asahi_kernel.config import decode
from asahi_kernel.errors import ConfigError, Unavailable
from asahi_kernel.testing import DetectorContract

pytestmark = pytest.mark.anyio
INSTALLED = find_spec("presidio_analyzer") is not None
MODEL = os.environ.get("ASAHI_TEST_SPACY_MODEL", "")
needed = pytest.mark.skipif(not INSTALLED, reason="asahi-guard[presidio] is not installed")
PATTERNS = {"model": None, "entities": ["UK_NHS", "CRYPTO", "US_PASSPORT"]}
NHS, COIN = "401-023-2137", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"


def opened(**fields):
    factory = DETECTORS[1]
    return factory.open(decode({**PATTERNS, **fields}, factory.config, "detectors.presidio"), None)


@needed
@pytest.mark.filterwarnings("default")
class TestPatterns(DetectorContract):
    factory = DETECTORS[1]
    config = PATTERNS
    samples = {
        f"My NHS number is {NHS}, pay to {COIN}.": {NHS: "uk_nhs", COIN: "crypto"},
        "my passport is 912803456": {"912803456": "us_passport"},
        "the number 912803456 stands alone": {},
        "nothing to be seen": {},
    }


@needed
@pytest.mark.skipif(not MODEL, reason="ASAHI_TEST_SPACY_MODEL names no pipeline of spaCy")
@pytest.mark.filterwarnings("default")
class TestNames(DetectorContract):
    factory = DETECTORS[1]
    config = {"model": MODEL}
    samples = {
        "My name is Peter Miller and I live in Berlin.": {"Peter Miller": "person", "Berlin": "location"},
        "The delivery of the goods is late.": {},
    }


async def test_without_it_the_start_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ConfigError, match=r"pip install 'asahi-guard\[presidio\]'"):
        async with opened():
            pass


@needed
@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"model": "en_core_web_none"}, "python -m spacy download en_core_web_none"),
        ({"model": "."}, "is no pipeline of spaCy"),
        ({"entities": ["PERSON", "UK_NHS"]}, "nothing finds PERSON in language 'en'; they need a model"),
        ({"entities": ["UK_NHS", "SHOE_SIZE"]}, "nothing finds SHOE_SIZE"),
        ({"entities": ["UK_NHS", "EMAIL_ADDRESS"]}, "leave EMAIL_ADDRESS out; the built-in detector finds it"),
        ({"entities": ["CREDIT_CARD"]}, "leave CREDIT_CARD out"),
        ({"entities": ["URL"]}, "leave URL out; it takes seconds"),
        ({"language": "de", "entities": ["UK_NHS"]}, "nothing finds UK_NHS in language 'de'"),
    ],
)
async def test_what_it_cannot_do_stops_the_start_and_nothing_is_fetched(monkeypatch, fields, word):
    def away(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", away)
    monkeypatch.setattr(subprocess, "run", away)
    with pytest.raises(ConfigError, match=word):
        async with opened(**fields):
            pass


@needed
async def test_its_kinds_are_redacted_beside_the_built_in_ones():
    tree = {
        **MODELS,
        "governance": {"policies": ["pii"]},
        "policies": {"pii": {"detectors": ["builtin", "presidio"]}},
        "detectors": {"presidio": PATTERNS},
    }
    model = Model(f"Your NHS number is {NHS}.")
    async with gateway_of(tree, providers=("scripted", model)) as gateway:
        await given(gateway, pii_action="redact")
        answer = await ask(gateway, asking(f"NHS number {NHS}, mail ann@example.com"))
        assert model.asked[0].messages[0].text == "NHS number [UK_NHS_REDACTED], mail [EMAIL_REDACTED]"
        assert answer.warnings == ("pii_redacted: email, uk_nhs",)
        assert answer.completion.text == "Your NHS number is [UK_NHS_REDACTED]."


@needed
async def test_past_its_time_it_gives_up_and_the_next_is_served(monkeypatch):
    async with opened(timeout_ms=100) as detector:
        look, seen = detector._look, []

        def slow(texts, entities):
            seen.extend(texts)
            time.sleep(0.06)
            return look(texts, entities)

        monkeypatch.setattr(detector, "_look", slow)
        with pytest.raises(Unavailable) as refused:
            await detector.find(["word " * 4_000], ["uk_nhs"])
        assert refused.value.code == "detector_timeout"
        await asyncio.sleep(0.2)
        assert len(seen) < 4, "it stops between two pieces"
        monkeypatch.setattr(detector, "_look", look)
        (found,) = await detector.find([f"NHS {NHS}"], ["uk_nhs"])
        assert [each.kind for each in found] == ["uk_nhs"]


@needed
async def test_who_waits_too_long_for_a_thread_is_told_so(monkeypatch):
    async with opened(timeout_ms=200, threads=1) as detector:

        def slow(texts, entities):
            time.sleep(0.15)
            return [[]] * len(texts)

        monkeypatch.setattr(detector, "_look", slow)
        told = await asyncio.gather(*(detector.find(["x"], ["uk_nhs"]) for _ in range(4)), return_exceptions=True)
        assert [isinstance(each, Unavailable) for each in told] == [False, True, True, True]


@needed
async def test_a_long_text_does_not_keep_a_short_one_waiting_for_all_of_it(monkeypatch):
    async with opened(timeout_ms=20_000) as detector:
        order = []

        def noted(texts, entities):
            order.append(len(texts[0]) > 100)
            time.sleep(0.01)
            return [[]] * len(texts)

        monkeypatch.setattr(detector, "_look", noted)
        long = asyncio.create_task(detector.find(["word " * 16_000], ["uk_nhs"]))
        await asyncio.sleep(0.02)
        await detector.find(["a short one"], ["uk_nhs"])
        assert not long.done()
        await long
        assert order.index(False) < 10 < len(order)


@needed
async def test_the_loop_goes_on_while_it_looks():
    async with opened(timeout_ms=20_000) as detector:
        ticks, ended = 0, asyncio.Event()

        async def tick():
            nonlocal ticks
            while not ended.is_set():
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        await detector.find([f"a sentence with {COIN} in it. " * 20_000], ["crypto"])
        ended.set()
        await ticking
        assert ticks > 5


@pytest.mark.parametrize("size", [0, 1, _PIECE, _PIECE + 1, 50_000])
@pytest.mark.parametrize("unit", ["x", "word ", "A sentence. And another one! ", "a line\n", "a paragraph\n\n", "ä"])
def test_pieces_are_the_whole_text_and_end_where_words_do(size, unit):
    text = (unit * (size // len(unit) + 1))[:size]
    told = list(pieces(text))
    assert "".join(piece for _, piece in told) == text
    assert all(text[at : at + len(piece)] == piece and len(piece) <= _PIECE for at, piece in told)
    assert all(len(word) <= _WORD for _, piece in told for word in piece.split())
    if " " in unit or "\n" in unit:
        assert all(piece[-1].isspace() for _, piece in told[:-1])


def test_a_word_without_end_is_cut_where_something_in_it_ends():
    query = "&".join(f"name{number}=value{number}" for number in range(100))
    told = [piece for _, piece in pieces(f"see {query}")]
    assert "".join(told) == f"see {query}"
    assert all(piece[-1] in "&=" for piece in told[:-1])


@needed
async def test_what_stands_where_a_long_text_is_cut_is_found():
    """Every place near the first cut, one after the other."""
    async with opened(timeout_ms=60_000) as detector:
        texts = [
            f"{'word ' * (_PIECE // 5 - 6)}{'x' * pad} {COIN} and so on. {'word ' * 900}" for pad in range(0, 40, 3)
        ]
        found = await detector.find(texts, ["crypto"])
        assert [[text[each.start : each.end] for each in told] for text, told in zip(texts, found, strict=True)] == [
            [COIN]
        ] * len(texts)
