"""A real Prometheus, where one is installed: it takes our configuration and our rules, scrapes a gateway with the
token, and every query of the dashboards and of the rules is answered."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
import yaml
from tests.e2e.served import gateway
from tests.house.tree import ROOT
from tests.plugins.telemetry.test_boards import RULES, queries

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="needs `prometheus` on PATH")
TOKEN = "scrape-token-0123456789abcdef"
KEY = "key-of-the-operator-0123456789abcdef"
TREE = {
    "auth": {"type": "static", "keys": [{"key": KEY, "org": "default", "user": "ana", "role": "admin"}]},
    "observability": {"scrape_token": TOKEN},
    "providers": {"mock": {}},
    "models": [
        {"name": "m", "provider": "mock", "cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015},
        {"name": "dear", "provider": "mock", "cost_per_1k_input_tokens": 0.03, "cost_per_1k_output_tokens": 0.15},
        {"name": "unpriced", "provider": "mock"},
    ],
    "governance": {"policies": []},
    "pricing": {"baseline_model": "dear"},
}


class Prometheus:
    def __init__(self, url, served):
        self.url, self.served = url, served

    def ask(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def until(self, expr, least):
        """Wait until a query gives at least so much."""
        for _ in range(300):
            if (found := self.ask("/api/v1/query", query=expr)["result"]) and float(found[0]["value"][1]) >= least:
                return
            time.sleep(0.1)
        raise AssertionError(f"{expr} never came to {least}")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    with gateway(folder, TREE) as served:
        ask(served.url, "one")
        tree = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text("utf-8"))
        (job,) = tree["scrape_configs"]
        (folder / "token").write_text(TOKEN)
        job["authorization"]["credentials_file"] = str(folder / "token")
        job["static_configs"] = [{"targets": [served.url.removeprefix("http://")]}]
        tree["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        shutil.copy(RULES, folder / RULES.name)
        (folder / "prometheus.yml").write_text(json.dumps(tree))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        command = [PROMETHEUS, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            yield started(process, f"http://{address}", folder / "log", served.url)
        finally:
            process.terminate()
            process.wait(20)


def started(process, url, log, served):
    """Once it has scraped twice with something asked between, so that there are rates."""
    found = Prometheus(url, served)
    for _ in range(300):
        try:
            found.ask("/api/v1/query", query="up")
            break
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    found.until("sum(asahi_requests_total)", 1)
    for number in range(5):
        ask(served, f"more {number}")
    for metric in ("asahi_requests_total", "asahi_savings_dollars"):
        found.until(f"sum(rate({metric}[1m]))", 1e-9)
    return found


def ask(url, prompt, **more):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/infer", json.dumps({"prompt": prompt, **more}).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def test_it_scrapes_the_gateway_with_the_token_alone(prometheus):
    (target,) = prometheus.ask("/api/v1/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


@pytest.mark.parametrize(("place", "expr"), [each[:2] for each in queries()], ids=lambda value: str(value)[:60])
def test_it_answers_every_query_and_no_panel_is_empty(prometheus, place, expr):
    asked = expr.replace("$__rate_interval", "1m").replace("$__range", "1m")
    found = prometheus.ask("/api/v1/query", query=asked)["result"]
    assert found or place.startswith("Asahi")


def test_it_sees_the_first_of_a_kind(prometheus):
    ask(prometheus.served, "what is that?", model="unpriced")
    prometheus.until("sum(increase(asahi_unpriced_requests_total[1m]))", 0.5)


def test_it_sees_a_hit_rate_of_nothing(prometheus):
    rules = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    (low,) = [rule["expr"] for rule in rules if rule["alert"] == "AsahiCacheHitRateLow"]
    assert prometheus.ask("/api/v1/query", query=low)["result"]


def test_it_evaluates_every_rule_and_none_fires_on_a_gateway_that_is_well(prometheus):
    for _ in range(100):
        rules = [rule for group in prometheus.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
        if all(rule["health"] != "unknown" for rule in rules):
            break
        time.sleep(0.1)
    told = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    assert len(rules) == sum(len(group["rules"]) for group in told)
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_its_own_checker_takes_the_rules_and_the_text(prometheus):
    told = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
