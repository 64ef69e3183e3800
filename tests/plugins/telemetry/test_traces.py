"""Traces reach a collector as OTLP, with what they should say and nothing of what was said."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.e2e.served import gateway, upstream

from asahi_telemetry.spans import sampled, trace_id

SECRET = "the-prompt-that-nobody-may-see"
MODEL = {"name": "m", "provider": "openai", "cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015}


class Collector(ThreadingHTTPServer):
    """Takes OTLP messages, as a real collector does."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Taking)
        self.bodies = []

    @property
    def spans(self):
        messages = [ExportTraceServiceRequest.FromString(body) for _, body in self.bodies]
        scopes = [scope for each in messages for whole in each.resource_spans for scope in whole.scope_spans]
        return [span for scope in scopes for span in scope.spans]


class Taking(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *told):
        pass


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    with upstream(folder) as (vendor, _):
        provider = {"api_key": "sk-test", "base_url": f"{vendor.url}/v1", "max_retries": 1, "backoff_base_s": 0.01}
        tree = {"auth": "open", "storage": "memory", "governance": {"policies": []}, "models": [MODEL]}
        tree |= {"providers": {"openai": provider}, "observability": {"trace_sample_rate": 1.0}}
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        with gateway(
            folder, tree, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="none"
        ) as process:
            prompts = (SECRET, SECRET, f"[[fakeup: status=500]] {SECRET}")
            ids = [ask(process.url, prompt) for prompt in prompts]
            for _ in range(100):
                if len({span.trace_id for span in collector.spans}) == len(ids):
                    break
                time.sleep(0.1)
            yield collector, ids
    collector.shutdown()
    collector.server_close()


def ask(url, prompt):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"content-type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=20).headers["x-asahi-request-id"]
    except urllib.error.HTTPError as error:
        return error.headers["x-asahi-request-id"]


def trace_of(traced, number):
    collector, ids = traced
    return [span for span in collector.spans if span.trace_id == trace_id(ids[number]).to_bytes(16)]


def told(span):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


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
    assert traced[0].bodies[0][0] == "/v1/traces"


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
    assert all(each.encode() in whole for each in ids), "or the test could not read them"
    assert SECRET.encode() not in whole


def test_a_share_is_a_share():
    ids = [trace_id(f"request-{number}") for number in range(20_000)]
    assert 1_800 < sum(sampled(each, 0.1) for each in ids) < 2_200
    assert all(sampled(each, 1.0) for each in ids)
    assert not any(sampled(each, 0.0) for each in ids)
