"""Every row of bad input against the real gateway over raw sockets: no 5xx, a clear error, nothing half-written."""

import json
import urllib.request

import pytest
from tests.e2e.edge_rows import HTTP_ROWS, check_row
from tests.e2e.raw import talk
from tests.e2e.served import gateway

NATIVE, OPENAI = "/infer", "/v1/chat/completions"
DEEP = b'{"prompt":"x","tags":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def native(**fields: object) -> bytes:
    return json.dumps({"prompt": "x", **fields}).encode()


def openai(**fields: object) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": "x"}], **fields}).encode()


def raw(field: bytes) -> bytes:
    return b'{"prompt":"x",' + field + b"}"


# name, path, body, status, codes
BODIES: list[tuple[str, str, bytes, int, str]] = [
    ("empty", NATIVE, b"", 400, "invalid_json"),
    ("malformed", NATIVE, b'{"prompt":', 400, "invalid_json"),
    ("trailing bytes", NATIVE, native() + b"x", 400, "invalid_json"),
    ("byte-order mark", NATIVE, b"\xef\xbb\xbf" + native(), 400, "invalid_json"),
    ("invalid UTF-8", NATIVE, b'{"prompt":"\xff"}', 400, "invalid_json"),
    ("overlong UTF-8", NATIVE, b'{"prompt":"\xc0\xaf"}', 400, "invalid_json"),
    ("raw surrogate", NATIVE, b'{"prompt":"\xed\xa0\x80"}', 400, "invalid_json"),
    ("lone surrogate escape", NATIVE, b'{"prompt":"\\ud800"}', 400, "invalid_json"),
    ("65 levels", NATIVE, raw(b'"tags":' + b"[" * 65 + b"]" * 65), 400, "invalid_json"),
    ("100,000 levels", NATIVE, DEEP, 400, "invalid_json"),
    ("100,000 levels in an unknown field", OPENAI, openai()[:-1] + b',"new":' + DEEP[21:], 400, "invalid_json"),
    ("duplicate key", NATIVE, b'{"prompt":"a","prompt":"b"}', 400, "invalid_json"),
    ("duplicate key deep down", OPENAI, openai()[:-1] + b',"metadata":{"a":"1","a":"2"}}', 400, "invalid_json"),
    ("unknown field", NATIVE, native(temprature=1), 400, "unknown_field"),
    ("unknown field deep down", NATIVE, native(history=[{"role": "user", "content": "x", "name": "y"}]), 400, "unknown_field"),
    ("other case", OPENAI, openai(Messages=[]), 400, "unknown_field"),
    ("api_base", OPENAI, openai(api_base="http://evil"), 400, "unknown_field"),
    ("base_url", OPENAI, openai(base_url="http://evil"), 400, "unknown_field"),
    ("nested api_key", OPENAI, openai(metadata={"api_key": "x"}), 400, "unknown_field"),
    ("steering deep in a vendor field", OPENAI, openai(vendor={"a": [{"base_url": "http://evil"}]}), 400, "unknown_field"),
    ("another model behind our back", OPENAI, openai(models=["gpt-4"]), 400, "unknown_field"),
    ("misspelt field of ours", OPENAI, openai(quality_treshold=4), 400, "unknown_field"),
    ("NaN", NATIVE, raw(b'"temperature":NaN'), 400, "invalid_json"),
    ("Infinity", NATIVE, raw(b'"temperature":-Infinity'), 400, "invalid_json"),
    ("1e999", NATIVE, raw(b'"temperature":1e999'), 400, "invalid_json"),
    ("1e400000000", NATIVE, raw(b'"cost_budget":1e400000000'), 400, "invalid_json"),
    ("number as a string", NATIVE, native(max_tokens="5"), 400, "invalid_request"),
    ("NaN as a string", NATIVE, native(cost_budget="NaN"), 400, "invalid_request"),
    ("true for a number", NATIVE, native(max_tokens=True), 400, "invalid_request"),
    ("1.0 for an integer", NATIVE, native(max_tokens=1.0), 400, "invalid_request"),
    *((f"max_tokens {n}", NATIVE, native(max_tokens=n), 400, "invalid_request") for n in (-1, 0, 2**31, 2**63, 2**200)),
    *((f"max_tokens {n} on /v1", OPENAI, openai(max_tokens=n), 400, "invalid_request") for n in (-1, 0, 2**31, 2**200)),
    *((f"temperature {n}", NATIVE, native(temperature=n), 400, "invalid_request") for n in (-1, 3)),
    ("quality_threshold 5.1", NATIVE, native(quality_threshold=5.1), 400, "invalid_request"),
    *((f"latency_budget_ms {n}", NATIVE, native(latency_budget_ms=n), 400, "invalid_request") for n in (49, 30_001)),
    ("cost_budget -0.01", NATIVE, native(cost_budget=-0.01), 400, "invalid_request"),
    ("NUL escape", NATIVE, b'{"prompt":"a\\u0000b"}', 400, "invalid_request"),
    ("NUL in a key", OPENAI, openai()[:-1] + b',"a\\u0000":1}', 400, "invalid_request"),
    ("no prompt", NATIVE, b"{}", 400, "invalid_request"),
    ("empty prompt", NATIVE, native(prompt=""), 400, "invalid_request"),
    ("blank prompt", NATIVE, native(prompt=" \n\t"), 400, "invalid_request"),
    ("zero-width prompt", NATIVE, native(prompt="\u200b\u200d\ufeff"), 400, "invalid_request"),
    ("prompt too long", NATIVE, native(prompt="x" * 100_001), 400, "invalid_request"),
    ("system prompt too long", NATIVE, native(system_prompt="x" * 50_001), 400, "invalid_request"),
    ("a megabyte of zero-width", OPENAI, openai(messages=[{"role": "user", "content": "\u200b" * 350_000}]), 400, "invalid_request"),
    ("a megabyte of combining", OPENAI, openai(messages=[{"role": "user", "content": "\u0301" * 500_000}]), 400, "invalid_request"),
    ("larger than every context", OPENAI, openai(messages=[{"role": "user", "content": "word " * 300_000}]), 422, "context_too_long"),
    ("1,000,000 messages", OPENAI, b'{"model":"auto","messages":[' + b"{}," * 999_999 + b"{}]}", 413, "body_too_large"),
    ("10 MB of brackets", NATIVE, b'{"prompt":[' + b"[]," * 3_300_000 + b"[]]}", 413, "body_too_large"),
    ("over the limit", NATIVE, b'{"prompt":"' + b"x" * (20 << 20) + b'"}', 413, "body_too_large"),
    ("unknown routing_mode", NATIVE, native(routing_mode="magic"), 400, "invalid_request"),
    ("unknown preference", NATIVE, native(quality_preference="best"), 400, "invalid_preference"),
    ("unknown task", NATIVE, native(task_type="dance"), 400, "invalid_request"),
    ("explicit without model", NATIVE, native(routing_mode="explicit"), 400, "model_required"),
    ("unknown model", NATIVE, native(model="gpt-4-turb"), 400, "unknown_model"),
    ("unknown model on /v1", OPENAI, openai(model="gpt-4-turb"), 404, "model_not_found"),
    ("another org", NATIVE, native(organization_id="acme"), 403, "org_mismatch"),
    ("another user", NATIVE, native(user_id="root"), 403, "user_mismatch"),
    ("another org on /v1", OPENAI, openai(organization_id="acme"), 403, "org_mismatch"),
    ("file address", OPENAI, openai(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]), 400, "invalid_request"),
    ("data address of a wrong type", OPENAI, openai(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:text/html,x"}}]}]), 400, "invalid_request"),
    *((f"model name {name!r}", OPENAI, openai(model=name), 400, "invalid_request") for name in ("a\nb", "../x", "*", "<script>")),
    *((f"tag {name!r}", NATIVE, native(tags={name: "x"}), 400, "invalid_request") for name in ("a\nb", "../x", "*", "")),
    *((f"document id {name!r}", NATIVE, native(document="x", document_id=name), 400, "invalid_request") for name in ("a\nb", "../x", "*")),
    *((f"org id {name!r}", NATIVE, native(organization_id=name), 400, "invalid_request") for name in (
        "../x", "a/b", "Ａcme", "аcme", "ﬀ", "a\u200b", "a\u202e", "a ", "a.", "a" * 10_000, "*", "?", "[", "{t}", ":", "%", "a\n",
        "__proto__", "' OR 1=1", "$where", "${}", "{{7*7}}", "-1", "Acme",
    )),
    ("no messages", OPENAI, openai(messages=[]), 400, "invalid_request"),
    ("n of 9", OPENAI, openai(n=9), 400, "invalid_request"),
    ("not an object", NATIVE, b'"prompt"', 400, "invalid_request"),
    ("a bound nobody meets", NATIVE, native(quality_threshold=4.9), 422, "no_route"),
    ("a budget nobody meets", NATIVE, native(prompt="never asked", cost_budget=0.0000001), 422, "no_route"),
]  # fmt: skip

# name, headers, body, status, code
HEADERS: list[tuple[str, bytes, int, str]] = [
    ("no content type", b"", 415, "unsupported_media_type"),
    ("form", b"content-type: application/x-www-form-urlencoded\r\n", 415, "unsupported_media_type"),
    ("multipart", b"content-type: multipart/form-data; boundary=x\r\n", 415, "unsupported_media_type"),
    ("XML", b"content-type: application/xml\r\n", 415, "unsupported_media_type"),
    ("msgpack", b"content-type: application/msgpack\r\n", 415, "unsupported_media_type"),
    ("wrong charset", b"content-type: application/json; charset=latin-1\r\n", 415, "unsupported_media_type"),
    ("gzip", b"content-type: application/json\r\ncontent-encoding: gzip\r\n", 415, "unsupported_media_type"),
    ("conflict with the body", b"content-type: application/json\r\nx-asahi-max-tokens: 7\r\n", 400, "unknown_field"),
    ("conflicting fields", b"content-type: application/json\r\nx-asahi-cache: off\r\n", 400, "conflicting_fields"),
    ("empty idempotency key", b"content-type: application/json\r\nidempotency-key: \r\n", 400, "invalid_request"),
    ("long idempotency key", b"content-type: application/json\r\nidempotency-key: " + b"x" * 256 + b"\r\n", 400, "invalid_request"),
    ("idempotency key beyond ASCII", b"content-type: application/json\r\nidempotency-key: \xe9\r\n", 400, "invalid_request"),
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("bad")) as process:
        yield process


@pytest.fixture(scope="module")
def port(served):
    return int(served.url.rsplit(":", 1)[1])


def recorded(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?period=all") as answer:
        return json.load(answer)["requests"]


def post(port: int, path: str, body: bytes, headers: bytes = b"content-type: application/json\r\n"):
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n".encode() + headers
    return talk(port, head + b"content-length: %d\r\n\r\n" % len(body) + body, expect=1, timeout=10).answers[0]


def check(answer, status: int, code: str) -> None:
    told = json.loads(answer.body)
    native_shape = answer.headers["content-type"] == "application/problem+json"
    found = told["error"] if native_shape else told["error"]["code"]
    message = told["message"] if native_shape else told["error"]["message"]
    assert (answer.status, found) == (status, code), message
    assert 10 < len(message) < 500
    assert "asahi_kernel" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize(("name", "path", "body", "status", "code"), BODIES, ids=[row[0] for row in BODIES])
def test_a_bad_body_is_refused_and_leaves_nothing_behind(port, name, path, body, status, code):
    before = recorded(port)
    check(post(port, path, body), status, code)
    assert recorded(port) - before == (status == 422)
    assert post(port, NATIVE, native()).status == 200


@pytest.mark.parametrize(("name", "headers", "status", "code"), HEADERS, ids=[row[0] for row in HEADERS])
def test_a_bad_header_is_refused(port, name, headers, status, code):
    check(post(port, NATIVE, native(cache="on" if "off" not in str(headers) else "refresh"), headers), status, code)


#: These need a route that reads a body of at most 1 MiB, which the kernel alone does not have.
ELSEWHERE = {"chunks over the limit", "flood of tiny chunks"}
KERNEL_ROWS = [row for row in HTTP_ROWS if row.name not in ELSEWHERE]


@pytest.mark.parametrize("row", KERNEL_ROWS, ids=[row.name for row in KERNEL_ROWS])
def test_the_real_gateway_keeps_every_row_of_the_edge(port, row):
    check_row(port, row)


def test_chunks_over_the_inference_limit_are_413_and_readable(port):
    head = b"POST /infer HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    answer = talk(port, head + chunk * 21 + b"0\r\n\r\n", expect=1, timeout=10).answers[0]
    check(answer, 413, "body_too_large")


@pytest.mark.parametrize("path", ["/infer", "/v1/chat/completions"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_inference_takes_post_only(port, path, method):
    answer = talk(port, f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(), expect=1).answers[0]
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_what_the_gateway_logged_holds_no_prompt_and_no_traceback(served):
    log = served.printed()
    assert "Traceback" not in log
    assert "zero-width" not in log
