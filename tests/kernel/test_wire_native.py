"""`POST /infer` decoded and encoded, without a gateway."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from asahi_kernel.answer import Alternative, Answer, Bill, Route
from asahi_kernel.errors import AsahiError, Exhausted, Invalid, ProviderFailed
from asahi_kernel.types import Completion, Document, Example, Hit, Message, Usage
from asahi_kernel.wire import native
from asahi_kernel.wire.headers import answer_headers, header_value

LIMIT = 2**31 - 1


def decode(headers=None, /, **fields):
    return native.decode(json.dumps({"prompt": "hello", **fields}).encode(), headers or {})


def refusal(headers=None, /, **fields) -> AsahiError:
    with pytest.raises(AsahiError) as caught:
        decode(headers, **fields)
    return caught.value


def answer(**changes) -> Answer:
    given = {
        "request_id": "01K7Q2M9B3X5T8D0WZ4F6H1JRC",
        "timestamp": datetime(2026, 11, 2, 8, 30, tzinfo=UTC),
        "completion": Completion(text="Paris", model="claude-3-5-haiku", provider="anthropic"),
        "usage": Usage(1240, 118, cached_tokens=40, reasoning_tokens=8),
        "bill": Bill(cost=1_830_000, baseline_cost=15_940_000, saved=14_110_000, saved_by={"routing": 14_110_000}),
        "route": Route(mode="guided", reason="cheapest of 2", difficulty="medium", predicted_quality=3.8),
        "billed_tokens": 1358,
        "techniques": ("routing",),
        "latency_ms": 412.0,
        "ttft_ms": 96.0,
        "breakdown": {"admission": 1.0, "inference": 411.0},
        "attempts": 1,
    }
    return Answer(**{**given, **changes})


def test_a_prompt_alone_is_enough():
    request = decode().request
    assert request.messages == (Message("user", "hello"),)
    assert (request.model, request.max_tokens, request.terms.mode) == (None, 1024, "autopilot")


def test_system_prompt_and_history_come_before_the_prompt():
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    request = decode(system_prompt="be brief", history=history).request
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "be brief"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "hello"),
    ]


def test_an_empty_system_prompt_is_none():
    assert decode(system_prompt="").request == decode().request


def test_document_and_examples_stay_apart_from_the_messages():
    request = decode(document="text", document_id="policy-1", examples=[{"input": "a", "output": "b"}]).request
    assert request.document == Document("text", "policy-1")
    assert request.examples == (Example("a", "b"),)
    assert len(request.messages) == 1


@pytest.mark.parametrize(
    ("fields", "mode", "model"),
    [
        ({}, "autopilot", None),
        ({"model": "auto"}, "autopilot", None),
        ({"model": "gpt-4o"}, "explicit", "gpt-4o"),
        ({"model_override": "gpt-4o"}, "explicit", "gpt-4o"),
        ({"model": "auto", "model_override": "gpt-4o"}, "explicit", "gpt-4o"),
        ({"model": "gpt-4o", "model_override": "gpt-4o"}, "explicit", "gpt-4o"),
        ({"model": "gpt-4o", "routing_mode": "autopilot"}, "autopilot", "gpt-4o"),
        ({"quality_preference": "high"}, "guided", None),
        ({"latency_preference": "fast"}, "guided", None),
        ({"latency_preference": "fast", "model": "gpt-4o"}, "explicit", "gpt-4o"),
    ],
)
def test_the_mode_follows_from_model_and_preferences_unless_stated(fields, mode, model):
    asked = decode(**fields)
    assert (asked.request.terms.mode, asked.request.model) == (mode, model)
    assert asked.mode_stated is ("routing_mode" in fields)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text", b""),
        ("json_object", b'{"type":"json_object"}'),
        (
            {"json_schema": {"type": "object"}},
            b'{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"}}}',
        ),
        (
            {"json_schema": {"name": "a", "strict": True, "schema": {}}},
            b'{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{}}}',
        ),
    ],
)
def test_a_response_format_becomes_openais_form(given, kept):
    assert decode(response_format=given).request.response_format == kept


def test_everything_else_reaches_its_place():
    asked = decode(
        temperature=0.5, top_p=1, stop=["\n"], cost_budget=0.002, tags={"team": "a b"}, user_id="ana",
        organization_id="acme", deadline_s=600, dry_run=True, cache="refresh", task_type="legal", task_id="t 1",
        semantic_cache=False, similarity_threshold=0.9, optimize_tokens=True, stream=True,
    )  # fmt: skip
    request, terms = asked.request, asked.request.terms
    assert (request.temperature, request.top_p, request.stop, request.optimize_tokens) == (0.5, 1.0, ("\n",), True)
    assert (terms.cost_budget, terms.tags, terms.dry_run, terms.cache) == (2_000_000, {"team": "a b"}, True, "refresh")
    assert (terms.task_type, terms.task_id, terms.semantic_cache, terms.stream) == ("legal", "t 1", False, True)
    assert (asked.user_id, asked.organization_id, asked.deadline_s) == ("ana", "acme", 600)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_tokens", -1, "an integer from 1 to 2147483647"),
        ("max_tokens", 0, "from 1 to"),
        ("max_tokens", LIMIT + 1, "from 1 to"),
        ("max_tokens", 2**63, "from 1 to"),
        ("max_tokens", 2**200, "from 1 to"),
        ("max_tokens", 1.0, "an integer"),
        ("max_tokens", True, "an integer"),
        ("max_tokens", "5", "an integer"),
        ("max_tokens", None, "an integer"),
        ("temperature", -1, "a number from 0 to 2"),
        ("temperature", 3, "a number from 0 to 2"),
        ("temperature", True, "a number"),
        ("temperature", "NaN", "a number"),
        ("temperature", 10**400, "a number"),
        ("top_p", 1.1, "from 0 to 1"),
        ("quality_threshold", 5.1, "from 0 to 5"),
        ("quality_threshold", -0.1, "from 0 to 5"),
        ("latency_budget_ms", 49, "from 50 to 30000"),
        ("latency_budget_ms", 30_001, "from 50 to 30000"),
        ("cost_budget", -0.01, "from 0 to 10000"),
        ("cost_budget", 10_001, "from 0 to 10000"),
        ("similarity_threshold", 0.4, "from 0.5 to 1"),
        ("deadline_s", 599, "from 600 to 86400"),
        ("prompt", "", "a string of 1 to 100000 characters"),
        ("prompt", "x" * 100_001, "a string of 1 to 100000 characters"),
        ("prompt", "\u0301" * 1_000_000, "a string of 1 to 100000 characters"),
        ("prompt", None, "a string"),
        ("system_prompt", "x" * 50_001, "at most 50000 characters"),
        ("document", "", "of 1 to 1000000"),
        ("document", "x" * 1_000_001, "of 1 to 1000000"),
        ("history", [{"role": "user", "content": "x"}] * 201, "a list of at most 200 items"),
        ("examples", [{"input": "x", "output": "y"}] * 51, "a list of at most 50 items"),
        ("stop", ["a"] * 5, "a list of at most 4 items"),
        ("stop", "a", "a list"),
        ("routing_mode", "fast", "one of 'autopilot', 'explicit', 'guided'"),
        ("task_type", "cooking", "one of 'classification', 'coding', 'creative', 'extraction', 'faq', 'general'"),
        ("on_no_route", "x", "one of 'best_effort', 'refuse'"),
        ("cache", "x", "one of 'off', 'on', 'refresh'"),
        ("semantic_cache", 1, "true or false"),
        ("stream", "yes", "true or false"),
        ("response_format", "xml", "one of 'json_object', 'text' or an object"),
        ("tags", {"a": 5}, "at most 512 characters"),
        ("tags", {str(n): "" for n in range(17)}, "an object of at most 16 members"),
        ("task_id", "", "1 to 128 characters"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_allowed_range(field, value, words):
    error = refusal(**{field: value})
    assert (error.status, error.code) == (400, "invalid_request")
    assert error.message.startswith(f"`{field}")
    assert words in error.message
    assert error.param is not None
    assert error.param.startswith(field)


@pytest.mark.parametrize("edge", [{"max_tokens": 1}, {"max_tokens": LIMIT}, {"temperature": 2}, {"cost_budget": 0},
    {"quality_threshold": 5}, {"latency_budget_ms": 50}, {"prompt": "x" * 100_000}, {"tags": {"k" * 64: "v" * 512}},
    {"document": "d", "document_id": "Az0._:-" * 18}])  # fmt: skip
def test_the_edge_of_a_range_is_inside(edge):
    decode(**edge)


@pytest.mark.parametrize("prompt", [" ", " \n\t", "\u200b", "\u200b\u2060 \ufeff", "\u3000"])
def test_a_blank_prompt_is_refused(prompt):
    assert refusal(prompt=prompt).param == "prompt"


def test_a_missing_prompt_is_named():
    with pytest.raises(Invalid, match="`prompt` is required"):
        native.decode(b"{}", {})


@pytest.mark.parametrize("body", [b"[]", b'"prompt"', b"5", b"null"])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(Invalid, match="JSON object"):
        native.decode(body, {})


@pytest.mark.parametrize(
    ("fields", "param", "meant"),
    [
        ({"promt": "x"}, "promt", "prompt"),
        ({"Prompt": "x"}, "Prompt", "prompt"),
        ({"maxTokens": 5}, "maxTokens", "max_tokens"),
        ({"quality_treshold": 1}, "quality_treshold", "quality_threshold"),
        ({"history": [{"role": "user", "contents": "x", "content": "x"}]}, "history[0].contents", "content"),
        ({"examples": [{"input": "a", "ouput": "b"}]}, "examples[0].ouput", "output"),
        ({"response_format": {"json_schema": {}, "kind": 1}}, "response_format.kind", None),
        ({"seed": 5}, "seed", None),
        ({"x" * 10_000: 5}, "x" * 64 + "…", None),
    ],
)
def test_an_unknown_field_is_refused_with_its_path_and_the_nearest_name(fields, param, meant):
    error = refusal(**fields)
    assert (error.code, error.param) == ("unknown_field", param)
    assert meant is None or f"did you mean `{meant}`" in error.message
    assert len(error.message) < 300


def test_a_name_made_to_confuse_the_message_is_cut():
    error = refusal(**{"x` - at `$.a" * 30_000: 5})
    assert error.code == "unknown_field"
    assert len(error.message) < 200


@pytest.mark.parametrize("field", ["quality_preference", "latency_preference"])
def test_an_unknown_preference_has_a_code_of_its_own(field):
    error = refusal(**{field: "best"})
    assert error.code == "invalid_preference"
    assert "one of '" in error.message


def test_explicit_mode_needs_a_model():
    assert refusal(routing_mode="explicit").code == "model_required"
    assert refusal(routing_mode="explicit", model="auto").code == "model_required"


def test_two_names_of_the_model_must_agree():
    assert refusal(model="a", model_override="b").code == "conflicting_fields"


def test_a_document_id_without_a_document_is_refused():
    assert refusal(document_id="x").param == "document_id"


ODD_IDS = ["../x", "a/b", "Ａcme", "аcme", "ﬁn", "a\u200b", "\u202ea", "a ", "a.", "a" * 64, "*", "?", "[", "{t}", ":",
    "%", "a\n", "\n", "__proto__", "' OR 1=1", "$where", "${}", "{{7*7}}", "-1", "Acme", "", "_a"]  # fmt: skip


@pytest.mark.parametrize("field", ["user_id", "organization_id"])
@pytest.mark.parametrize("value", ODD_IDS)
def test_an_odd_id_is_refused(field, value):
    error = refusal(**{field: value})
    assert (error.code, error.param) == ("invalid_request", field)


@pytest.mark.parametrize("value", ["null", "con", "0", "a" * 63, "a-b_c"])
def test_an_id_that_only_looks_special_is_an_ordinary_one(value):
    assert decode(user_id=value).user_id == value


@pytest.mark.parametrize(
    "value", ["a\n", "a\nb", "../x", "a/../b", "*", "a?", "<script>", "a b", "a\x7f", "", "x" * 256]
)
def test_an_odd_model_name_is_refused(value):
    assert refusal(model=value).param == "model"


@pytest.mark.parametrize(
    "value", ["gpt-4o", "meta-llama/Llama-3.1-8B-Instruct", "anthropic.claude-v1:0", "@cf/x/y", "ft:gpt-4o:org::id"]
)
def test_a_vendors_model_name_is_accepted(value):
    assert decode(model=value).request.model == value


@pytest.mark.parametrize("value", ["a\n", "../x", "a/b", "*", "<script>", "", "x" * 129])
def test_an_odd_document_id_is_refused(value):
    assert refusal(document="d", document_id=value).param == "document_id"


ODD_TAGS = [("a\n", "x"), ("../a", "x"), ("*", "x"), ("<b>", "x"), ("", "x"), ("k" * 65, "x"), ("a", "x\ny"),
    ("a", "../x"), ("a", "*"), ("a", "<script>"), ("a", "{{7*7}}"), ("a", "${x}"), ("a", "v" * 513)]  # fmt: skip


@pytest.mark.parametrize("tag", ODD_TAGS)
def test_an_odd_tag_is_refused(tag):
    assert refusal(tags=dict([tag])).param.startswith("tags")


def test_the_response_object_holds_every_field():
    got = json.loads(native.encode(answer()))
    assert got["response"] == "Paris"
    assert got["timestamp"] == "2026-11-02T08:30:00Z"
    assert (got["cost"], got["baseline_cost"], got["saved"]) == (0.00183, 0.01594, 0.01411)
    assert (got["cost_savings_percent"], got["saved_by"]) == (88.52, {"routing": 0.01411})
    assert (got["tokens_input"], got["tokens_total"], got["tokens_cached"], got["tokens_billed"]) == (
        1240,
        1358,
        40,
        1358,
    )
    assert got["cache"] == {"hit": False, "tier": 0}
    assert got["cache_tier"] == 0
    assert got["latency_breakdown"] == {
        "admission": 1.0, "cache_lookup": 0.0, "routing": 0.0, "inference": 411.0, "post_processing": 0.0,
        "total": 412.0,
    }  # fmt: skip
    assert set(got) == {
        "request_id", "response_id", "timestamp", "response", "model_used", "provider", "finish_reason", "routing_mode",
        "routing_reason", "task_type_detected", "task_confidence", "difficulty", "predicted_quality", "fallback_used",
        "relaxed", "alternatives", "tokens_input", "tokens_output", "tokens_total", "tokens_cached", "tokens_reasoning",
        "tokens_billed", "cost", "baseline_cost", "overhead_cost", "saved", "cost_savings_percent", "baseline_model",
        "price_version", "price_known", "saved_by", "cache_hit", "cache_tier", "cache", "optimization_techniques",
        "optimization", "features_used", "steps", "latency_ms", "ttft_ms", "latency_breakdown", "attempts", "warnings",
    }  # fmt: skip


def test_a_hit_tells_where_it_came_from():
    stored = Completion(text="Paris", model="gpt-4o", provider="openai")
    hit = Hit(completion=stored, tier=2, entry_id="e1", age_s=3.0, similarity=0.93, user="ana")
    got = json.loads(native.encode(answer(hit=hit, completion=stored, billed_tokens=0, cache_status="t2")))
    assert got["cache"] == {"hit": True, "tier": 2, "similarity": 0.93, "entry_id": "e1", "age_s": 3.0}
    assert (got["cache_hit"], got["cache_tier"], got["tokens_billed"]) == (True, 2, 0)


def test_an_unknown_price_is_null_and_never_zero():
    got = json.loads(native.encode(answer(bill=Bill(cost=None, baseline_cost=5))))
    assert (got["cost"], got["price_known"], got["cost_savings_percent"]) == (None, False, None)


def test_alternatives_are_in_dollars():
    other = Alternative(
        model="a", estimated_cost=1_000, estimated_quality=4.0, estimated_latency_ms=80, savings_percent=None
    )
    got = json.loads(native.encode(answer(route=Route(mode="explicit", reason="named", alternatives=(other,)))))
    assert got["alternatives"][0]["estimated_cost"] == 0.000001


def test_a_stream_is_deltas_and_one_done_without_the_text():
    assert native.encode_delta('a"\n') == b'event: delta\ndata: {"text":"a\\"\\n"}\n\n'
    done = native.encode_done(answer())
    assert done.startswith(b"event: done\ndata: {")
    assert done.endswith(b"}\n\n")
    assert "response" not in json.loads(done.split(b"data: ")[1])


def test_a_problem_says_what_where_and_when_to_retry():
    error = Exhausted("spent", code="budget_exceeded", retry_after=1.2, details={"limit": 5})
    assert json.loads(native.problem(error, "01K")) == {
        "error": "budget_exceeded", "message": "spent", "request_id": "01K", "details": {"limit": 5},
        "retry_after_seconds": 2, "type": "about:blank", "title": "Budget exceeded", "status": 429,
    }  # fmt: skip
    assert json.loads(native.problem(Invalid("no", param="n"), "01K"))["details"] == {"param": "n"}


def test_a_failed_stream_ends_with_one_error_event():
    event = native.encode_error_event(ProviderFailed("all failed"), "01K")
    assert event.startswith(b"event: error\ndata: ")
    assert json.loads(event.split(b"data: ")[1])["error"] == "provider_error"


def test_details_that_json_does_not_know_are_told_as_text():
    error = Exhausted("spent", details={"who": msgspec})
    assert b"module" in native.problem(error, "01K")


def test_answer_headers_are_plain_decimals():
    headers = dict(answer_headers(answer(bill=Bill(cost=1, baseline_cost=2_500_000_000, saved=-3))))
    assert headers[b"x-asahi-request-id"] == headers[b"x-request-id"] == b"01K7Q2M9B3X5T8D0WZ4F6H1JRC"
    assert headers[b"x-asahi-cost"] == b"0.000000001"
    assert (headers[b"x-asahi-baseline-cost"], headers[b"x-asahi-saved"]) == (b"2.5", b"-0.000000003")
    assert (headers[b"x-asahi-model"], headers[b"x-asahi-cache"]) == (b"claude-3-5-haiku", b"miss")


def test_unknown_money_reads_unknown_in_headers():
    headers = dict(answer_headers(answer(bill=Bill(cost=None))))
    assert headers[b"x-asahi-cost"] == headers[b"x-asahi-saved"] == b"unknown"


def test_a_name_cannot_break_out_of_its_header():
    assert header_value("a\r\nset-cookie: x é") == b"a??set-cookie: x ?"
