"""Policies, profiles and the report over HTTP, against a served gateway with SQLite."""

import json
import time
import urllib.error
import urllib.request

import pytest
from tests.e2e.served import gateway

BOOT = "a-bootstrap-key-0123456789abcdef"
TREE = {
    "auth": {"type": "keys", "identity_ttl_s": 1},
    "tenants": {"plans": {"tiny": {"requests_per_day": 1_000, "models": 1, "users": 5}}},
    "providers": {"mock": {"agreement": True}, "plain": {"type": "mock"}},
    "models": [
        {"name": name, "provider": provider, "region": region,
         "cost_per_1k_input_tokens": price, "cost_per_1k_output_tokens": price}
        for name, provider, region, price in (
            ("small", "mock", "eu", 0.001), ("large", "mock", "us", 0.01), ("plain", "plain", "eu", 0.02)
        )
    ],
}  # fmt: skip
MAIL = "ann@example.com"


class Client:
    def __init__(self, url):
        self.url = url
        self.keys = {}

    def __call__(self, key, method, path, body=None, **headers):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {key}"}
        if data is not None:
            given["content-type"] = "application/json"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def admin(self, org):
        """An admin of the org; each test has an org of its own."""
        if org not in self.keys:
            body = {"user_id": "root", "org_id": org, "role": "admin", "scopes": ["all"]}
            status, told = self(BOOT, "POST", "/governance/api-keys", body)
            assert status == 201, told
            self.keys[org] = told["api_key"]
        return self.keys[org]

    def other(self, org, role, scopes):
        body = {"user_id": role, "org_id": org, "role": role, "scopes": scopes}
        return self(BOOT, "POST", "/governance/api-keys", body)[1]["api_key"]

    def policy(self, org, **fields):
        return self(self.admin(org), "POST", f"/governance/policies/{org}", fields)

    def profile(self, org, **fields):
        return self(self.admin(org), "POST", f"/governance/compliance/{org}", fields)

    def infer(self, org, prompt, **fields):
        return self(self.admin(org), "POST", "/infer", {"prompt": prompt, **fields})

    def report(self, org, framework):
        status, told = self(self.admin(org), "GET", f"/governance/compliance/report?framework={framework}")
        assert status == 200, told
        return told["overall_status"], {each["check"]: (each["status"], each["detail"]) for each in told["checks"]}


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    with gateway(folder, TREE, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT, ASAHI_ENCRYPTION_KEY="0123456789abcdef" * 4) as served:
        yield Client(served.url)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Without an encryption key, without the policies of this package but for `compliance`."""
    folder = tmp_path_factory.mktemp("bare")
    tree = {**TREE, "governance": {"policies": ["compliance"]}}
    with gateway(folder, tree, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        yield Client(served.url)


def test_a_policy_is_saved_read_changed_and_dropped_and_its_history_stays(call):
    admin = call.admin("acme")
    path = "/governance/policies/acme"
    assert call(admin, "GET", path)[0] == 404
    body = {
        "blocked_models": ["large", "large"],
        "max_cost_per_day": 12.5,
        "pii_action": "redact",
        "data_residency": "eu",
    }
    assert call(admin, "POST", path, body) == (200, {"status": "saved", "org_id": "acme", "version": 1})
    status, told = call(admin, "GET", path)
    assert status == 200
    assert (told["version"], told["blocked_models"], told["max_cost_per_day"]) == (1, ["large"], 12.5)
    assert (told["require_audit_log"], told["updated_by"], told["max_requests_per_day"]) == (True, "root", None)
    assert call(admin, "POST", path, {}, if_match='"1"')[1]["version"] == 2
    assert call(admin, "DELETE", path, if_match="1")[0] == 409
    assert call(admin, "DELETE", path) == (204, None)
    assert call(admin, "DELETE", path)[0] == 404
    assert call(admin, "GET", path)[0] == 404
    told = call(admin, "GET", f"{path}/history")[1]
    assert [(each["version"], each["deleted"]) for each in told["versions"]] == [(3, True), (2, False), (1, False)]
    assert call(admin, "GET", f"{path}/history?limit=1")[1]["count"] == 1
    assert call(admin, "GET", f"{path}/history?limit=0")[0] == 400


def test_of_two_who_read_the_same_version_one_is_told(call):
    admin, path = call.admin("race"), "/governance/policies/race"
    assert call(admin, "POST", path, {}, if_match="0")[0] == 200
    assert call(admin, "POST", path, {"pii_action": "off"}, if_match="1")[0] == 200
    status, told = call(admin, "POST", path, {"pii_action": "block"}, if_match="1")
    assert (status, told["error"], told["details"]) == (409, "version_conflict", {"version": 2})
    assert call(admin, "GET", path)[1]["pii_action"] == "off"
    assert call(admin, "POST", path, {}, if_match="latest")[0] == 400


def test_a_change_holds_at_once_and_is_audited(call):
    assert call.infer("swift", "hi", model="large", routing_mode="explicit")[0] == 200
    call.policy("swift", blocked_models=["large"])
    status, told = call.infer("swift", "hi", model="large", routing_mode="explicit")
    assert (status, told["error"]) == (403, "model_blocked")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"max_cost_per_day": -1}, 400, "invalid_request"),
        ({"max_requests_per_day": 0}, 400, "invalid_request"),
        ({"max_requests_per_day": 1.5}, 400, "invalid_request"),
        ({"data_residency": "mars"}, 400, "invalid_request"),
        ({"pii_action": "maybe"}, 400, "invalid_request"),
        ({"default_quality_threshold": 5.1}, 400, "invalid_request"),
        ({"blocked_models": ["larg"]}, 400, "unknown_model"),
        ({"blocked_models": ["a\nb"]}, 400, "invalid_request"),
        ({"blocked_model": ["large"]}, 400, "unknown_field"),
        ({"version": 7}, 400, "unknown_field"),
        ({"org_id": "other"}, 400, "conflicting_fields"),
        (b'{"pii_action":"off","pii_action":"block"}', 400, "invalid_json"),
        (b'{"max_cost_per_day":NaN}', 400, "invalid_json"),
        (b"[]", 400, "invalid_request"),
        (b"", 400, "invalid_json"),
    ],
)
def test_a_bad_policy_is_refused_and_nothing_is_saved(call, body, status, error):
    admin = call.admin("strict")
    for path in ("/governance/policies/strict", "/governance/policies/strict/preview"):
        found, told = call(admin, "POST", path, body)
        assert (found, told["error"]) == (status, error), told
    assert call(admin, "GET", "/governance/policies/strict")[0] == 404


def test_a_policy_lists_no_more_models_than_the_plan_has(call):
    body = {"org_id": "small-shop", "name": "Small shop", "plan": "tiny"}
    assert call(BOOT, "POST", "/governance/tenants", body)[0] == 201
    admin, path = call.admin("small-shop"), "/governance/policies/small-shop"
    for each in (path, f"{path}/preview"):
        status, told = call(admin, "POST", each, {"allowed_models": ["small", "large"]})
        assert (status, told["error"]) == (403, "permission_denied"), told
        assert told["message"] == "allowed_models names 2 models, and the plan 'tiny' has room for 1"
    assert call(admin, "POST", path, {"allowed_models": ["small", "small"]})[0] == 200


def test_only_the_operator_reaches_other_orgs(call):
    call.policy("mine", pii_action="off")
    call.profile("mine")
    theirs = call.admin("stranger")
    for method, path, body in (
        ("GET", "/governance/policies/mine", None),
        ("POST", "/governance/policies/mine", {}),
        ("DELETE", "/governance/policies/mine", None),
        ("GET", "/governance/policies/mine/history", None),
        ("POST", "/governance/policies/mine/preview", {}),
        ("GET", "/governance/compliance/mine", None),
        ("POST", "/governance/compliance/mine", {}),
        ("GET", "/governance/compliance/report?framework=soc2&org_id=mine", None),
    ):
        status, told = call(theirs, method, path, body)
        nobody = call(theirs, method, path.replace("mine", "nobody"), body)
        assert (status, told["error"]) == (404, "not_found"), path
        assert told["message"] == nobody[1]["message"]
    assert call(BOOT, "GET", "/governance/policies/mine")[1]["pii_action"] == "off"
    assert call(BOOT, "POST", "/governance/policies/mine", {"pii_action": "flag"})[0] == 200
    assert call(call.admin("mine"), "GET", "/governance/policies/mine")[1]["pii_action"] == "flag"
    for bad in ("Mine", "m%00", "..%2f", "ｍine", "*"):
        assert call(BOOT, "GET", f"/governance/policies/{urllib.request.quote(bad, safe='%')}")[0] in {400, 404}


def test_roles_open_what_they_should(call):
    call.policy("roles")
    call.profile("roles")
    cells = {
        "developer": (200, 403, 403, 403),
        "viewer": (200, 403, 403, 403),
        "billing": (200, 403, 200, 403),
        "admin": (200, 200, 200, 200),
    }
    for role, wanted in cells.items():
        key = call.other("roles", role, ["all"])
        found = (
            call(key, "GET", "/governance/policies/roles")[0],
            call(key, "POST", "/governance/policies/roles", {})[0],
            call(key, "GET", "/governance/compliance/roles")[0],
            call(key, "POST", "/governance/compliance/roles", {})[0],
        )
        assert found == wanted, role
    assert call("nobody", "GET", "/governance/policies/roles")[0] == 401


def test_a_preview_tells_what_would_have_been_refused_and_changes_nothing(call):
    org = "past"
    ids = [call.infer(org, f"question {number}", model="large", routing_mode="explicit")[1] for number in range(3)]
    routed = [call.infer(org, f"routed {number}")[1] for number in range(2)]
    assert {each["model_used"] for each in routed} == {"small"}
    admin, path = call.admin(org), f"/governance/policies/{org}/preview"
    status, told = call(admin, "POST", path, {"blocked_models": ["large"]})
    assert status == 200, told
    assert (told["requests"], told["refused"], told["rerouted"]) == (5, 3, 0)
    assert told["reasons"] == {"model_blocked": 3}
    assert [each["request_id"] for each in told["request_ids"]] == [each["request_id"] for each in ids]
    assert told["cost_difference"] == pytest.approx(-sum(each["cost"] for each in ids))
    told = call(admin, "POST", path, {"blocked_models": ["small"]})[1]
    assert (told["refused"], told["rerouted"]) == (0, 2)
    assert told["cost_difference"] > 0
    told = call(admin, "POST", path, {"max_requests_per_day": 2})[1]
    assert told["reasons"] == {"max_requests_per_day": 3}
    told = call(admin, "POST", path, {"data_residency": "eu"})[1]
    assert told["reasons"] == {"data_residency": 3}
    told = call(admin, "POST", path, {"max_cost_per_request": 0.0})[1]
    assert told["refused"] == 5
    told = call(admin, "POST", path, {})[1]
    assert (told["refused"], told["cost_difference"]) == (0, 0)
    assert call(admin, "GET", f"/governance/policies/{org}")[0] == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"frameworks": ["hipaa"], "prompt_storage_allowed": True}, "prompt_storage_allowed"),
        ({"frameworks": ["hipaa"], "encryption_required": False}, "encryption_required"),
        ({"frameworks": ["hipaa"], "pii_detection_enabled": False}, "pii_detection_enabled"),
        ({"frameworks": ["hipaa"], "allowed_providers": ["plain"]}, "agreement"),
        ({"frameworks": ["pci_dss"], "encryption_required": False}, "encryption_required"),
        ({"frameworks": ["ccpa"], "pii_detection_enabled": False}, "pii_detection_enabled"),
        ({"frameworks": ["gdpr"]}, "data_residency"),
        ({"frameworks": ["gdpr"], "data_residency": "eu", "retention_days": 366}, "retention_days"),
        ({"allowed_providers": []}, "allowed_providers"),
        ({"allowed_providers": ["elsewhere"]}, "elsewhere"),
    ],
)
def test_a_contradictory_profile_is_422_with_the_reason(call, body, words):
    status, told = call(call.admin("contra"), "POST", "/governance/compliance/contra", body)
    assert (status, told["error"]) == (422, "contradictory_profile"), told
    assert words in told["message"]
    assert call(call.admin("contra"), "GET", "/governance/compliance/contra")[0] == 404


def test_a_policy_and_a_profile_may_not_disagree_on_the_region(call):
    assert call.policy("regions", data_residency="us")[0] == 200
    assert call.profile("regions", frameworks=["gdpr"], data_residency="eu")[0] == 422
    assert call.policy("regions")[0] == 200
    assert call.profile("regions", frameworks=["gdpr"], data_residency="eu")[0] == 200
    assert call.policy("regions", data_residency="us")[0] == 422


def test_what_the_gateway_cannot_give_cannot_be_promised(bare):
    for framework in ("hipaa", "pci_dss"):
        status, told = bare.profile("poor", frameworks=[framework])
        assert status == 422
        assert "ASAHI_ENCRYPTION_KEY" in told["message"]
    assert "'pii'" in bare.profile("poor", frameworks=["ccpa"])[1]["message"]


def test_a_profile_is_set_read_and_reported(call):
    """CO-2."""
    admin = call.admin("whole")
    status, told = call(admin, "GET", "/governance/compliance/report?framework=soc2")
    assert (status, told["error"]) == (404, "not_found")
    assert "save one" in told["message"]
    assert call.profile("whole", frameworks=["hipaa", "soc2"]) == (
        200,
        {"status": "saved", "org_id": "whole", "version": 1},
    )
    told = call(admin, "GET", "/governance/compliance/whole")[1]
    assert (told["frameworks"], told["encryption_required"], told["prompt_storage_allowed"]) == (
        ["hipaa", "soc2"],
        True,
        False,
    )
    assert call(admin, "POST", "/governance/compliance/whole", {}, if_match="7")[0] == 409
    assert call(admin, "GET", "/governance/compliance/report?framework=iso")[0] == 400
    assert call(admin, "GET", "/governance/compliance/report")[0] == 400
    assert call(BOOT, "GET", "/governance/compliance/report?framework=soc2&org_id=whole")[0] == 200


def test_hipaa_passes_refuses_and_reports(call):
    """CO-1, CO-2."""
    org = "clinic"
    call.profile(org, frameworks=["hipaa"])
    time.sleep(1.1)
    assert call.infer(org, "What is a fever?")[0] == 200
    status, told = call.infer(org, f"Write to {MAIL}")
    assert (status, told["error"]) == (403, "pii_blocked")
    assert call.infer(org, "hi", model="plain", routing_mode="explicit")[1]["error"] == "compliance_denied"
    time.sleep(1.1)
    overall, checks = call.report(org, "hipaa")
    assert overall == "compliant", checks
    assert set(checks) == {"encryption_at_rest", "prompt_storage_disabled", "pii_detection", "audit_logging"}
    assert "latest 3 requests" in checks["audit_logging"][1]


def test_soc2_gdpr_pci_and_ccpa_pass_refuse_and_report(call):
    """CO-1, CO-2."""
    call.profile("many", frameworks=["soc2", "gdpr", "pci_dss", "ccpa"], data_residency="eu")
    time.sleep(1.1)
    status, told = call.infer("many", "hello", model="large", routing_mode="explicit")
    assert (status, told["error"]) == (403, "compliance_denied")
    status, told = call.infer("many", f"charge 4111 1111 1111 1111 of {MAIL}", cache="off")
    assert (status, told["model_used"]) == (200, "small")
    assert "4111" not in told["response"]
    time.sleep(1.1)
    for framework in ("soc2", "gdpr", "pci_dss", "ccpa"):
        overall, checks = call.report("many", framework)
        assert overall == "compliant", checks
    assert set(call.report("many", "gdpr")[1]) == {"data_residency", "retention_policy"}


def test_a_report_sees_what_the_profile_does_not_say(call):
    """CO-2. Questions that were cached before, requests from another region, a policy that is not in use."""
    org = "before"
    call.infer(org, "an old question")
    call.profile(org, frameworks=["hipaa"])
    overall, checks = call.report(org, "hipaa")
    assert overall == "non_compliant"
    assert checks["prompt_storage_disabled"] == (
        "fail",
        "the cache tier 'exact' still holds questions from before; clear it",
    )
    assert call(call.admin(org), "DELETE", "/cache/clear")[0] == 200
    assert call.report(org, "hipaa")[0] == "compliant"


def test_a_report_over_a_gateway_that_does_not_do_it(bare):
    """CO-2. The profile says nothing wrong; the gateway does."""
    assert bare.profile("words")[0] == 200
    for framework, failing in {
        "hipaa": {"encryption_at_rest", "prompt_storage_disabled", "pii_detection"},
        "pci_dss": {"encryption"},
        "ccpa": {"pii_detection"},
        "gdpr": {"data_residency"},
    }.items():
        overall, checks = bare.report("words", framework)
        assert overall == "non_compliant"
        assert {name for name, (status, _) in checks.items() if status == "fail"} == failing, checks
    bare.infer("words", "hello")
    time.sleep(1.1)
    bare.infer("words", "hello again")
    time.sleep(1.2)
    overall, checks = bare.report("words", "soc2")
    assert overall == "non_compliant"
    assert "not in the audit log" in checks["audit_trail"][1]


def test_streams_over_http_are_redacted_on_every_wire(call):
    """CO-4."""
    call.policy("wires", pii_action="redact")
    key = call.admin("wires")
    said = f"repeat: card 4111 1111 1111 1111 and {MAIL} end"
    for path, body in (
        ("/infer", {"prompt": said, "stream": True}),
        ("/v1/chat/completions", {"model": "auto", "messages": [{"role": "user", "content": said}], "stream": True}),
        (
            "/v1/messages",
            {"model": "auto", "max_tokens": 99, "messages": [{"role": "user", "content": said}], "stream": True},
        ),
    ):
        data = json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        request = urllib.request.Request(call.url + path, data, headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
        assert "4111 1" not in text
        assert MAIL not in text
        assert "CC_REDACTED" in text, text
