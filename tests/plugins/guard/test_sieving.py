"""Sieving: whatever the pieces, what goes out is what would have gone out of the whole, and prose is not held up."""

import random
from itertools import pairwise

import pytest
from benchmarks.guard.sentences import labelled, ordinary

from asahi_guard.finding import KINDS, find, redact
from asahi_guard.leaking import Canaries, Watch, cleaned
from asahi_guard.sieving import Redacting
from asahi_kernel.errors import Denied

ENTITIES = 2_000


def sieved(text, *cuts, sieve=None):
    sieve = sieve or Redacting(KINDS)
    edges = [0, *cuts, len(text)]
    pieces = [sieve.feed(text[start:end]) for start, end in pairwise(edges)]
    return "".join(pieces) + sieve.end()


def test_no_entity_passes_by_being_split():
    """CO-4, C17. 2,000 entities, every split point of each: nothing leaks that the whole would not have leaked."""
    leaks = splits = 0
    for each in labelled(seed=4, each=-(-ENTITIES // len(KINDS))):
        whole = redact(each.text, find(each.text))
        start = each.text.index(each.data)
        for cut in range(start, start + len(each.data) + 1):
            splits += 1
            leaks += sieved(each.text, cut) != whole
    assert leaks == 0
    assert splits > 20 * ENTITIES


def test_any_pieces_make_the_same_text():
    """CO-4. Up to a character at a time, several entities and numbers that are none in one text."""
    dice = random.Random(7)
    sentences = [each.text for each in (*labelled(8, 30), *ordinary(9, 15))]
    for _ in range(60):
        text = dice.choice((" ", "\n", ", ", "")).join(dice.sample(sentences, 6))
        whole = redact(text, find(text))
        cuts = sorted(dice.sample(range(len(text)), dice.randint(1, min(40, len(text)))))
        assert sieved(text, *cuts) == whole
    assert sieved(text, *range(1, len(text))) == whole


def test_prose_is_late_by_a_word_only():
    sieve = Redacting(KINDS)
    text = "The capital of France is Paris, which lies on the Seine. " * 20
    out = ""
    for place in range(0, len(text), 4):
        out += sieve.feed(text[place : place + 4])
        assert place + 4 - len(out) < 16
    assert out + sieve.end() == text


def test_text_without_spaces_is_held_back_by_a_bound():
    for text in ("QUJD" * 5_000, "1" * 20_000, "Ünïcödé" * 3_000, "你好世界" * 3_000):
        sieve = Redacting(KINDS)
        out, held = "", 0
        for place in range(0, len(text), 50):
            out += sieve.feed(text[place : place + 50])
            held = max(held, place + 50 - len(out))
        assert held < 9_000
        assert out + sieve.end() == text


def test_a_private_key_is_held_until_it_is_whole():
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow/+AB\n" * 100 + "-----END RSA PRIVATE KEY-----"
    text = f"Here: {key}\nDone."
    for cuts in ([7], [20], [40], [500], [len(text) - 8], list(range(3, len(text), 37))):
        assert sieved(text, *cuts) == "Here: [SECRET_REDACTED]\nDone."


CANARY = "zebra-7731-quartz"


@pytest.mark.parametrize(
    "told",
    [
        CANARY,
        CANARY.upper(),
        CANARY[::-1],
        " ".join(CANARY),
        CANARY.encode().hex(),
        "emVicmEtNzczMS1xdWFydHo=",
        "eHplYnJhLTc3MzEtcXVhcnR6",
    ],
)
def test_a_canary_leaves_in_no_spelling_and_by_no_split(told):
    """C18. The output filter holds where no score of a prompt does."""
    canaries = Canaries([CANARY])
    text = f"Sure! It says: {told} ok"
    whole = cleaned(canaries, refuse=False, secrets=True)(text)
    assert "CANARY_REDACTED" in whole
    assert told not in whole
    for cut in range(len(text) + 1):
        assert sieved(text, cut, sieve=Watch(canaries, False, True)) == whole
        with pytest.raises(Denied):
            sieved(text, cut, sieve=Watch(canaries, True, False))
    assert sieved(text, *range(1, len(text)), sieve=Watch(canaries, False, True)) == whole


def test_what_only_begins_like_a_canary_goes_out():
    text = "zebra-7731 and zebra-7731-quart and zebr"
    for cut in range(len(text)):
        assert sieved(text, cut, sieve=Watch(Canaries([CANARY]), True, False)) == text
