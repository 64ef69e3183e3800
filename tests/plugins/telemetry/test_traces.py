"""Traces reach a collector as OTLP, with what they should say and nothing of what was said."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.e2e.served import gateway, upstream
from tests.plugins.telemetry.collecting import collecting, told

from asahi_kernel.tracing import span_id, trace_id

SECRET = "the-prompt-that-nobody-may-see"
PRICES = {"cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015}
MODELS = [{"name": "m", "provider": "openai", **PRICES}, {"name": "far", "provider": "vendor", **PRICES}]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
UNWANTED = TRACE[::-1]
CALLERS = {
    "continued": {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "acme=t61rc,b=2"},
    "unsampled": {"traceparent": f"00-{UNWANTED}-{SPAN}-00"},
    "malformed": {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01", "tracestate": "acme=t61rc"},
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    bodies = folder / "bodies.jsonl"
    with collecting() as collector, upstream(folder, "--bodies", str(bodies)) as (vendor, _):
        provider = {"api_key": "sk-test", "base_url": f"{vendor.url}/v1", "max_retries": 1, "backoff_base_s": 0.01}
        tree = {"auth": "open", "storage": "memory", "governance": {"policies": []}, "models": MODELS}
        tree |= {"observability": {"trace_sample_rate": 1.0}}
        tree["providers"] = {"openai": {**provider, "trace_context": True}, "vendor": {"type": "openai", **provider}}
        with gateway(
            folder, tree, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_COMPRESSION="none"
        ) as process:
            prompts = (SECRET, SECRET, f"[[fakeup: status=500]] {SECRET}")
            ids = [ask(process.url, prompt) for prompt in prompts]
            for name, headers in CALLERS.items():
                for model in ("m", "far"):
                    ids.append(ask(process.url, f"{SECRET} {name}", model, **headers))
            collector.heard = [json.loads(line) for line in bodies.read_text().splitlines()]
            for _ in range(100):
                roots = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
                if len(roots) == len(ids) - 2:
                    break
                time.sleep(0.1)
            time.sleep(0.6)  # one that nobody wants would be here by now
            collector.log = process.printed()
            yield collector, ids


def ask(url, prompt, model="m", **headers):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]}).encode()
    headers["content-type"] = "application/json"
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    try:
        return urllib.request.urlopen(request, timeout=20).headers["x-asahi-request-id"]
    except urllib.error.HTTPError as error:
        return error.headers["x-asahi-request-id"]


def trace_of(traced, number):
    collector, ids = traced
    return [span for span in collector.spans if span.trace_id.hex() == trace_id(ids[number])]


def root_of(spans):
    (root,) = [span for span in spans if not span.parent_span_id]
    return root


def test_a_trace_is_one_server_span_with_its_stages_and_calls(traced):
    spans = trace_of(traced, 0)
    root = root_of(spans)
    assert (root.name, root.kind) == ("POST /v1/chat/completions", Span.SPAN_KIND_SERVER)
    assert {span.parent_span_id for span in spans} == {b"", root.span_id}
    assert len({span.span_id for span in spans}) == len(spans)
    assert {"asahi.admit", "asahi.recall", "asahi.route", "asahi.settle", "chat m"} <= {span.name for span in spans}
    for span in spans:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    assert "/v1/traces" in {path for path, _ in traced[0].bodies}


def test_a_call_has_the_attributes_of_generative_ai(traced):
    (call,) = [span for span in trace_of(traced, 0) if span.kind == Span.SPAN_KIND_CLIENT]
    found = told(call)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == "m"
    assert found["gen_ai.usage.output_tokens"] > 0
    root = told(root_of(trace_of(traced, 0)))
    assert root["asahi.request_id"] == traced[1][0]
    assert root["asahi.cost_usd"] == found["asahi.cost_usd"] > 0
    assert root["asahi.org"] != "default"


def test_a_hit_calls_nobody(traced):
    spans = trace_of(traced, 1)
    assert not [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert told(root_of(spans))["asahi.cache.tier"] == 1


def test_each_failed_call_is_an_error(traced):
    calls = [span for span in trace_of(traced, 2) if span.kind == Span.SPAN_KIND_CLIENT]
    assert [told(each)["error.type"] for each in calls] == ["http_500"] * 2
    assert [told(each)["asahi.attempt"] for each in calls] == [1, 2]
    assert root_of(trace_of(traced, 2)).status.code == 2


def test_no_prompt_and_no_answer_is_in_a_trace(traced):
    collector, ids = traced
    whole = b"".join(body for _, body in collector.bodies)
    assert all(each.encode() in whole for each in ids[:3]), "or the test could not read them"
    assert SECRET.encode() not in whole


def heard_of(traced, name, model):
    """What the host was told of the trace of that caller's call."""
    collector, _ = traced
    (found,) = [
        each["trace"]
        for each in collector.heard
        if f"{SECRET} {name}" in each["body"] and json.loads(each["body"])["model"] == model
    ]
    return found


def test_a_trace_of_a_caller_is_continued(traced):
    collector, ids = traced
    spans = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    roots = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    assert {told(span)["asahi.request_id"] for span in roots} == {ids[3], ids[4]}
    for root in roots:
        assert root.parent_span_id.hex() == SPAN
        assert root.trace_state == "acme=t61rc,b=2"
        children = [span for span in spans if span.parent_span_id == root.span_id]
        assert sum(span.kind == Span.SPAN_KIND_CLIENT for span in children) == 1


def test_a_host_of_ones_own_is_told_that_it_is_called_by_our_span(traced):
    collector, ids = traced
    found = heard_of(traced, "continued", "m")
    assert found == {"traceparent": f"00-{TRACE}-{span_id(ids[3], 'attempt 1')}-01", "tracestate": "acme=t61rc,b=2"}
    (call,) = [span for span in collector.spans if span.span_id.hex() == span_id(ids[3], "attempt 1")]
    assert call.kind == Span.SPAN_KIND_CLIENT
    own = trace_id(ids[7])
    assert heard_of(traced, "malformed", "m") == {"traceparent": f"00-{own}-{span_id(ids[7], 'attempt 1')}-01"}


def test_a_vendor_is_told_nothing_unless_the_operator_says_so(traced):
    assert [heard_of(traced, name, "far") for name in CALLERS] == [{}, {}, {}]


def test_what_a_caller_does_not_want_sampled_is_not_and_says_so(traced):
    collector, _ = traced
    assert UNWANTED not in {span.trace_id.hex() for span in collector.spans}
    assert heard_of(traced, "unsampled", "m")["traceparent"].startswith(f"00-{UNWANTED}-")
    assert heard_of(traced, "unsampled", "m")["traceparent"].endswith("-00")


def test_a_malformed_context_is_ignored(traced):
    root = root_of(trace_of(traced, 7))
    assert root.trace_state == ""
    assert told(root)["asahi.request_id"] == traced[1][7]


def test_the_log_names_the_trace(traced):
    collector, ids = traced
    lines = [json.loads(line) for line in collector.log.splitlines()]
    found = {line["request_id"]: line["trace_id"] for line in lines if line["logger"] == "asahi.access"}
    assert found[ids[3]] == TRACE
    assert found[ids[0]] == trace_id(ids[0])
    assert SECRET not in collector.log
