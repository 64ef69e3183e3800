"""Four workers behind one port: what Prometheus reads is what `GET /metrics` says, to the nano-dollar, and only the
operator may read it."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from tests.e2e.served import gateway, upstream

TOKEN = "scrape-token-0123456789abcdef"
KEYS = {
    "operator": {"key": "key-of-the-operator-0123456789abcdef", "org": "default", "role": "admin"},
    "watcher": {"key": "key-of-a-watcher-0123456789abcdefghi", "org": "default", "role": "viewer"},
    "acme": {"key": "key-of-acme-0123456789abcdefghijklmn", "org": "acme", "role": "admin"},
}
ORGS = ("operator", "acme")
FAILING = "[[fakeup: status=500]]"
MODEL = {"provider": "openai", "cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.0151}
TREE = {
    "auth": {"type": "static", "keys": [{**each, "user": name} for name, each in KEYS.items()]},
    "api": {"workers": 4},
    "governance": {"policies": []},
    "observability": {"scrape_token": TOKEN},
    "models": [{"name": "m", **MODEL}, {"name": "unpriced", "provider": "openai"}],
}
ANY = "text/plain"
#: A model that there is not is refused before anything is asked: ten of 500 never become requests.
SETTLED = 490


class Client:
    def __init__(self, url):
        self.url = url

    def __call__(self, who, path, body=None, accept=None, scheme="Bearer"):
        key = KEYS[who]["key"] if who in KEYS else who
        headers = {"content-type": "application/json", "connection": "close"}
        headers |= {"authorization": f"{scheme} {key}"} if key else {}
        headers |= {"accept": accept} if accept else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()


def ask(call, number):
    """One of 500: new questions, known ones, streams, failures, refusals and models without a price, of two orgs."""
    who, turn = ORGS[number % 2], number // 2
    prompt = {0: f"question {turn}", 1: "the same question", 2: f"{FAILING} {turn}", 3: f"how is {turn}"}[turn % 4]
    model = "unpriced" if turn % 10 == 3 else "nobody" if turn % 50 == 5 else "m"
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": turn % 8 == 4}
    return call(who, "/v1/chat/completions", body)[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("telemetry")
    with upstream(folder) as (vendor, _):
        provider = {"api_key": "sk-test", "base_url": f"{vendor.url}/v1", "max_retries": 0}
        provider["breaker"] = {"consecutive_failures": 1_000, "min_calls": 100_000}
        with gateway(folder, {**TREE, "providers": {"openai": provider}}) as process:
            process.call = Client(process.url)
            with ThreadPoolExecutor(8) as pool:
                statuses = list(pool.map(lambda number: ask(process.call, number), range(500)))
            assert {200, 502} < set(statuses) <= {200, 400, 404, 422, 502}, set(statuses)
            yield process


def samples(text, parse=plain):
    return [sample for family in parse(text) for sample in family.samples]


def decimals(text, name):
    """Values of a metric by its first label, as they are written."""
    found = {}
    for line in text.splitlines():
        if line.startswith((f"{name}{{", f"{name} ")):
            labels, value = line.removeprefix(name).rsplit(" ", 1)
            first = labels.partition('"')[2].partition('"')[0]
            found[first] = found.get(first, Decimal(0)) + Decimal(value)
    return found


def scraped(call, requests=SETTLED):
    """The exposition, once all workers have told the one that is asked."""
    for _ in range(60):
        text = call(TOKEN, "/analytics/prometheus")[2]
        if sum(decimals(text, "asahi_requests_total").values()) >= requests:
            return text
        time.sleep(0.1)
    raise AssertionError(decimals(text, "asahi_requests_total"))


def summed(told, name):
    return sum(Decimal(repr(each[name])).quantize(Decimal("1e-9")) for each in told)


def test_the_sums_of_four_workers_are_those_of_storage_to_the_nano_dollar(served):
    text = scraped(served.call)
    told = [json.loads(served.call(who, "/metrics?period=all")[2]) for who in ORGS]
    assert decimals(text, "asahi_workers") == {"": 4}
    assert sum(decimals(text, "asahi_requests_total").values()) == sum(each["requests"] for each in told) == SETTLED
    for name, field in (("cost", "total_cost"), ("baseline", "baseline_cost"), ("overhead", "overhead_cost")):
        assert sum(decimals(text, f"asahi_{name}_dollars_total").values()) == summed(told, field), name
    assert summed(told, "total_cost") > Decimal("0.01")
    assert sum(decimals(text, "asahi_savings_dollars").values()) == summed(told, "absolute_savings")
    by_model = decimals(text, "asahi_cost_dollars_total")
    assert by_model["m"] == summed([each["cost_by_model"] for each in told], "m")
    techniques = decimals(text, "asahi_savings_dollars")
    for technique in {name for each in told for name in each["saved_by"]}:
        assert techniques[technique] == summed([{technique: 0.0, **each["saved_by"]} for each in told], technique)
    assert decimals(text, "asahi_unpriced_requests_total")[""] == sum(each["unpriced_requests"] for each in told) > 0
    assert decimals(text, "asahi_errors_total")["provider_error"] == sum(each["errors"] for each in told) > 50
    for tier in "123":
        assert decimals(text, "asahi_cache_hits_total").get(tier, 0) == sum(each[f"tier{tier}_hits"] for each in told)
        misses = sum(each[f"tier{tier}_misses"] for each in told)
        assert decimals(text, "asahi_cache_misses_total").get(tier, 0) == misses
    assert decimals(text, "asahi_cache_hits_total")["1"] > 50


def test_what_is_read_at_the_moment_of_the_scrape_is_there(served):
    names = {sample.name for sample in samples(scraped(served.call))}
    for name in (
        *("journal_bytes", "journal_lag_seconds", "dead_letters", "inflight", "queue_depth", "event_loop_lag_ms"),
        *("breaker_state", "cache_entries", "cache_bytes", "build_info", "cache_hit_rate"),
    ):
        assert f"asahi_{name}" in names, name


def test_counters_of_a_killed_worker_are_kept(served):
    before = decimals(scraped(served.call), "asahi_cost_dollars_total")
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    workers = [int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]
    assert len(workers) == 4
    time.sleep(1.2)  # each has told the others
    os.kill(workers[0], signal.SIGKILL)
    for _ in range(100):
        text = scraped(served.call)
        assert decimals(text, "asahi_cost_dollars_total") == before
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
        if str(workers[0]) not in children and decimals(text, "asahi_workers") == {"": 4}:
            return
        time.sleep(0.2)
    raise AssertionError(text)


@pytest.mark.parametrize("path", ["/analytics/prometheus", "/metrics"])
def test_only_the_operator_and_the_token_may_scrape(served, path):
    assert [served.call(who, path, accept=ANY)[0] for who in (TOKEN, "operator", "watcher", "acme")] == [
        *(200, 200),
        *(403, 403),
    ]
    for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü" * 9):
        assert served.call(wrong.encode().decode("latin-1"), path, accept=ANY)[0] == 401
    assert served.call("", path, accept=ANY)[0] == 401
    assert served.call(TOKEN, path, accept=ANY, scheme="Basic")[0] == 401


@pytest.mark.parametrize("path", ["/metrics", "/models", "/governance/tenants", "/analytics/summary", "/cache/stats"])
def test_the_token_opens_nothing_else(served, path):
    assert served.call(TOKEN, path)[0] == 401
    assert served.call(TOKEN, path, accept="application/json")[0] == 401


def test_the_token_asks_no_model(served):
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    assert served.call(TOKEN, "/v1/chat/completions", body, accept=ANY)[0] == 401


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html, image/gif", "application/json"),
        ("text/plain;q=nonsense", "application/json"),
        ("text/plain;q=0", "application/json"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.2",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_metrics_answers_as_it_is_asked(served, accept, kind):
    status, headers, text = served.call("operator", "/metrics", accept=accept)
    assert (status, headers["Content-Type"], headers["Vary"].lower()) == (200, kind, "accept")
    if "openmetrics" in kind:
        assert text.endswith("# EOF\n")
        assert len(samples(text, openmetrics)) > 50
    elif kind == "application/json":
        assert json.loads(text)["requests"] == SETTLED // 2
    else:
        assert len(samples(text)) > 50


def test_the_other_address_is_always_the_older_text(served):
    status, headers, _ = served.call(TOKEN, "/analytics/prometheus", accept="application/openmetrics-text")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
