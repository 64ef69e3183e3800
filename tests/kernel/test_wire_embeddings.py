"""The body of `POST /v1/embeddings`: what is taken, and what is refused with which words."""

import base64
import json
import struct
from datetime import UTC, datetime

import pytest

from asahi_kernel.answer import Answer, Bill, Route
from asahi_kernel.embedding import Vectors
from asahi_kernel.errors import Invalid
from asahi_kernel.types import Completion, Usage
from asahi_kernel.wire.openai.embeddings import MEANINGLESS, decode, encode


def asked(headers=None, **fields):
    return decode(json.dumps({"model": "auto", "input": "text", **fields}).encode(), headers or {})


def refusal(headers=None, **fields):
    with pytest.raises(Invalid) as refused:
        asked(headers, **fields)
    return refused.value


def texts(found):
    return [message.text for message in found.request.messages]


def test_each_text_is_a_message():
    assert texts(asked(input="one")) == ["one"]
    assert texts(asked(input=["one", "two"])) == ["one", "two"]


def test_a_named_model_is_explicit_and_auto_is_not():
    assert (asked().request.model, asked().request.terms.mode) == (None, "autopilot")
    assert (asked(model="m").request.model, asked(model="m").request.terms.mode) == ("m", "explicit")


def test_the_form_of_the_vectors_is_kept():
    assert (asked().encoding_format, asked().dimensions) == ("float", None)
    found = asked(encoding_format="base64", dimensions=256)
    assert (found.encoding_format, found.dimensions) == ("base64", 256)


def test_our_fields_come_from_body_and_headers():
    found = asked({"x-asahi-cost-budget": "0.002"}, cache="off", tags={"team": "search"}, user="someone else")
    terms = found.request.terms
    assert (terms.cost_budget, terms.cache, terms.tags) == (2_000_000, "off", {"team": "search"})
    assert found.end_user == "someone else"


@pytest.mark.parametrize("blank", ["", " \n\t", "\u200b\u200b"])
def test_a_blank_text_is_named_by_its_place(blank):
    assert (refusal(input=blank).param, refusal(input=["a", blank]).param) == ("input", "input[1]")


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]], [0]])
def test_tokens_are_refused_with_the_reason(tokens):
    assert "tokens" in refusal(input=tokens).message


@pytest.mark.parametrize("given", [[], ["a"] * 2_049, None, 5, {}, [None], ["a", 5], [[]], [["a"]], True])
def test_what_is_no_text_is_refused(given):
    assert refusal(input=given).param.startswith("input")


def test_2048_texts_are_taken():
    assert len(texts(asked(input=["a"] * 2_048))) == 2_048


@pytest.mark.parametrize(
    "fields",
    [{"dimensions": 0}, {"dimensions": 1.5}, {"encoding_format": "hex"}, {"model": "a\nb"}, {"cache": "maybe"}],
)
def test_a_value_out_of_range_is_refused(fields):
    assert refusal(**fields).param == next(iter(fields))


@pytest.mark.parametrize("name", ["truncate", "Input", "api_base", "base_url", "models", "extra_headers", "stream"])
def test_no_field_goes_on_unknown(name):
    assert (refusal(**{name: "x"}).code, refusal(**{name: "x"}).param) == ("unknown_field", name)


SAMPLES = {
    "document": "text",
    "document_id": "d",
    "examples": [],
    "task_type": "faq",
    "quality_preference": "high",
    "latency_preference": "fast",
    "quality_threshold": 4,
    "latency_budget_ms": 100,
    "deadline_s": 600,
}


@pytest.mark.parametrize("name", sorted(MEANINGLESS))
def test_what_means_nothing_for_vectors_is_refused(name):
    told = refusal(**{name: SAMPLES[name]})
    assert ("means nothing" in told.message, told.param) == (True, name)


@pytest.mark.parametrize("name", ["optimize_tokens", "enrich_with_features", "allow_batching", "dry_run"])
def test_switches_may_be_off(name):
    assert texts(asked(**{name: False})) == ["text"]
    assert refusal(**{name: True}).param == name


def test_guided_mode_is_refused_also_from_a_header():
    assert refusal({"x-asahi-routing-mode": "guided"}).param == "routing_mode"


def answered():
    vectors = tuple(struct.pack("<2f", 0.5, at) for at in range(2))
    answer = Answer(
        request_id="01ABC",
        timestamp=datetime.now(UTC),
        completion=Completion(model="small"),
        usage=Usage(7),
        bill=Bill(cost=140, baseline_cost=200, saved=60, saved_by={"exact_cache": 60}),
        route=Route(mode="explicit", reason="named"),
    )
    return Vectors(answer, vectors, 1)


def test_vectors_are_numbers():
    body = json.loads(b"".join(encode(answered(), "float")))
    assert [row["embedding"] for row in body["data"]] == [[0.5, 0.0], [0.5, 1.0]]
    assert [(row["object"], row["index"]) for row in body["data"]] == [("embedding", 0), ("embedding", 1)]
    assert (body["object"], body["model"]) == ("list", "small")
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_vectors_are_base64_of_32_bit_floats():
    body = json.loads(b"".join(encode(answered(), "base64")))
    assert struct.unpack("<2f", base64.b64decode(body["data"][1]["embedding"])) == (0.5, 1.0)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 2_048])
def test_pieces_are_one_list(count):
    found = Vectors(answered().answer, tuple(struct.pack("<f", at) for at in range(count)), 0)
    body = json.loads(b"".join(encode(found, "float")))
    assert [(row["index"], row["embedding"]) for row in body["data"]] == [(at, [at]) for at in range(count)]


def test_the_money_is_told():
    told = json.loads(b"".join(encode(answered(), "float")))["asahi"]
    assert (told["cost"], told["saved"], told["cached_inputs"]) == (1.4e-07, 6e-08, 1)
