"""Every metric and label that a dashboard or an alert rule asks for is one that we expose."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse
from tests.house.tree import ROOT

from asahi_kernel.records import Attempt
from asahi_kernel.testing.samples import event
from asahi_telemetry.counting import Counting, count_faults
from asahi_telemetry.families import ALL
from asahi_telemetry.metrics import derived
from asahi_telemetry.tally import Tally
from asahi_telemetry.text import render

BOARDS = sorted((ROOT / "config/grafana/dashboards").glob("*.json"))
RULES = ROOT / "config/prometheus/rules.yml"
#: What Prometheus itself makes of each scrape.
ITS_OWN = {"up": {"job", "instance"}}


def exposed():
    """Sample name → labels, read from the text that we write."""
    tally = Tally()
    attempt = Attempt(n=1, provider="openai", model="m", outcome="ok")
    made = {
        "latency_breakdown": {"admission": 1.0},
        "overhead_cost": 1,
        "ttft_ms": 1.0,
        "quality_score": 4.0,
        "attempts": (attempt,),
    }
    counting = Counting(tally)
    for each in (event(**made), event(cost=None, status="failed"), event(cache_hit=True, cache_tier=2)):
        counting.count(each)
    kinds = ("budget.refused.org", "rate.limited.key", "budget.overshoot_nano.org", "alerts.raised.x", "cache.exact")
    count_faults(tally, dict.fromkeys(kinds, 1), {})
    now = derived(tally) | {
        (each.name, ("x",) * len(each.labels)): 1.0 for each in ALL if each.kind == "gauge" and each.scale == 1
    }
    text = render(tally, now, openmetrics=False, org_label=False).decode()
    found = {name: set(labels) for name, labels in ITS_OWN.items()}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries():
    found = []
    for path in BOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            found += [
                (f"{path.stem}: {panel['title']}", each["expr"], each["legendFormat"]) for each in panel["targets"]
            ]
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            found.append((rule["alert"], rule["expr"], rule["annotations"]["summary"]))
    return found


EXPOSED = exposed()


def mistakes(expr, legend):
    """Names that we do not expose, and labels that none of the asked metrics has."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expr)
    names = set(re.findall(r"\basahi_\w+|\bup\b", bare))
    wrong = {name for name in names if name not in EXPOSED}
    asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)(?!=)", "".join(re.findall(r"\{([^}]*)\}", bare))))
    for group in re.findall(r"\bby\s*\(([^)]*)\)", bare):
        asked |= {each.strip() for each in group.split(",")}
    asked |= set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", legend))
    known = set().union(*(EXPOSED.get(name, set()) for name in names))
    return wrong | (asked - known) | ({"no metric"} if not names else set())


@pytest.mark.parametrize(("place", "expr", "legend"), queries(), ids=lambda value: str(value)[:60])
def test_a_query_asks_only_for_what_there_is(place, expr, legend):
    assert mistakes(expr, legend) == set(), place
    assert expr.count("(") == expr.count(")")


def test_what_is_not_there_is_found():
    assert mistakes("sum by (color) (rate(asahi_requests_total[1h]))", "{{status}}") == {"color"}
    assert mistakes('asahi_requests_totals{status="ok"}', "") == {"asahi_requests_totals", "status"}
    assert mistakes('asahi_inflight{model="m"}', "{{org}}") == {"model", "org"}


def test_each_metric_is_on_a_dashboard_or_in_a_rule():
    text = " ".join(expr for _, expr, _ in queries())
    derived_ones = {"asahi_savings_dollars_total", "asahi_cache_hit_rate", "asahi_cache_entries"}
    missing = {each.name for each in ALL if not re.search(rf"\b{each.name}(_bucket|_sum|_count)?\b", text)}
    assert missing <= derived_ones


def test_the_files_are_what_grafana_and_prometheus_read():
    source = yaml.safe_load((ROOT / "config/grafana/datasource.yaml").read_text("utf-8"))["datasources"][0]
    for path in BOARDS:
        board = json.loads(path.read_text("utf-8"))
        assert board["uid"] == path.stem
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids) >= 10
        assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    scraping = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text("utf-8"))
    assert scraping["scrape_configs"][0]["metrics_path"] == "/analytics/prometheus"
    assert [Path(each) for each in scraping["rule_files"]] == [Path(RULES.name)]
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    assert all(rule["labels"]["severity"] in {"warning", "critical"} for rule in rules)
