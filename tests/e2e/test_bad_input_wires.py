"""The rows of bad bodies on `/v1/embeddings` and `/v1/responses`: no 5xx, a clear error, nothing half-written."""

import json

import pytest
from tests.e2e.raw import talk
from tests.e2e.served import gateway
from tests.e2e.test_bad_input import DEEP, check, post, recorded

EMBED, RESPOND = "/v1/embeddings", "/v1/responses"
BOTH = (EMBED, RESPOND)


def body(**fields: object) -> bytes:
    return json.dumps({"model": "auto", "input": "x", **fields}).encode()


def image(url: str) -> bytes:
    return body(input=[{"role": "user", "content": [{"type": "input_image", "image_url": url}]}])


# name, body, status, code; on both routes
COMMON: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "invalid_json"),
    ("malformed", b'{"input":', 400, "invalid_json"),
    ("trailing bytes", body() + b"x", 400, "invalid_json"),
    ("byte-order mark", b"\xef\xbb\xbf" + body(), 400, "invalid_json"),
    ("invalid UTF-8", b'{"input":"\xff"}', 400, "invalid_json"),
    ("lone surrogate escape", b'{"input":"\\ud800"}', 400, "invalid_json"),
    ("100,000 levels", body()[:-1] + b',"new":' + DEEP[21:], 400, "invalid_json"),
    ("duplicate key", b'{"input":"a","input":"b"}', 400, "invalid_json"),
    ("duplicate key deep down", body()[:-1] + b',"tags":{"a":"1","a":"2"}}', 400, "invalid_json"),
    ("NUL escape", b'{"model":"auto","input":"a\\u0000b"}', 400, "invalid_request"),
    ("not an object", b'"input"', 400, "invalid_request"),
    ("other case", body(Input="x"), 400, "unknown_field"),
    ("api_base", body(api_base="http://evil"), 400, "unknown_field"),
    ("steering deep in a tag", body(tags={"base_url": "http://evil"}), 400, "unknown_field"),
    ("another model behind our back", body(models=["gpt-4"]), 400, "unknown_field"),
    ("misspelt field of ours", body(cost_budgte=4), 400, "unknown_field"),
    ("no input", b'{"model":"auto"}', 400, "invalid_request"),
    ("no model", b'{"input":"x"}', 400, "invalid_request"),
    ("null input", body(input=None), 400, "invalid_request"),
    ("a number for input", body(input=5), 400, "invalid_request"),
    ("empty list", body(input=[]), 400, "invalid_request"),
    ("blank", body(input=" \n\t"), 400, "invalid_request"),
    ("zero-width", body(input="\u200b\u200d\ufeff"), 400, "invalid_request"),
    ("cost_budget -0.01", body(cost_budget=-0.01), 400, "invalid_request"),
    ("unknown model", body(model="gpt-4-turb"), 404, "model_not_found"),
    ("another org", body(organization_id="acme"), 403, "org_mismatch"),
    ("another user", body(user_id="root"), 403, "user_mismatch"),
    ("over the limit", b'{"input":"' + b"x" * (20 << 20) + b'"}', 413, "body_too_large"),
    ("10 MB of brackets", b'{"input":[' + b"[]," * 3_300_000 + b"[]]}", 413, "body_too_large"),
    *((f"model name {name!r}", body(model=name), 400, "invalid_request") for name in ("a\nb", "../x", "*", "<script>")),
]  # fmt: skip

# name, path, body, status, code
OWN: list[tuple[str, str, bytes, int, str]] = [
    ("tokens", EMBED, body(input=[1, 2, 3]), 400, "invalid_request"),
    ("lists of tokens", EMBED, body(input=[[1, 2], [3]]), 400, "invalid_request"),
    ("a blank member", EMBED, body(input=["a", "\u200b"]), 400, "invalid_request"),
    ("2,049 texts", EMBED, body(input=["a"] * 2_049), 400, "invalid_request"),
    ("1,000,000 texts", EMBED, body(input=["a"] * 1_000_000), 413, "body_too_large"),
    ("no dimensions", EMBED, body(dimensions=0), 400, "invalid_request"),
    ("dimensions of 2^63", EMBED, body(dimensions=2**63), 400, "invalid_request"),
    ("an encoding of its own", EMBED, body(encoding_format="hex"), 400, "invalid_request"),
    ("a new vendor field", EMBED, body(truncate="END"), 400, "unknown_field"),
    ("a chat model", EMBED, body(model="gpt-4-turbo"), 400, "invalid_request"),
    ("a text beyond the context", EMBED, body(input=["word " * 9_000]), 422, "context_too_long"),
    ("a budget nobody meets", EMBED, body(input="never asked", cost_budget=0.000000001), 422, "no_route"),
    ("an embedding model", RESPOND, body(model="text-embedding-3-small"), 400, "invalid_request"),
    ("stored state", RESPOND, body(previous_response_id="resp_1"), 400, "invalid_request"),
    ("an item without a role", RESPOND, body(input=[{}]), 400, "invalid_request"),
    ("an item that is no object", RESPOND, body(input=["x"]), 400, "invalid_request"),
    ("file address", RESPOND, image("file:///etc/passwd"), 400, "invalid_request"),
    ("data address of a wrong type", RESPOND, image("data:text/html,x"), 400, "invalid_request"),
    ("1,000,000 items", RESPOND, b'{"model":"auto","input":[' + b"{}," * 999_999 + b"{}]}", 413, "body_too_large"),
    ("10,001 items", RESPOND, body(input=[{"role": "user", "content": "x"}] * 10_001), 413, "body_too_large"),
    *((f"bound {n}", RESPOND, body(max_output_tokens=n), 400, "invalid_request") for n in (-1, 0, 2**31, 2**200)),
    *((f"temperature {n}", RESPOND, body(temperature=n), 400, "invalid_request") for n in (-1, 3)),
]  # fmt: skip

ROWS = [(name, path, sent, status, code) for name, sent, status, code in COMMON for path in BOTH] + OWN


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with gateway(tmp_path_factory.mktemp("bad")) as process:
        yield int(process.url.rsplit(":", 1)[1])
        assert "Traceback" not in process.printed()


@pytest.mark.parametrize(("name", "path", "sent", "status", "code"), ROWS, ids=[f"{row[1]} {row[0]}" for row in ROWS])
def test_a_bad_body_is_refused_and_leaves_nothing_behind(port, name, path, sent, status, code):
    before = recorded(port)
    check(post(port, path, sent), status, code)
    assert recorded(port) - before == (status == 422)
    assert post(port, path, body()).status == 200


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_they_take_post_only(port, path, method):
    answer = talk(port, f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(), expect=1).answers[0]
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", BOTH)
def test_another_type_of_body_is_415(port, path):
    check(post(port, path, body(), b"content-type: application/xml\r\n"), 415, "unsupported_media_type")
