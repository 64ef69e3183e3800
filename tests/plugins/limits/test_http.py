"""Limits over HTTP: headers, refusals on every wire, budgets and usage, and who may change what."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.served import gateway
from tests.plugins.redis.kit import fresh

KEYS = {
    "admin": "key-of-the-admin-0123456789abcdef",
    "developer": "key-of-the-developer-0123456789ab",
    "viewer": "key-of-the-viewer-0123456789abcde",
    "billing": "key-of-the-billing-0123456789abcd",
    "foreign": "key-of-another-org-0123456789abcd",
}
AUTH = {
    "type": "static",
    "keys": [
        {
            "key": key,
            "org": "other" if role == "foreign" else "acme",
            "role": "admin" if role == "foreign" else role,
            "user": role,
        }
        for role, key in KEYS.items()
    ],
}


class Client:
    def __init__(self, url):
        self.url = url
        self.headers = {}

    def __call__(self, role, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {KEYS[role]}", "content-type": "application/json", "connection": "close"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.headers = dict(answer.headers)
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            self.headers = dict(error.headers)
            return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    tree = {"auth": AUTH, "providers": {"mock": {}}, "api": {"rate_limit_per_minute": 40}}
    with gateway(folder, tree) as served:
        yield Client(served.url)


def test_headers_tell_what_is_left(call):
    left = []
    for number in range(3):
        assert call("developer", "POST", "/infer", {"prompt": f"hello {number}"})[0] == 200
        left.append(int(call.headers["x-ratelimit-remaining-requests"]))
    assert left == [left[0], left[0] - 1, left[0] - 2]
    assert call.headers["x-ratelimit-limit-requests"] == "40"
    assert 0 < int(call.headers["x-ratelimit-reset-requests"]) <= 60


def test_a_budget_is_made_seen_reached_and_removed(call):
    body = {"level": "user", "subject": "developer", "window": "day", "limit": 0.000001}
    status, made = call("billing", "POST", "/governance/budgets", body)
    assert (status, made["limit"], made["spent"], made["source"]) == (201, 0.000001, 0.0, "budget")
    ask = {"model": "gpt-4-turbo", "messages": [{"role": "user", "content": "hello"}]}
    status, told = call("developer", "POST", "/v1/chat/completions", ask)
    assert (status, told["error"]["code"]) == (429, "budget_exceeded")
    assert int(call.headers["retry-after"]) > 0
    status, told = call("developer", "POST", "/infer", {"prompt": "hello", "model": "gpt-4-turbo"})
    assert (status, told["error"], told["details"]["level"]) == (429, "budget_exceeded", "user")
    assert call("admin", "POST", "/infer", {"prompt": "hello", "model": "gpt-4-turbo"})[0] == 200
    status, page = call("billing", "GET", "/governance/budgets")
    assert [row["budget_id"] for row in page["budgets"]] == [made["budget_id"]]
    assert call("foreign", "GET", "/governance/budgets")[1]["budgets"] == []
    path = f"/governance/budgets/{made['budget_id']}"
    assert call("foreign", "DELETE", path)[0] == 404
    assert call("billing", "DELETE", path)[0] == 204
    assert call("billing", "DELETE", path)[0] == 404
    assert call("developer", "POST", "/infer", {"prompt": "hello", "model": "gpt-4-turbo"})[0] == 200


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_only_those_who_pay_the_bill_change_budgets(call, role):
    body = {"level": "org", "window": "day", "limit": 5}
    assert call(role, "POST", "/governance/budgets", body)[0] == 403
    assert call(role, "DELETE", "/governance/budgets/01JZZZZZZZZZZZZZZZZZZZZZZZ")[0] == 403
    assert call("viewer", "GET", "/governance/budgets")[0] == 403


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"level": "org", "window": "day", "limit": 0}, "limit"),
        ({"level": "org", "window": "day", "limit": -1}, "limit"),
        ({"level": "org", "window": "week", "limit": 1}, "window"),
        ({"level": "user", "window": "day", "limit": 1}, "subject"),
        ({"level": "org", "subject": "other", "window": "day", "limit": 1}, "subject"),
        ({"level": "user", "subject": "#policy", "window": "day", "limit": 1}, "subject"),
        ({"level": "user", "subject": "../x", "window": "day", "limit": 1}, "subject"),
        ({"level": "org", "window": "day", "limit": 1, "org_id": "other"}, "org_id"),
    ],
)
def test_bad_budgets_are_refused_by_name(call, body, param):
    status, told = call("billing", "POST", "/governance/budgets", body)
    assert (status, told["details"]["param"]) == (400, param)


def test_usage_is_the_orgs_own(call):
    status, told = call("developer", "GET", "/governance/usage?period=day")
    assert (status, told["org_id"]) == (200, "acme")
    assert told["request_count"] > 0
    assert told["policy_limits"]["max_requests_per_day"] == 10_000
    assert 0 < told["remaining"]["requests_per_day"] < 10_000
    assert call("developer", "GET", "/governance/usage?org_id=other")[0] == 404
    assert call("developer", "GET", "/governance/usage?period=year")[1]["details"]["param"] == "period"
    assert call("viewer", "GET", "/governance/usage")[0] == 403


def test_four_workers_count_as_one_with_redis(tmp_path, redis_url):
    """10.6: of many requests in a minute as many pass as the limit says, whichever worker takes them."""
    tree = {
        "auth": AUTH,
        "providers": {"mock": {}},
        "api": {"workers": 4, "rate_limit_per_minute": 30},
        "redis": {"cache_prefix": fresh(), "rate_limit_prefix": fresh(), "timeout_ms": 2_000},
    }
    with gateway(tmp_path, tree, REDIS_URL=redis_url) as served:
        client = Client(served.url)
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(client, "developer", "POST", "/infer", {"prompt": "hello"}) for _ in range(120)]
            told = [each.result()[0] for each in asked]
    assert (told.count(200), told.count(429)) == (30, 90)
