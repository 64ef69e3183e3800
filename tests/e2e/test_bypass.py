"""AU-2, C4: the guard is on the handler that answers, however a path is written and whatever a request claims to be."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from tests.e2e.access_rows import ROWS
from tests.e2e.raw import Answer, talk
from tests.e2e.served import gateway

VIEWER = "key-of-a-viewer-0123456789abcdef"
AUTH = {"type": "static", "keys": [{"key": VIEWER, "org": "acme", "role": "viewer", "user": "vera"}]}
#: What a viewer may call, and what nobody needs a key for.
OPEN = {"public", "identified", "view_metrics"}
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "TRACE", "get", "PROPFIND")
CLAIMS = (
    "x-http-method-override: GET",
    "x-original-url: /health",
    "x-rewrite-url: /health",
    "x-forwarded-for: 127.0.0.1",
    "x-forwarded-user: admin",
    "x-forwarded-prefix: /health",
    "x-real-ip: 127.0.0.1",
    "forwarded: for=127.0.0.1;host=localhost",
    "x-asahi-organization-id: default",
    "cookie: asahi_session=admin; __Host-asahi_session=admin",
)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    tree = {"auth": AUTH, "providers": {"mock": {}}}
    with gateway(tmp_path_factory.mktemp("bypass"), tree) as served:
        yield urlsplit(served.url).port


def guarded() -> list[tuple[str, str]]:
    """Method and path of every route that a viewer may not call."""
    found = []
    for (method, path), row in ROWS.items():
        if row.permission not in OPEN:
            head, _, rest = path.partition("{")
            found.append((method, head + ("none" + rest.partition("}")[2] if "{" in path else "")))
    return found


def spellings(path: str) -> list[str]:
    """Ways to write a path that some part of a stack might read as another, or as the same."""
    first, _, rest = path[1:].partition("/")
    tail = f"/{rest}" if rest else ""
    return [
        path,
        f"/{path}",
        f"/health/..{path}",
        f"/./{path[1:]}",
        f"{path}/",
        f"{path}//",
        f"/health/%2e%2e{path}",
        f"/health%2f..{path}",
        f"/%2e{path}",
        f"/{first.upper()}{tail}",
        f"/%{ord(first[0]):02x}{first[1:]}{tail}",
        f"{path}%00",
        f"{path};x=/health",
        f"{path}?path=/health",
        f"{path}#/health",
        f"http://localhost{path}",
        f"http://evil.example{path}",
        f"\\{path[1:]}",
        f"/health?{path}",
        f"{path}/health",
    ]


def send(port: int, method: str, target: str, *more: str, key: str = VIEWER, host: str = "localhost") -> list[int]:
    """The statuses of the answers. A page of the dashboard, where they are built, is everybody's, and holds nothing of
    anybody's: no route answers with HTML."""
    body = b"{}" if method in {"POST", "PUT", "PATCH"} else b""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *more, "connection: close"]
    lines += [f"authorization: Bearer {key}"] if key else []
    lines += [f"content-length: {len(body)}", "content-type: application/json"] if body else []
    told = talk(port, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, expect=1)
    return [answer.status for answer in told.answers if not is_page(answer)]


def is_page(answer: Answer) -> bool:
    html = answer.headers.get("content-type", "").startswith("text/html")
    return answer.status == 200 and html and b"acme" not in answer.body


def test_no_spelling_of_a_path_gets_past_the_guard(port):
    let_in, tried = [], 0
    for method, path in guarded():
        for target in spellings(path):
            tried += 1
            told = send(port, method, target)
            mine = target == f"/health?{path}" and method == "GET"  # this one is /health, which is everybody's
            if any(status < 400 for status in told) and not mine:
                let_in.append((method, target, told))
    assert let_in == []
    assert tried > 600


def test_no_method_and_no_claim_gets_past_the_guard(port):
    let_in = []
    for method, path in guarded():
        for other in METHODS:
            if (other, path) not in ROWS or ROWS[other, path].permission not in OPEN:
                told = send(port, other, path)
                if any(status < 400 for status in told):
                    let_in.append((other, path, told))
        for claim in CLAIMS:
            told = send(port, method, path, claim)
            if any(status < 400 for status in told):
                let_in.append((method, path, claim, told))
    allowed = {path for (method, path), row in ROWS.items() if row.permission in OPEN and method == "GET"}
    assert [each for each in let_in if each[1] not in allowed or each[0] not in {"GET", "HEAD"}] == []


def test_two_hosts_two_keys_and_no_key_are_refused(port):
    assert send(port, "GET", "/cache/entries", "host: localhost") == [400]
    assert send(port, "GET", "/cache/entries", key="") == [401]
    assert send(port, "GET", "/cache/entries", "x-api-key: another-key-0123456789abcdefgh") == [400]
    assert send(port, "GET", "/cache/stats") == [200], "or the viewer's key opens nothing, and the test shows nothing"
