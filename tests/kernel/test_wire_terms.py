"""Asahi's own fields as headers, the client's ids, and the names of fields."""

import json

import pytest

from asahi_kernel.errors import AsahiError, Invalid
from asahi_kernel.wire import native, openai
from asahi_kernel.wire.fields import AsahiFields
from asahi_kernel.wire.names import misspelt, nearest
from asahi_kernel.wire.terms import client_request_id, gather, idempotency_key

NATIVE = {"prompt": "hello"}
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
WIRES = [pytest.param(native.decode, NATIVE, id="native"), pytest.param(openai.decode, CHAT, id="openai")]


def asked(decode, base, headers, /, **fields):
    return decode(json.dumps({**base, **fields}).encode(), headers)


def refusal(decode, base, headers, /, **fields) -> AsahiError:
    with pytest.raises(AsahiError) as caught:
        asked(decode, base, headers, **fields)
    return caught.value


SAME = [
    ("routing_mode", "guided", "guided"),
    ("task_type", "legal", "legal"),
    ("task_id", "t-1", "t-1"),
    ("quality_preference", "high", "high"),
    ("latency_preference", "fast", "fast"),
    ("quality_threshold", 4.5, "4.5"),
    ("latency_budget_ms", 300, "300"),
    ("cost_budget", 0.002, "0.002"),
    ("on_no_route", "best_effort", "best_effort"),
    ("cache", "off", "off"),
    ("semantic_cache", False, "false"),
    ("intermediate_cache", True, "true"),
    ("similarity_threshold", 0.9, "0.9"),
    ("optimize_tokens", True, "true"),
    ("enrich_with_features", True, "true"),
    ("allow_batching", False, "false"),
    ("deadline_s", 600, "600"),
    ("user_id", "ana", "ana"),
    ("organization_id", "acme", "acme"),
    ("model_override", "gpt-4o", "gpt-4o"),
    ("tags", {"team": "a"}, '{"team": "a"}'),
    ("dry_run", True, "true"),
]


@pytest.mark.parametrize(("decode", "base"), WIRES)
@pytest.mark.parametrize(("name", "value", "text"), SAME)
def test_a_header_says_the_same_as_the_field(decode, base, name, value, text):
    header = {"x-asahi-" + name.replace("_", "-"): text}
    by_field = asked(decode, base, {}, **{name: value})
    assert asked(decode, base, header) == by_field != asked(decode, base, {})
    assert asked(decode, base, header, **{name: value}) == by_field


def test_every_field_but_the_long_texts_has_a_header():
    assert {name for name, _, _ in SAME} == set(AsahiFields.__struct_fields__) - {"document", "document_id", "examples"}
    named = asked(native.decode, NATIVE, {"x-asahi-document-id": "d-1"}, document="text").request.document
    assert named.id == "d-1"


@pytest.mark.parametrize(("decode", "base"), WIRES)
def test_a_field_in_both_places_must_agree(decode, base):
    error = refusal(decode, base, {"x-asahi-cost-budget": "0.001"}, cost_budget=0.002)
    assert (error.code, error.param) == ("conflicting_fields", "cost_budget")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-asahi-cost-budget", "cheap"),
        ("x-asahi-cost-budget", "NaN"),
        ("x-asahi-cost-budget", "inf"),
        ("x-asahi-cost-budget", "0x1"),
        ("x-asahi-cost-budget", "1e999"),
        ("x-asahi-cost-budget", ""),
        ("x-asahi-cost-budget", "-1"),
        ("x-asahi-cost-budget", "1" * 5000),
        ("x-asahi-latency-budget-ms", "300.0"),
        ("x-asahi-latency-budget-ms", "٣٠٠"),
        ("x-asahi-latency-budget-ms", "49"),
        ("x-asahi-semantic-cache", "1"),
        ("x-asahi-semantic-cache", "True"),
        ("x-asahi-routing-mode", "fast"),
        ("x-asahi-user-id", "../x"),
        ("x-asahi-user-id", "é"),
        ("x-asahi-task-id", ""),
        ("x-asahi-tags", "team=a"),
        ("x-asahi-tags", "[]"),
        ("x-asahi-tags", '{"a": "1", "a": "2"}'),
        ("x-asahi-tags", '{"a": "日"'),
    ],
)
def test_a_malformed_header_is_refused(header, value):
    assert refusal(native.decode, NATIVE, {header: value}).status == 400


def test_a_header_does_not_hide_a_wrong_value_in_the_body():
    assert refusal(native.decode, NATIVE, {"x-asahi-cost-budget": "1"}, cost_budget=True).param == "cost_budget"


@pytest.mark.parametrize(("decode", "base"), WIRES)
def test_an_unknown_header_is_refused_with_the_nearest_name(decode, base):
    error = refusal(decode, base, {"x-asahi-quality-treshold": "4"})
    assert (error.code, error.param) == ("unknown_field", "x-asahi-quality-treshold")
    assert "x-asahi-quality-threshold" in error.message


def test_texts_without_bound_have_no_header():
    assert refusal(native.decode, NATIVE, {"x-asahi-document": "text"}).code == "unknown_field"


def test_without_our_headers_the_body_is_taken_as_it_is():
    assert gather(b'{"a": 1}', {"host": "x", "x-request-id": "y"}) == {"a": 1}


@pytest.mark.parametrize(("decode", "base"), WIRES)
def test_the_clients_request_id_is_kept_beside_ours(decode, base):
    assert asked(decode, base, {"x-request-id": "mine 1"}).request.terms.client_request_id == "mine 1"


@pytest.mark.parametrize("value", ["", "x" * 129, "é", "a\nb", "a\x7f"])
def test_an_odd_request_id_of_the_client_is_ignored(value):
    assert client_request_id({"x-request-id": value}) is None


@pytest.mark.parametrize(("decode", "base"), WIRES)
def test_an_idempotency_key_is_handed_on(decode, base):
    assert asked(decode, base, {"idempotency-key": "k" * 255}).idempotency_key == "k" * 255
    assert asked(decode, base, {}).idempotency_key is None


@pytest.mark.parametrize("value", ["", "k" * 256, "é", "a\tb"])
def test_an_odd_idempotency_key_is_refused(value):
    with pytest.raises(Invalid, match="Idempotency-Key"):
        idempotency_key({"idempotency-key": value})


@pytest.mark.parametrize(
    ("name", "found"),
    [("quality_treshold", True), ("QualityThreshold", True), ("Messages", True), ("asahi_cache", True), ("asahi", True),
     ("top_k", False), ("min_p", False), ("documents", False), ("cache_salt", False), ("q" * 5000, False)],
)  # fmt: skip
def test_only_what_looks_like_ours_is_misspelt(name, found):
    ours = frozenset(AsahiFields.__struct_fields__)
    assert misspelt(name, frozenset({"messages", "model"}), ours) is found


def test_names_far_from_all_have_no_nearest():
    assert nearest("zzz", frozenset({"prompt", "model"})) is None
