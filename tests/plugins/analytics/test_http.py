"""`/analytics/…` over HTTP: real traffic, answers by hand, roles, the operator, bad parameters, CSV, and alerts."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from litestar.testing import AsyncTestClient
from tests.plugins.analytics import kit

from asahi_kernel.app import create_app
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.identity import new_id
from asahi_kernel.plugins import load_plugins
from asahi_kernel.repositories.judgements import Alert
from asahi_kernel.settings import Settings

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
WHO = {
    "admin": ("acme", "admin"),
    "developer": ("acme", "developer"),
    "viewer": ("acme", "viewer"),
    "billing": ("acme", "billing"),
    "globex": ("globex", "admin"),
    "operator": ("default", "admin"),
}
KEYS = {name: f"{name}-0123456789abcdef0123456789" for name in WHO}
NAMES = sorted(kit.BY_NAME)
MONEY = {"cost-breakdown", "cost-summary", "forecast", "recommendations", "savings"}


@pytest.fixture(scope="module")
def world():
    """A gateway with the traffic of two orgs: 200 requests of acme, 40 of globex."""
    keys = [{"key": KEYS[name], "org": org, "user": name, "role": role} for name, (org, role) in WHO.items()]
    tree = {
        "auth": {"type": "static", "keys": keys},
        "storage": "memory",
        "api": {"rate_limit_per_minute": 0},
        "providers": {"mock": {"latency_share": 0}},
        "encryption": {"key": "0123456789abcdef" * 4},
    }
    with asyncio.Runner() as runner:
        settings = decode(tree, Settings, "test")
        gateway = Gateway(settings)
        client = AsyncTestClient(create_app(settings, load_plugins(), gateway))
        runner.run(client.__aenter__())

        def ask(path, who="admin", method="GET", **params):
            headers = {"authorization": f"Bearer {KEYS[who]}"}
            named = {name.rstrip("_"): value for name, value in params.items()}
            return runner.run(client.request(method, path, params=named, headers=headers))

        def get(name, who="admin", **params):
            answer = ask(f"/analytics/{name}", who, **params)
            assert answer.status_code == 200, answer.text
            return answer.json()

        async def traffic():
            for number in range(240):
                who = "globex" if number % 6 == 0 else ("admin", "developer")[number % 2]
                body = {"prompt": f"question {number % 70}", "task_type": ("faq", "coding")[number % 2]}
                if number % 5 == 0:
                    body |= {"routing_mode": "explicit", "model": "gpt-4-turbo"}
                headers = {"authorization": f"Bearer {KEYS[who]}"}
                assert (await client.post("/infer", json=body, headers=headers)).status_code == 200

        async def events(org):
            await gateway.journal.flush()
            return [event async for event in gateway.storage.events.between(org, FIRST, LAST)]

        runner.run(traffic())
        found = {org: runner.run(events(org)) for org in ("acme", "globex")}
        yield SimpleNamespace(ask=ask, get=get, gateway=gateway, events=found, run=runner.run, client=client)
        runner.run(client.__aexit__(None, None, None))


def test_every_endpoint_is_fed_by_real_traffic(world):
    """AN-1."""
    hand = kit.Hand(world.events["acme"])
    cost = pytest.approx(hand.cost() / 1e9)
    assert (hand.requests, hand.hits > 20) == (200, True)
    assert sum(world.get("cost-breakdown", group_by="task_type")["data"].values()) == cost
    assert world.get("cost-summary")["data"]["total_cost"] == cost
    assert sum(each["value"] for each in world.get("trends")["data"]) == cost
    assert world.get("cache-performance")["data"]["tier_1"]["hits"] == hand.hits
    assert world.get("latency-percentiles")["data"]["count"] == 200
    assert world.get("recent-inferences", limit=500)["data"]["count"] == 200
    assert world.get("savings")["data"]["saved"] == pytest.approx(hand.total("saved") / 1e9)
    assert sum(row["requests"] for row in world.get("model-performance")["data"]) == 200
    assert world.get("summary")["data"]["totals"]["total_cost"] == cost
    assert world.get("summary", org_id="acme")["data"]["by_model"]
    assert world.get("recommendations")["data"]
    metrics = world.ask("/metrics").json()
    assert (metrics["total_cost"], metrics["tier1_hits"]) == (cost, hand.hits)
    assert metrics["tier1_misses"] == metrics["tier2_misses"] == hand.misses


def test_named_models_are_recommended_with_a_replayed_estimate(world):
    rows = {row["id"]: row for row in world.get("recommendations")["data"]}
    named = rows["named-models"]
    ids = {event.request_id for event in world.events["acme"] if event.routing_mode == "explicit" and event.cost}
    assert set(named["evidence"]["request_ids"]) <= ids
    assert named["estimated_savings"] > 0
    assert named["interval"][0] <= named["estimated_savings"] <= named["interval"][1]
    assert [row["priority"] for row in rows.values()] == sorted(
        (row["priority"] for row in rows.values()), key=["high", "medium", "low"].index
    )


def test_an_answer_says_whose_and_of_when_it_is(world):
    meta = world.get("trends")["meta"]
    assert meta["org_id"] == "acme"
    assert set(meta) == {"org_id", "from", "to", "generated_at", "partial"}
    assert not meta["partial"]
    assert all(datetime.fromisoformat(meta[name]).tzinfo for name in ("from", "to", "generated_at"))


def test_orgs_are_apart_and_only_the_operator_reads_the_totals_of_all(world):
    """AN-2."""
    own = {who: world.get("cost-summary", who)["data"]["total_cost"] for who in ("admin", "globex")}
    assert own["globex"] == pytest.approx(kit.Hand(world.events["globex"]).cost() / 1e9)
    everything = world.get("cost-summary", "operator", org_id="*")
    assert everything["data"]["total_cost"] == pytest.approx(sum(own.values()))
    assert everything["meta"]["org_id"] == "*"
    assert world.get("cost-summary", "operator")["data"]["total_requests"] == 0
    for who, org in (("admin", "*"), ("admin", "globex"), ("operator", "acme"), ("globex", "acme")):
        for name in NAMES:
            answer = world.ask(f"/analytics/{name}", who, org_id=org)
            assert answer.status_code == 403, (who, org, name)


@pytest.mark.parametrize("name", ["recent-inferences", "recommendations"])
def test_what_tells_of_single_requests_is_never_told_of_all_orgs(world, name):
    answer = world.ask(f"/analytics/{name}", "operator", org_id="*")
    assert (answer.status_code, answer.json()["details"]["param"]) == (400, "org_id")
    assert world.get("summary", "operator", org_id="*")["data"]["recent"] == []


@pytest.mark.parametrize("name", NAMES)
def test_money_needs_view_cost(world, name):
    answer = world.ask(f"/analytics/{name}", "viewer", **({"metric": "requests"} if name == "trends" else {}))
    assert answer.status_code == (403 if name in MONEY else 200)
    assert [world.ask(f"/analytics/{name}", who).status_code for who in ("billing", "developer")] == [200, 200]


def test_the_trend_of_money_needs_view_cost_too(world):
    for metric in ("cost", "saved"):
        assert world.ask("/analytics/trends", "viewer", metric=metric).status_code == 403
    assert {row["cost"] for row in world.get("recent-inferences", "viewer")["data"]["inferences"]} == {None}


@pytest.mark.parametrize(
    ("name", "query", "told"),
    [
        ("cost-breakdown", {"period": "year"}, "'day', 'hour', 'month', 'week'"),
        ("cost-breakdown", {"group_by": "colour"}, "'agent_type', 'key', 'model', 'task_type', 'tier', 'user'"),
        ("trends", {"metric": "joy"}, "'cache_hit_rate', 'cost', 'errors', 'latency'"),
        ("trends", {"intervals": "0"}, "from 1 to 1000"),
        ("trends", {"intervals": "many"}, "an integer"),
        ("trends", {"split_by": "user"}, "'model', 'tier'"),
        ("trends", {"period": "month", "intervals": "1000"}, "reach back"),
        ("trends", {"tz": "Mars/Olympus"}, "time zone"),
        ("trends", {"tz": "../../etc/passwd"}, "time zone"),
        ("forecast", {"horizon_days": "366"}, "from 1 to 365"),
        ("forecast", {"monthly_budget": "nan"}, "a number"),
        ("forecast", {"monthly_budget": "-1"}, "a number"),
        ("anomalies", {"state": "gone"}, "'active', 'all'"),
        ("latency-percentiles", {"tier": "4"}, "from 0 to 3"),
        ("recent-inferences", {"limit": "501"}, "from 1 to 500"),
        ("recent-inferences", {"cursor": "AAAA"}, "cursor"),
        ("recent-inferences", {"status": "fine"}, "'aborted', 'denied', 'failed', 'ok', 'unknown'"),
        ("cost-summary", {"from": "yesterday"}, "ISO 8601"),
        ("cost-summary", {"from": "2026-01-02", "to": "2026-01-01"}, "before"),
        ("cost-summary", {"from": "2024-01-01", "to": "2026-01-01"}, "400 days"),
        ("cost-summary", {"from": "1969-01-01"}, "1970"),
        ("cost-summary", {"to": "2300-01-01"}, "2200"),
        ("cost-summary", {"format": "xml"}, "json, csv"),
        ("cost-summary", {"perod": "day"}, "period"),
        ("cost-summary", {"period": "x" * 300}, "256"),
        ("cost-summary", {"period": ["day", "week"]}, "twice"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_with_the_allowed_ones(world, name, query, told):
    answer = world.ask(f"/analytics/{name}", **query)
    assert answer.status_code == 400
    assert told in answer.json()["message"]
    assert answer.json()["details"]["param"] in query


def test_the_contract_has_the_parameters_of_every_report(world):
    paths = world.ask("/openapi.json").json()["paths"]
    for name in NAMES:
        told = {each["name"]: each for each in paths[f"/analytics/{name}"]["get"]["parameters"]}
        assert {"org_id", "format"} <= set(told)
        assert set(told) == {"org_id", "format", *kit.BY_NAME[name].params.__struct_encode_fields__}
    (metric,) = [each for each in paths["/analytics/trends"]["get"]["parameters"] if each["name"] == "metric"]
    assert "cache_hit_rate" in metric["schema"]["enum"]


def test_a_cursor_is_of_its_org_alone(world):
    page = world.get("recent-inferences", limit=5)["data"]
    assert len(page["inferences"]) == 5
    after = world.get("recent-inferences", limit=5, cursor=page["next_cursor"])["data"]
    assert not {row["request_id"] for row in page["inferences"]} & {row["request_id"] for row in after["inferences"]}
    for who, cursor in (("globex", page["next_cursor"]), ("admin", page["next_cursor"][:-4] + "AAAA")):
        assert world.ask("/analytics/recent-inferences", who, cursor=cursor).status_code == 400


@pytest.mark.parametrize("name", NAMES)
def test_every_report_comes_as_csv(world, name):
    answer = world.ask(f"/analytics/{name}", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{name}_2')
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows or name in {"anomalies", "forecast"}  # there is none, and there is no complete day


def test_csv_has_plain_numbers_iso_times_and_runs_nothing(world):
    rows = list(csv.DictReader(io.StringIO(world.ask("/analytics/trends", format="csv").text)))
    assert not any("e" in row["value"] for row in rows)
    assert all(datetime.fromisoformat(row["timestamp"]).tzinfo for row in rows)
    from asahi_kernel.csvtext import table

    (row,) = csv.DictReader(
        io.StringIO(table([{"a": "=1+1", "b": "@x", "c": -0.00000001, "d": "+x", "e": "-x"}]).decode())
    )
    assert row == {"a": "'=1+1", "b": "'@x", "c": "-0.00000001", "d": "'+x", "e": "'-x"}


def test_an_alert_is_acknowledged_once_by_its_own_org_and_audited(world):
    alerts = world.gateway.storage.repositories.alerts
    alert = Alert(
        alert_id=new_id(),
        org_id="acme",
        anomaly_type="cost_spike",
        severity="warning",
        metric_name="cost_per_request",
        message="a request costs $0.5",
        detected_at=datetime.now(UTC),
        current_value=0.5,
    )
    world.run(alerts.raise_alert(alert))
    path = f"/analytics/anomalies/{alert.alert_id}/acknowledge"
    assert [row["id"] for row in world.get("anomalies", "viewer")["data"]] == [alert.alert_id]
    (hidden,) = world.get("anomalies", "viewer")["data"]
    assert (hidden["current_value"], "$" in hidden["message"]) == (None, False)
    assert world.get("anomalies", "globex")["data"] == []
    assert world.ask(path, "globex", "POST").status_code == 404
    assert world.ask("/analytics/anomalies/nothing/acknowledge", "admin", "POST").status_code == 404
    assert world.ask(path, "billing", "POST").status_code == 403
    assert [world.ask(path, "admin", "POST").status_code for _ in range(2)] == [204, 204]
    (row,) = world.get("anomalies")["data"]
    assert (row["state"], row["acknowledged_by"], row["current_value"]) == ("acknowledged", "admin", 0.5)

    async def audited():
        audit = world.gateway.storage.repositories.audit
        return [entry.resource async for entry in audit.entries("acme") if entry.action == "alert_acknowledge"]

    assert world.run(audited()) == [f"alert {alert.alert_id}"]
    world.run(alerts.resolve("acme", alert.alert_id, datetime.now(UTC)))
    assert world.get("anomalies")["data"] == []
    assert [row["state"] for row in world.get("anomalies", state="all")["data"]] == ["resolved"]


RULE = {"name": "Busy", "metric": "requests", "threshold": 50, "window_minutes": 60}


def send(world, method, path, who="admin", **body):
    headers = {"authorization": f"Bearer {KEYS[who]}"}
    return world.run(world.client.request(method, path, json=body or None, headers=headers))


@pytest.fixture
def rules(world):
    """Makes rules of acme, and takes all of them away again."""
    yield lambda **fields: send(world, "POST", "/alerts/rules", **(RULE | fields))
    for row in send(world, "GET", "/alerts/rules").json()["rules"]:
        send(world, "DELETE", f"/alerts/rules/{row['rule_id']}")


def told_of(world, resource):
    async def found():
        audit = world.gateway.storage.repositories.audit
        return [(each.action, each.details) async for each in audit.entries("acme") if each.resource == resource]

    return world.run(found())


def test_a_rule_is_made_changed_and_removed_with_its_entries(world, rules):
    made = rules(name="Busy", metric="error_rate", threshold=0.05)
    assert made.status_code == 201, made.text
    row = made.json()
    assert (row["threshold"], row["min_requests"], row["for_minutes"], row["subject"]) == (0.05, 20, 0, None)
    place = f"/alerts/rules/{row['rule_id']}"
    changed = send(world, "PUT", place, **(RULE | {"scope": "model", "subject": "gpt-4-turbo", "enabled": False}))
    assert changed.status_code == 200, changed.text
    assert (changed.json()["scope"], changed.json()["enabled"]) == ("model", False)
    assert changed.json()["created_at"] == row["created_at"]
    (listed,) = send(world, "GET", "/alerts/rules", "viewer").json()["rules"]
    assert (listed["rule_id"], listed["subject"]) == (row["rule_id"], "gpt-4-turbo")
    assert send(world, "GET", "/alerts/rules", "globex").json()["rules"] == []
    for method in ("PUT", "DELETE"):
        assert send(world, method, place, "globex", **(RULE if method == "PUT" else {})).status_code == 404
        assert send(world, method, place, "viewer", **(RULE if method == "PUT" else {})).status_code == 403
    assert send(world, "DELETE", place).status_code == 204
    assert send(world, "DELETE", place).status_code == 404
    entries = told_of(world, f"alert_rule/{row['rule_id']}")
    assert [action for action, _ in entries] == ["alert_rule_update", "alert_rule_update", "alert_rule_delete"]
    assert (entries[0][1]["threshold"], entries[1][1]["subject"]) == ("0.05", "gpt-4-turbo")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"metric": "luck"}, "metric"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1e400}, None),
        ({"threshold": "much"}, "threshold"),
        ({"metric": "hit_rate", "threshold": 85}, "threshold"),
        ({"window_minutes": 4}, "window_minutes"),
        ({"window_minutes": 43_201}, "window_minutes"),
        ({"for_minutes": 721}, "for_minutes"),
        ({"scope": "user"}, "subject"),
        ({"subject": "ann"}, "subject"),
        ({"scope": "user", "subject": "a\nb"}, "subject"),
        ({"metric": "false_hit_rate", "threshold": 0.1, "scope": "model", "subject": "m"}, "scope"),
        ({"metric": "budget_share", "threshold": 0.9}, "metric"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"severity": "bad"}, "severity"),
        ({"color": "red"}, "color"),
        ({"min_requests": -1}, "min_requests"),
    ],
)
def test_a_rule_that_could_never_be_told_is_refused_and_named(world, rules, fields, param):
    answer = rules(**fields) if fields.get("threshold") != 1e400 else _raw(world)
    assert answer.status_code == 400, answer.text
    assert param is None or param in answer.json()["message"], answer.text
    assert send(world, "GET", "/alerts/rules").json()["count"] == 0


def _raw(world):
    headers = {"authorization": f"Bearer {KEYS['admin']}", "content-type": "application/json"}
    body = b'{"name": "x", "metric": "requests", "threshold": 1e400}'
    return world.run(world.client.post("/alerts/rules", content=body, headers=headers))


def test_there_are_fifty_and_no_more(world, rules):
    answers = [rules(name=f"r{number}").status_code for number in range(50)]
    assert set(answers) == {201}
    over = rules(name="one more")
    assert (over.status_code, over.json()["error"]) == (409, "too_many_rules")


def test_a_rule_fires_is_counted_and_ends_with_its_change(world, rules):
    """From the route to the page, without a clock: the service looks once."""
    from asahi_analytics.ruling import RuleWatch
    from asahi_analytics.telling import Teller

    row = rules(threshold=50, severity="critical").json()
    cost = rules(name="Dear", metric="cost", threshold=0.000001).json()
    watch = RuleWatch(world.gateway, world.gateway.storage, Teller(world.gateway.faults))
    before = send(world, "GET", "/alerts/count").json()
    look = lambda: world.run(watch.look_at_all(datetime.now(UTC)))  # noqa: E731
    look()
    after = send(world, "GET", "/alerts/count", "viewer").json()
    assert (after["open"] - before["open"], after["critical"] - before["critical"]) == (2, 1)
    assert send(world, "GET", "/alerts/count", "globex").json()["open"] == 0
    firing = {each["rule_id"]: each["firing_since"] for each in send(world, "GET", "/alerts/rules").json()["rules"]}
    assert firing[row["rule_id"]] is not None
    shown = {each["metric_name"]: each for each in world.get("anomalies", "viewer")["data"]}
    mine = shown[f"rule:requests:{row['rule_id']}"]
    assert (mine["current_value"], mine["expected_value"], mine["severity"]) == (200.0, 50.0, "critical")
    dear = shown[f"rule:cost:{cost['rule_id']}"]
    assert (dear["current_value"], dear["expected_value"], dear["deviation_pct"]) == (None, None, None)
    assert "$" not in dear["message"]
    assert "$" in {each["metric_name"]: each for each in world.get("anomalies")["data"]}[dear["metric_name"]]["message"]
    (hidden,) = [
        each for each in send(world, "GET", "/alerts/rules", "viewer").json()["rules"] if each["name"] == "Dear"
    ]
    assert hidden["threshold"] is None
    assert send(world, "PUT", f"/alerts/rules/{row['rule_id']}", **RULE).json()["firing_since"] is None
    assert send(world, "DELETE", f"/alerts/rules/{cost['rule_id']}").status_code == 204
    assert send(world, "GET", "/alerts/count").json() == before
    look()
    assert send(world, "GET", "/alerts/count").json()["open"] == before["open"] + 1, "what still holds is told again"


def test_a_preview_tells_when_and_changes_nothing(world):
    answer = send(world, "POST", "/alerts/rules/preview", metric="requests", threshold=50, window_minutes=60)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["fired"], len(told["times"]), told["step_minutes"], told["now"]) == (1, 1, 60, 200.0)
    quiet = send(world, "POST", "/alerts/rules/preview", metric="requests", threshold=500, window_minutes=5).json()
    assert (quiet["fired"], quiet["step_minutes"]) == (0, 1)
    assert send(world, "POST", "/alerts/rules/preview", "viewer", metric="requests", threshold=5).status_code == 403
    assert send(world, "GET", "/alerts/rules").json()["count"] == 0
