"""Keys over HTTP and from the command line, against a served gateway with SQLite: who may make, see and end which."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from tests.e2e.served import gateway

BOOT = "a-bootstrap-key-0123456789abcdef"


class Client:
    def __init__(self, url):
        self.url = url

    def __call__(self, key, method, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        given = {"authorization": f"Bearer {key}", **headers}
        if data is not None:
            given.setdefault("content-type", "application/json")
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def made(self, key, **fields):
        status, told = self(key, "POST", "/governance/api-keys", {"user_id": "ann", "scopes": ["infer"], **fields})
        assert status == 201, told
        return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def call(folder):
    with gateway(folder, {"auth": {"type": "keys", "identity_ttl_s": 1}}, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        yield Client(served.url)


def asahi(folder, *arguments):
    command = [sys.executable, "-m", "asahi_kernel.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_key_is_made_shown_once_and_opens_what_its_scopes_say(call):
    made = call.made(BOOT, name="first")
    assert made["api_key"].startswith(made["prefix"] + "_")
    assert (made["org_id"], made["role"], made["scopes"], made["revoked"]) == ("default", "developer", ["infer"], False)
    key = made["api_key"]
    assert call(key, "POST", "/infer", {"prompt": "hello"})[0] == 200
    assert call(key, "GET", "/metrics")[0] == 403
    assert call(key, "POST", "/governance/api-keys", {"user_id": "x", "scopes": ["infer"]})[0] == 403
    status, one = call(key, "GET", f"/governance/api-keys/{made['key_id']}")
    assert status == 200
    assert "api_key" not in one
    assert key not in json.dumps(call(BOOT, "GET", "/governance/api-keys?limit=500")[1])


def test_an_admin_sees_the_org_and_others_their_own(call):
    ann, bob = call.made(BOOT, user_id="ann"), call.made(BOOT, user_id="bob")
    told = call(ann["api_key"], "GET", "/governance/api-keys?user_id=bob")[1]
    assert {row["user_id"] for row in told["keys"]} == {"ann"}
    assert {"ann", "bob"} <= {row["user_id"] for row in call(BOOT, "GET", "/governance/api-keys")[1]["keys"]}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        status, told = call(ann["api_key"], method, f"/governance/api-keys/{bob['key_id']}{path}", {} if path else None)
        assert (status, told["error"]) == (404, "not_found")
    assert call(bob["api_key"], "POST", "/infer", {"prompt": "still here"})[0] == 200


def test_other_orgs_do_not_exist(call):
    theirs = call.made(BOOT, org_id="acme", user_id="eve", role="admin", scopes=["all"])
    ours = call.made(BOOT)
    admin = theirs["api_key"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        asked = call(admin, method, f"/governance/api-keys/{ours['key_id']}{path}", {} if path else None)
        unknown = call(admin, method, f"/governance/api-keys/{'A' * 12}{path}", {} if path else None)
        assert asked[0] == unknown[0] == 404
        assert asked[1]["message"] == unknown[1]["message"]
    assert {row["org_id"] for row in call(admin, "GET", "/governance/api-keys")[1]["keys"]} == {"acme"}
    body = {"user_id": "x", "scopes": ["infer"], "org_id": "default"}
    status, told = call(admin, "POST", "/governance/api-keys", body)
    assert (status, told["error"]) == (403, "org_mismatch")


def test_pages_are_newest_first_and_end(call):
    made = [call.made(BOOT, org_id="pages", user_id="p")["key_id"] for _ in range(5)]
    admin = call.made(BOOT, org_id="pages", role="admin", scopes=["all"])["api_key"]
    seen, cursor = [], ""
    for _ in range(5):
        told = call(admin, "GET", f"/governance/api-keys?user_id=p&limit=2{cursor}")[1]
        seen += [row["key_id"] for row in told["keys"]]
        if told["next_cursor"] is None:
            break
        cursor = f"&cursor={urllib.parse.quote(told['next_cursor'])}"
    assert seen == made[::-1]


def test_a_rotated_key_has_a_successor_and_a_revoked_one_is_refused(call):
    old = call.made(BOOT)
    status, new = call(old["api_key"], "POST", f"/governance/api-keys/{old['key_id']}/rotate", {"overlap_hours": 0})
    assert (status, new["rotated_from"]) == (201, old["key_id"])
    assert call(old["api_key"], "POST", "/infer", {"prompt": "x"})[0] == 401
    assert call(new["api_key"], "POST", "/infer", {"prompt": "x"})[0] == 200
    for _ in range(2):
        assert call(BOOT, "DELETE", f"/governance/api-keys/{new['key_id']}") == (204, None)
    status, told = call(new["api_key"], "POST", "/infer", {"prompt": "x"})
    assert (status, told["error"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"user_id": "Ａcme", "scopes": ["infer"]}, 400, "invalid_request"),
        ({"user_id": "../x", "scopes": ["infer"]}, 400, "invalid_request"),
        ({"user_id": "ann", "scopes": []}, 400, "invalid_request"),
        ({"user_id": "ann", "scopes": ["everything"]}, 400, "invalid_request"),
        ({"user_id": "ann", "scopes": ["infer"], "role": "root"}, 400, "invalid_request"),
        ({"user_id": "ann", "scopes": ["infer"], "expires_in_days": 366}, 400, "invalid_request"),
        ({"user_id": "ann", "scopes": ["infer"], "expires_in_days": 0}, 400, "invalid_request"),
        ({"user_id": "ann", "scopes": ["infer"], "key_hash": "x"}, 400, "unknown_field"),
        ({"scopes": ["infer"]}, 400, "invalid_request"),
    ],
)
def test_a_bad_order_is_refused_with_the_reason(call, body, status, error):
    found, told = call(BOOT, "POST", "/governance/api-keys", body)
    assert (found, told["error"]) == (status, error), told


def test_bad_ids_cursors_and_types_are_refused(call):
    for key_id in ("short", "A" * 13, "%00" * 4, "..%2f..%2fadmin", "A" * 11 + "é"):
        assert call(BOOT, "GET", f"/governance/api-keys/{urllib.parse.quote(key_id, safe='%')}")[0] in {400, 404}
    assert call(BOOT, "GET", "/governance/api-keys?cursor=x")[0] == 400
    assert call(BOOT, "GET", "/governance/api-keys?limit=501")[0] == 400
    body = {"user_id": "ann", "scopes": ["infer"]}
    assert call(BOOT, "POST", "/governance/api-keys", body, **{"content-type": "text/plain"})[0] == 415


def test_keys_made_at_the_command_line_open_the_running_gateway(call, folder):
    config = ("--config", str(folder / "config.yaml"))
    made = asahi(folder, "keys", "create", "--org", "shell", "--user", "ann", "--json", *config)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert call(key["api_key"], "POST", "/infer", {"prompt": "from the shell"})[0] == 200
    listed = asahi(folder, "keys", "list", "--org", "shell", *config)
    assert key["prefix"] in listed.stdout
    assert key["api_key"] not in listed.stdout
    assert asahi(folder, "keys", "revoke", "--org", "shell", key["prefix"], *config).returncode == 0

    time.sleep(1.2)
    assert call(key["api_key"], "POST", "/infer", {"prompt": "from the shell"})[0] == 401
    assert asahi(folder, "keys", "revoke", "--org", "shell", "A" * 12, *config).returncode == 1
    assert asahi(folder, "keys", "create", "--scopes", "everything", *config).returncode == 2


def test_keys_survive_a_restart_and_the_audit_chain_verifies(folder):
    """ST-2."""
    configuration = {"auth": {"type": "keys"}, "storage": {"type": "sqlite", "path": str(folder / "again.db")}}
    with gateway(folder, configuration, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        made = Client(served.url).made(BOOT)
    with gateway(folder, configuration, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT) as served:
        assert Client(served.url)(made["api_key"], "POST", "/infer", {"prompt": "x"})[0] == 200


def test_health_says_how_long_a_revoked_key_may_live(call):
    assert any("revoked key may be accepted for 1 s" in told for told in call(BOOT, "GET", "/health")[1]["warnings"])


def test_without_keys_in_storage_a_gateway_starts_and_says_how_to_make_one(tmp_path):
    with gateway(tmp_path, {"auth": "keys"}) as served:
        assert "asahi keys create --admin" in served.printed()
        assert Client(served.url)("x" * 40, "GET", "/metrics")[0] == 401
