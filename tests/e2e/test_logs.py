"""The log of a served gateway, at DEBUG and with everything going wrong: one object a line, who asked and how it ended,
and no word of what was asked or with which key."""

import json
import re
import socket
import time
import urllib.error
import urllib.request

import pytest
from tests.e2e.chatty import install
from tests.e2e.served import gateway, upstream

CANARY = "canary-7Hk2Vb9QmZ"
VENDOR_KEY = "sk-canary-Zq8Lw3Rt6Yp1Xn5V"
OWN_KEY = "key-canary-0123456789abcdefghij"
NASTY = f'{CANARY}\r\n{{"level":"FORGED"}}\x1b[31m\u202egnp\u2028\x9b\x00x'.replace("\x00", "")
FIELDS = {
    *("timestamp", "level", "logger", "message", "request_id", "org_id", "route", "status", "duration_ms", "error"),
    "trace_id",
}
MODEL = {"provider": "openai", "cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015}


def call(url, path, body=None, key=OWN_KEY, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=20) as answer:
            answer.read()
            return answer.status, answer.headers["x-asahi-request-id"]
    except urllib.error.HTTPError as error:
        error.read()
        return error.code, error.headers["x-asahi-request-id"]


def chat(text, **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def configuration(vendor, **logging):
    provider = {"api_key": VENDOR_KEY, "base_url": f"{vendor}/v1", "max_retries": 0}
    provider["breaker"] = {"consecutive_failures": 10_000, "min_calls": 10_000}
    keys = [{"key": OWN_KEY, "org": "acme", "user": "ann", "role": "admin"}]
    return {
        "auth": {"type": "static", "keys": keys},
        "storage": "memory",
        "models": [{"name": "m", **MODEL}],
        "providers": {"openai": provider},
        "governance": {"policies": ["chatty"]},
        "logging": logging,
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Everything that goes wrong once; the lines, and what each call came to."""
    folder = tmp_path_factory.mktemp("logs")
    install(folder)
    with upstream(folder) as (vendor, _):
        with gateway(folder, configuration(vendor.url, level="DEBUG")) as served:
            ended = {}
            for fault in ("[task]", "[thread]", "[callback]", "[policy]", "[[fakeup: status=500]]"):
                ended[fault] = call(served.url, "/v1/chat/completions", chat(f"{NASTY} {fault}"))
            ended["ok"] = call(served.url, "/v1/chat/completions", chat(NASTY))
            ended["broken"] = call(
                served.url, "/v1/chat/completions", chat(f"{CANARY} [[fakeup: reset_at=2]]", stream=True)
            )
            ended["native"] = call(served.url, "/infer", {"prompt": NASTY})
            ended["unread"] = call(served.url, "/infer", {"prompt": "x", CANARY: 1})
            ended["model"] = call(served.url, "/infer", {"prompt": "x", "model": CANARY})
            ended["route"] = call(served.url, f"/fails/{CANARY}")
            ended["nowhere"] = call(served.url, f"/{CANARY}")
            ended["stranger"] = call(served.url, "/infer", {"prompt": "x"}, key=CANARY * 2)
            ended["live"] = call(served.url, "/health/live")
            refuse_at_the_edge(served.url)
            time.sleep(0.3)
        yield served.printed().splitlines(), ended


def refuse_at_the_edge(url):
    host, port = re.fullmatch(r"http://([\d.]+):(\d+)", url).groups()
    with socket.create_connection((host, int(port)), 5) as client:
        client.sendall(b"POST /infer HTTP/1.1\r\nhost: a\r\nhost: b\r\nx: " + CANARY.encode() + b"\r\n\r\n")
        assert b" 400 " in client.recv(1 << 16).split(b"\r\n")[0]


def lines_of(said):
    return [json.loads(line) for line in said[0]]


def access(said, what):
    """The line that tells how a call ended."""
    (line,) = [
        each for each in lines_of(said) if each["logger"] == "asahi.access" and each["request_id"] == said[1][what][1]
    ]
    return line


def test_each_line_is_one_object_with_known_fields(said):
    assert len(said[0]) > 20
    for line in said[0]:
        told = json.loads(line)
        assert told.keys() <= FIELDS, told
        assert {"timestamp", "level", "logger", "message"} <= told.keys()
        assert line.isprintable(), line
        assert told["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert "FORGED" not in line
        assert all(value.isprintable() for value in told.values() if isinstance(value, str)), told


def test_no_prompt_and_no_key_is_in_any_line(said):
    whole = "\n".join(said[0])
    for secret in (CANARY, CANARY[:9], VENDOR_KEY, OWN_KEY):
        assert secret not in whole, [line for line in said[0] if secret in line]


def test_what_failed_is_told_all_the_same(said):
    assert {status for status, _ in said[1].values()} >= {200, 400, 401, 404, 500, 502}
    errors = [each["error"] for each in lines_of(said) if each["level"] == "ERROR"]
    assert sum("asahi_chatty.py:" in each for each in errors) >= 5, errors
    assert any(re.search(r"ValueError at .*asahi_chatty\.py:\d+ burst; after KeyError at", each) for each in errors)
    library = [each["message"] for each in lines_of(said) if each["logger"] == "openai._base_client"]
    assert set(library) == {"retrying"}


@pytest.mark.parametrize(
    ("what", "status", "error", "route"),
    [
        ("ok", 200, None, "/v1/chat/completions"),
        ("[policy]", 500, "internal", "/v1/chat/completions"),
        ("[[fakeup: status=500]]", 502, "provider_error", "/v1/chat/completions"),
        ("broken", 200, "provider_error", "/v1/chat/completions"),
        ("native", 200, None, "/infer"),
        ("unread", 400, "unknown_field", "/infer"),
        ("route", 500, "internal", "/fails/{word}"),
        ("nowhere", 404, "not_found", None),
        ("stranger", 401, "unauthenticated", "/infer"),
    ],
)
def test_each_request_has_one_line_that_tells_how_it_ended(said, what, status, error, route):
    line = access(said, what)
    assert (line["status"], line.get("error"), line.get("route")) == (status, error, route)
    assert said[1][what][0] == status
    assert line["duration_ms"] > 0
    assert line["level"] == ("WARNING" if status >= 500 else "INFO")
    assert line.get("org_id") == (None if what in {"nowhere", "stranger", "route"} else "acme")


def test_what_is_logged_while_a_request_is_served_names_it(said):
    request_id = said[1]["[policy]"][1]
    own = [each for each in lines_of(said) if each.get("request_id") == request_id]
    assert {"asahi_kernel.api.exchange", "asahi.access"} <= {each["logger"] for each in own}
    assert {each["org_id"] for each in own} == {"acme"}
    assert len({each["trace_id"] for each in own}) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", own[0]["trace_id"])


def test_probes_are_told_at_debug_and_refusals_at_the_edge_too(said):
    lines = [each for each in lines_of(said) if each["logger"] == "asahi.access"]
    assert [each["level"] for each in lines if each.get("route") == "/health/live"] == ["DEBUG"]
    assert [(each["status"], each["error"]) for each in lines if each["message"] == "- - 400"] == [
        (400, "invalid_request")
    ]


def test_for_terminals_there_is_text_and_of_what_went_well_nothing_if_so_wished(tmp_path):
    install(tmp_path)
    with upstream(tmp_path) as (vendor, _):
        with gateway(tmp_path, configuration(vendor.url, format="text", access="failures")) as served:
            assert call(served.url, "/infer", {"prompt": NASTY})[0] == 200
            _, request_id = call(served.url, "/v1/chat/completions", chat(f"{NASTY} [[fakeup: status=500]]"))
            time.sleep(0.2)
        lines = served.printed().splitlines()
    assert sum("asahi.access" in line for line in lines) == 1
    (failed,) = [line for line in lines if "POST /v1/chat/completions 502" in line]
    assert f"request_id={request_id} org_id=acme" in failed
    assert "error=provider_error" in failed
    assert all(line.isprintable() for line in lines)
    assert CANARY not in "\n".join(lines)
