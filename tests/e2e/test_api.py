"""The routes beside inference, with keys of two organisations and of every role."""

import json
import urllib.error
import urllib.request

import pytest
from tests.e2e.served import gateway

KEYS = {
    f"{org}-{role}": f"key-of-{org}-{role}-0123456789abcdef"
    for org in ("acme", "other")
    for role in ("admin", "developer", "viewer", "billing")
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    keys = [
        {"key": key, "org": name.split("-")[0], "user": name.split("-")[1], "role": name.split("-")[1]}
        for name, key in KEYS.items()
    ]
    configuration = {"auth": {"type": "static", "keys": keys}, "aliases": {"cheap": "mistral-7b"}}
    with gateway(tmp_path_factory.mktemp("api"), configuration) as served:
        yield served.url


def call(url: str, path: str, who: str | None = None, body: object = None, **headers: str):
    if who is not None:
        headers["authorization"] = f"Bearer {KEYS[who]}"
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(url + path, data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def infer(url: str, who: str, **body: object) -> dict:
    status, _, answer = call(url, "/infer", who, {"prompt": "hello", **body})
    assert status == 200, answer
    return json.loads(answer)


def test_the_contract_describes_the_inference_bodies(url):
    contract = json.loads(call(url, "/openapi.json")[2])
    assert contract["openapi"].startswith("3.")
    body = contract["paths"]["/infer"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = body["$ref"].rsplit("/", 1)[1]
    assert "quality_threshold" in contract["components"]["schemas"][name]["properties"]


def test_the_docs_need_nothing_from_elsewhere(url):
    status, headers, page = call(url, "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"/v1/chat/completions" in page
    assert b"http://" not in page.replace(b"http://localhost", b"")
    assert b"<script" not in page
    assert "default-src 'none'" in headers["content-security-policy"]


def test_explain_tells_the_whole_decision_of_an_own_request_only(url):
    answer = infer(url, "acme-developer", prompt="why this one", quality_preference="high")
    path = f"/explain/{answer['request_id']}"
    status, _, body = call(url, path, "acme-developer")
    told = json.loads(body)
    assert status == 200
    assert [rule["rule"] for rule in told["rules"]][-2:] == ["cheapest", "plan"]
    (chosen,) = [each for each in told["candidates"] if each["chosen"]]
    assert chosen["model"] == answer["model_used"]
    assert all("refused_by" in each for each in told["candidates"] if not each["chosen"])
    assert told["money"]["cost"] == answer["cost"]
    assert "why this one" not in body.decode()
    assert call(url, path, "acme-admin")[0] == 200
    nobodys = path[:-1] + ("1" if path.endswith("0") else "0")
    foreign, unknown = call(url, path, "other-admin"), call(url, nobodys, "acme-developer")
    assert foreign[0] == unknown[0] == 404
    assert json.loads(foreign[2])["message"] == json.loads(unknown[2])["message"]


@pytest.mark.parametrize("name", ["x", "01K7Q2M9B3X5T8D0WZ4F6H1JR%20", "..%2fmetrics", "01k7q2m9b3x5t8d0wz4f6h1jrc"])
def test_a_malformed_request_id_is_400(url, name):
    assert call(url, f"/explain/{name}", "acme-developer")[0] == 400


def test_orgs_share_neither_cache_nor_totals(url):
    first = infer(url, "acme-developer", prompt="shared words")
    other = infer(url, "other-developer", prompt="shared words")
    again = infer(url, "acme-developer", prompt="shared words")
    assert (first["cache_hit"], other["cache_hit"], again["cache_hit"]) == (False, False, True)
    before = json.loads(call(url, "/metrics?period=all", "other-viewer")[2])["requests"]
    infer(url, "acme-developer", prompt="not theirs")
    assert json.loads(call(url, "/metrics?period=all", "other-viewer")[2])["requests"] == before


def test_money_is_shown_only_to_who_may_see_it(url):
    infer(url, "acme-developer")
    viewer = json.loads(call(url, "/metrics", "acme-viewer")[2])
    billing = json.loads(call(url, "/metrics", "acme-billing")[2])
    assert viewer["total_cost"] is None
    assert billing["total_cost"] > 0
    assert viewer["requests"] == billing["requests"] > 0


@pytest.mark.parametrize("period", ["year", "", "all; drop"])
def test_an_unknown_period_is_400_naming_the_known(url, period):
    status, _, body = call(url, f"/metrics?period={urllib.request.quote(period)}", "acme-viewer")
    assert status == 400
    assert "month" in json.loads(body)["message"]


def test_an_alias_answers_as_its_model(url):
    assert infer(url, "acme-developer", model="cheap", prompt="alias")["model_used"] == "mistral-7b"


def test_explicit_mode_lists_the_alternatives_by_saving(url):
    """RT-4."""
    answer = infer(url, "acme-developer", model="claude-opus-4", prompt="explicit")
    percents = [each["savings_percent"] for each in answer["alternatives"]]
    assert len(percents) == 4
    assert percents == sorted(percents, reverse=True)
    assert answer["routing_mode"] == "explicit"


def test_a_named_model_outside_explicit_mode_is_the_baseline(url):
    answer = infer(url, "acme-developer", model="claude-opus-4", routing_mode="autopilot", prompt="baseline")
    assert (answer["model_used"], answer["baseline_model"]) == ("mistral-7b", "claude-opus-4")


def test_a_dry_run_decides_and_records_nothing(url):
    before = json.loads(call(url, "/metrics?period=all", "acme-viewer")[2])["requests"]
    answer = infer(url, "acme-developer", dry_run=True, prompt="never run")
    assert (answer["response"], answer["attempts"]) == ("", 0)
    assert json.loads(call(url, "/metrics?period=all", "acme-viewer")[2])["requests"] == before


def test_cost_budget_is_compared_with_dollars_for_this_request(url):
    """SV-7."""
    body = {"prompt": "ten words", "cost_budget": 0.0001, "max_tokens": 30, "cache": "off"}
    assert call(url, "/infer", "acme-developer", body)[0] == 200
    long = {**body, "document": "word " * 50_000}
    status, _, refused = call(url, "/infer", "acme-developer", long)
    assert (status, json.loads(refused)["error"]) == (422, "no_route")


def test_health_names_each_component_and_is_honest_about_what_is_kept(url):
    told = json.loads(call(url, "/health")[2])
    assert told["status"] == "healthy"
    assert {"sqlite", "journal", "cache.exact", "mock"} <= set(told["components"])
    assert any("encryption key" in warning for warning in told["warnings"])


def test_an_unknown_path_is_404_in_the_shape_of_its_wire(url):
    assert json.loads(call(url, "/nothing", "acme-admin")[2])["error"] == "not_found"
    assert json.loads(call(url, "/v1/nothing", "acme-admin")[2])["error"]["code"] == "not_found"
