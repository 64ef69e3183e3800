"""OpenTelemetry's metrics: what they say is what the vendor's own ledger says, each worker for itself."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.served import gateway, rows, upstream
from tests.plugins.telemetry.collecting import collecting, told

from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import Gateway
from asahi_kernel.records import Attempt
from asahi_kernel.settings import Observability, Settings
from asahi_kernel.testing.samples import event
from asahi_kernel.types import Usage
from asahi_telemetry.config import MetersConfig
from asahi_telemetry.distributions import MOST, Distributions
from asahi_telemetry.meters import DURATION, TOKENS, opened

pytestmark = pytest.mark.anyio
PRICES = {"cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015}
SECRET = "the-prompt-that-nobody-may-see"
ASKED = 40
CALL = Attempt(n=1, provider="mock", model="m", outcome="ok", usage=Usage(3, 4), billed=True)


def ask(url, number):
    fault = "[[fakeup: status=500]] " if number % 10 == 0 else "[[fakeup: no_usage]] " if number % 10 == 1 else ""
    body = {"model": "m", "messages": [{"role": "user", "content": f"{fault}{SECRET} {number}"}]}
    headers = {"content-type": "application/json", "connection": "close"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=20).read()
    except urllib.error.HTTPError as error:
        error.read()


@pytest.fixture(scope="module")
def metered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meters")
    with collecting() as collector, upstream(folder) as (vendor, ledger):
        provider = {"api_key": "sk-test", "base_url": f"{vendor.url}/v1", "max_retries": 0}
        provider["breaker"] = {"consecutive_failures": 1_000, "min_calls": 100_000}
        tree = {
            "auth": "open",
            "governance": {"policies": []},
            "models": [{"name": "m", "provider": "openai", **PRICES}],
        }
        tree |= {"providers": {"openai": provider}, "api": {"workers": 2}, "observability": {"trace_sample_rate": 0}}
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRIC_EXPORT_INTERVAL": "200"}
        environment |= {"OTEL_EXPORTER_OTLP_COMPRESSION": "none", "OTEL_SERVICE_NAME": "the-gateway"}
        with gateway(folder, tree, **environment) as process:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: ask(process.url, number), range(ASKED)))
            for _ in range(100):
                if sum(point.count for point in points(collector, DURATION.name)) == ASKED:
                    break
                time.sleep(0.1)
            yield collector, rows(ledger)


def latest(collector):
    """The last message of each instance."""
    return {resource["service.instance.id"]: (resource, metrics) for resource, metrics in collector.metrics}


def points(collector, name):
    found = [metric for _, metrics in latest(collector).values() for metric in metrics if metric.name == name]
    return [point for metric in found for point in metric.histogram.data_points]


def test_calls_are_counted_once_over_all_workers_and_by_how_they_ended(metered):
    collector, _ = metered
    ended = Counter()
    for point in points(collector, DURATION.name):
        found = told(point)
        assert found["gen_ai.operation.name"] == "chat"
        assert found["gen_ai.provider.name"] == "openai"
        assert found["gen_ai.request.model"] == "m"
        assert list(point.explicit_bounds) == list(DURATION.bounds)
        assert sum(point.bucket_counts) == point.count
        assert 0 < point.min <= point.sum / point.count <= point.max < 20
        ended[found.get("error.type")] += point.count
    assert ended == {None: 36, "http_500": 4}


def test_tokens_are_those_that_the_vendor_counted(metered):
    collector, booked = metered
    counted = [row for row in booked if row["status"] == 200 and row["usage"] is not None]
    sums = Counter()
    for point in points(collector, TOKENS.name):
        sums[told(point)["gen_ai.token.type"]] += point.sum
        assert list(point.explicit_bounds) == list(TOKENS.bounds)
    calls = sum(point.count for point in points(collector, TOKENS.name) if told(point)["gen_ai.token.type"] == "input")
    assert calls == 32, "four failed, and of four the vendor said nothing"
    assert sums["input"] == sum(row["input_tokens"] for row in counted) > 0
    assert sums["output"] == sum(row["output_tokens"] for row in counted) > 0


def test_each_worker_is_an_instance_of_its_own(metered):
    instances = latest(metered[0])
    assert len(instances) == 2
    assert {resource["service.name"] for resource, _ in instances.values()} == {"the-gateway"}
    units = {(metric.name, metric.unit) for _, metrics in instances.values() for metric in metrics}
    assert units == {(TOKENS.name, "{token}"), (DURATION.name, "s")}


def test_no_prompt_no_key_and_no_organisation_is_in_them(metered):
    whole = b"".join(body for path, body in metered[0].bodies if path == "/v1/metrics")
    assert b"gen_ai.client.token.usage" in whole
    for secret in (SECRET, "sk-test", "default"):
        assert secret.encode() not in whole


def test_a_value_on_a_bound_is_below_it():
    held = Distributions(DURATION, 0)
    for value in (0.0, 0.01, 0.010001, 81.92, 82.0):
        held.record(value, ())
    (values,) = held.held.values()
    assert (values.counts[0], values.counts[1], values.counts[-2], values.counts[-1]) == (2, 1, 1, 1)
    assert (values.low, values.high) == (0.0, 82.0)


def test_nobody_s_words_fill_the_memory():
    held = Distributions(TOKENS, 0)
    for number in range(MOST + 500):
        held.record(1, (("gen_ai.request.model", str(number)),))
    assert len(held.held) == MOST + 1
    told_points = held.told(1, delta=False).data.data_points
    (overflow,) = [point for point in told_points if "otel.metric.overflow" in point.attributes]
    assert (overflow.count, overflow.attributes) == (500, {"otel.metric.overflow": True})


def gateway_of():
    return Gateway(Settings(profile="development", observability=Observability(trace_sample_rate=0)))


async def test_what_a_dead_collector_did_not_take_comes_later_and_once(monkeypatch, caplog):
    """Deltas: the sums over all messages are what there was, whoever was away."""
    with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.url}/v1/metrics",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        held = gateway_of()
        async with opened(MetersConfig(timeout_s=0.5), held, environment) as meters:
            for status in (200, 400, 400, 200, 200):
                collector.status = status
                await meters.write([event(attempts=(CALL,))])
                await meters.send()
        sent = [metric for _, metrics in collector.metrics for metric in metrics if metric.name == DURATION.name]
        counts = [point.count for metric in sent for point in metric.histogram.data_points]
        assert counts == [1, 3, 1]
        assert held.faults["meters.unsent"] == 2
        assert [line.getMessage() for line in caplog.records if line.name == "asahi_telemetry.meters"] == [
            "metrics do not reach the collector",
            "metrics reach the collector again",
        ]
        starts = [point.start_time_unix_nano for metric in sent for point in metric.histogram.data_points]
        ends = [point.time_unix_nano for metric in sent for point in metric.histogram.data_points]
        assert starts[1:] == ends[:-1]


@pytest.mark.parametrize("told", ["0", "99", "x", "-5", "1e3", "3600001"])
async def test_an_interval_that_is_none_stops_the_start(told):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRIC_EXPORT_INTERVAL": told}
    with pytest.raises(ConfigError, match="OTEL_METRIC_EXPORT_INTERVAL"):
        async with opened(MetersConfig(), gateway_of(), environment):
            pass


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
async def test_without_a_collector_nothing_is_made(environment):
    async with opened(MetersConfig(), gateway_of(), environment) as sink:
        assert type(sink).__name__ == "Silent"
