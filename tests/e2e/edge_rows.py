"""The bad-input rows of the HTTP edge, to be held against any server behind it."""

from __future__ import annotations

import json

from msgspec import Struct
from tests.e2e.raw import Answer, talk

MARK = b"zebra7c1"
HOST = b"Host: localhost\r\n"
GET = b"GET /health/live HTTP/1.1\r\n" + HOST
POST = b"POST /feedback HTTP/1.1\r\n" + HOST
INFER = b"POST /infer HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /" + MARK + b" HTTP/1.1\r\n" + HOST + b"\r\n"


class Row(Struct, frozen=True):
    """Bytes to send and the statuses allowed, the last one for the last answer; none when a handler is to answer.

    `closes` says that the server must end the connection by itself, cleanly.
    """

    name: str
    sends: bytes
    statuses: tuple[int, ...] = (400,)
    closes: bool = True
    code: str | None = None


def get(target: bytes, *headers: bytes, version: bytes = b"1.1", host: bytes = HOST) -> bytes:
    """A request without a body."""
    return b"GET %s HTTP/%s\r\n%s%s\r\n" % (target, version, host, b"".join(line + b"\r\n" for line in headers))


def post(*headers: bytes, body: bytes = b"", start: bytes = POST) -> bytes:
    """A request whose framing is up to the headers given."""
    return start + b"".join(line + b"\r\n" for line in headers) + b"\r\n" + body


_HOSTS = {
    "no host": b"",
    "two hosts": HOST + HOST,
    "two different hosts": HOST + b"Host: " + MARK + b"\r\n",
    "host with a path": b"Host: localhost/" + MARK + b"\r\n",
    "host with a user": b"Host: " + MARK + b"@localhost\r\n",
    "host with a query": b"Host: localhost?" + MARK + b"\r\n",
    "host with port 99999": b"Host: localhost:99999\r\n",
    "host with port 0": b"Host: localhost:0\r\n",
    "host with an empty port": b"Host: localhost:\r\n",
    "host with a word for a port": b"Host: localhost:" + MARK + b"\r\n",
    "unknown host": b"Host: " + MARK + b".example\r\n",
    "unknown host with a known suffix": b"Host: " + MARK + b".localhost.example\r\n",
    "empty host": b"Host: \r\n",
    "host with blanks": b"Host: local host\r\n",
    "non-ASCII host": b"Host: localhost\xff\r\n",
    "two hosts in one": b"Host: localhost, " + MARK + b"\r\n",
}
_TARGETS = {
    "absolute form": b"http://localhost/governance/" + MARK,
    "absolute form of another host": b"http://" + MARK + b"/governance/audit",
    "authority form": b"localhost:80",
    "asterisk form": b"*",
    "double slash": b"//governance//" + MARK,
    "double slash inside": b"/governance//audit",
    "dot segment": b"/governance/./audit",
    "dot-dot segment": b"/x/../governance/audit",
    "final dot-dot": b"/governance/..",
    "encoded dot-dot": b"/x/%2e%2e/governance",
    "half-encoded dot-dot": b"/x/.%2E/governance",
    "encoded dots and slash": b"/%2e%2e%2fgovernance",
    "encoded slash in an id": b"/explain/a%2f" + MARK,
    "encoded backslash": b"/explain/a%5C" + MARK,
    "backslash": b"/explain\\" + MARK,
    "encoded NUL": b"/explain/a%00" + MARK,
    "encoded newline": b"/explain/a%0d%0aX:" + MARK,
    "encoded percent": b"/explain/%2561",
    "invalid UTF-8": b"/explain/%ff" + MARK,
    "full-width letter": b"/explain/%EF%BC%A1cme",
    "Cyrillic letter": b"/explain/%D0%B0cme",
    "zero-width space": b"/explain/a%E2%80%8B",
    "raw high byte": b"/explain/\xff" + MARK,
    "raw control byte": b"/explain/\x01" + MARK,
    "raw NUL": b"/explain/\x00" + MARK,
    "half an escape": b"/explain/%4",
    "escape that is none": b"/explain/%zz",
    "IIS escape": b"/explain/%u0061",
    "trailing space": b"/governance/audit%20",
    "fragment": b"/governance/audit#" + MARK,
    "braces": b"/explain/{" + MARK + b"}",
}
_FRAMING = {
    "CL.TE": post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG" + SMUGGLED),
    "TE.CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
    "TE of an unknown kind": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SMUGGLED),
    "TE chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SMUGGLED),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "TE identity": post(b"Transfer-Encoding: identity", body=SMUGGLED),
    "TE twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "TE with vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + SMUGGLED),
    "TE quoted": post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n" + SMUGGLED),
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcde" + SMUGGLED),
    "one length twice": post(b"Content-Length: 5", b"Content-Length: 5", body=b"abcde" + SMUGGLED),
    "list of lengths": post(b"Content-Length: 5, 5", body=b"abcde" + SMUGGLED),
    "length +14": post(b"Content-Length: +14", body=SMUGGLED),
    "length -1": post(b"Content-Length: -1", body=SMUGGLED),
    "hexadecimal length": post(b"Content-Length: 0x5", body=b"abcde" + SMUGGLED),
    "empty length": post(b"Content-Length:", body=SMUGGLED),
    "length with a blank": post(b"Content-Length: 1 4", body=SMUGGLED),
    "length beyond 64 bits": post(b"Content-Length: " + b"9" * 30, body=SMUGGLED),
    "space before colon": post(b"Content-Length : 5", body=b"abcde" + SMUGGLED),
    "tab before colon": post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "folded header": post(b"X-A: a\r\n " + MARK, body=SMUGGLED),
    "folded first header": b"GET / HTTP/1.1\r\n " + HOST + b"\r\n" + SMUGGLED,
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: localhost\n\n" + SMUGGLED,
    "bare LF after a header": b"GET / HTTP/1.1\r\nHost: localhost\nX-A: b\r\n\r\n" + SMUGGLED,
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: localhost\r\n\n" + SMUGGLED,
    "bare CR": b"GET / HTTP/1.1\r\nHost: localhost\rX-A: b\r\n\r\n" + SMUGGLED,
    "header without colon": post(MARK, body=SMUGGLED),
    "empty header name": post(b": " + MARK, body=SMUGGLED),
    "non-ASCII header name": post(b"X\xe9: a", body=SMUGGLED),
    "NUL in a header name": post(b"X\0: a", body=SMUGGLED),
    "NUL in a header value": post(b"X-A: \0" + MARK, body=SMUGGLED),
    "control byte in a header value": post(b"X-A: \x01" + MARK, body=SMUGGLED),
    "DEL in a header value": post(b"X-A: \x7f" + MARK, body=SMUGGLED),
    "negative chunk": post(b"Transfer-Encoding: chunked", body=b"-1\r\nx\r\n0\r\n\r\n" + SMUGGLED),
    "hexadecimal prefix in a chunk": post(b"Transfer-Encoding: chunked", body=b"0x1\r\nx\r\n0\r\n\r\n" + SMUGGLED),
    "overflowing chunk": post(b"Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\nx\r\n" + SMUGGLED),
    "chunk without its CRLF": post(b"Transfer-Encoding: chunked", body=b"1\r\nxX0\r\n\r\n" + SMUGGLED),
    "chunk size with bare LF": post(b"Transfer-Encoding: chunked", body=b"1\nx\n0\n\n" + SMUGGLED),
    "chunk size with blanks": post(b"Transfer-Encoding: chunked", body=b"1 \r\nx\r\n0\r\n\r\n" + SMUGGLED),
    "space in the target": b"GET /a " + MARK + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2.0": get(b"/", version=b"2.0"),
    "HTTP/1.2": get(b"/", version=b"1.2"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 32,
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500,
    "binary noise": bytes(range(256)),
}
_KEYS = {
    "two different Authorization": (b"Authorization: Bearer a", b"Authorization: Bearer " + MARK),
    "Authorization and another x-api-key": (b"Authorization: Bearer a", b"x-api-key: " + MARK),
    "two different x-api-key": (b"x-api-key: a", b"x-api-key: " + MARK),
}
_METHODS = (b"TRACE", b"CONNECT", b"BREW", b"get", b"PROPFIND", b"MKCOL", b"SOURCE")
MEGABYTE = 1024 * 1024
OVER = b"x" * (MEGABYTE + 1)

HTTP_ROWS: list[Row] = [
    *(Row(name, get(b"/health/live", host=lines), code="invalid_request") for name, lines in _HOSTS.items()),
    *(Row(name, get(target), code="invalid_request") for name, target in _TARGETS.items()),
    *(Row(f"{name} on /v1", get(b"/v1" + target)) for name, target in _TARGETS.items() if target[:1] == b"/"),
    *(Row(name, sends, code="invalid_request") for name, sends in _FRAMING.items()),
    *(Row(name, get(b"/models", *lines), code="conflicting_fields") for name, lines in _KEYS.items()),
    *(
        Row(f"method {method.decode()}", method + get(b"/models")[3:], (405,), True, "method_not_allowed")
        for method in _METHODS
    ),
    Row("header of 200 KB", get(b"/", b"X-A: " + MARK * 25_600), (431,), True, "headers_too_large"),
    Row("2,000 headers", get(b"/", *[b"X-A: b"] * 2_000), (431,), True, "headers_too_large"),
    Row("101 headers", get(b"/", *[b"X-A: b"] * 100), (431,), True, "headers_too_large"),
    Row("header name of 2 MB", GET + b"x" * 2 * MEGABYTE, (431,), True, "headers_too_large"),
    Row("Authorization of 2 MB", get(b"/", b"Authorization: Bearer " + b"x" * 2 * MEGABYTE), (431,), True),
    Row("address of 64 KB", get(b"/" + MARK * 8_192), (414,), True, "uri_too_long"),
    Row("address of 64 KB without an end", b"GET /" + MARK * 8_192, (414,), True, "uri_too_long"),
    Row("address of 9 KB in the query", get(b"/models?a=" + b"x" * 9_000), (414,), True, "uri_too_long"),
    Row("length over the limit", post(b"Content-Length: %d" % len(OVER), body=OVER), (413,), True, "body_too_large"),
    Row("enormous length", post(b"Content-Length: 18446744073709551615", body=b"x"), (413,), True, "body_too_large"),
    Row(
        "chunks over the limit",
        post(b"Transfer-Encoding: chunked", body=b"10000\r\n%s\r\n" % (b"x" * 65_536) * 17 + b"0\r\n\r\n"),
        (413,),
        True,
        "body_too_large",
    ),
    Row("length over the inference limit", post(b"Content-Length: 20971521", body=OVER, start=INFER), (413,)),
    Row("flood of tiny chunks", post(b"Transfer-Encoding: chunked", body=b"1;" + b"a" * 3_000_000), (413,)),
    Row("over the limit, expecting 100", post(b"Content-Length: 9999999", b"Expect: 100-continue"), (413,)),
    Row(
        "gzip", post(b"Content-Encoding: gzip", b"Content-Length: 1", body=b"x"), (415,), True, "unsupported_media_type"
    ),
    Row("empty Idempotency-Key", post(b"Idempotency-Key:", b"Content-Length: 2", body=b"{}")),
    Row("Idempotency-Key of 256", post(b"Idempotency-Key: " + b"k" * 256, b"Content-Length: 2", body=b"{}")),
    Row("non-ASCII Idempotency-Key", post(b"Idempotency-Key: \xe9", b"Content-Length: 2", body=b"{}")),
    Row("refused after an answered one", GET + b"\r\n" + get(b"//" + MARK), (200, 400), True),
    Row("Anthropic shape", get(b"/v1/messages/..")),
    Row("ordinary", GET + b"\r\n", (), False),
    Row("after empty lines", b"\r\n\r\n" + GET + b"\r\n", (), False),
    Row("HTTP/1.0", get(b"/health/live", version=b"1.0"), (), True),
    Row("asked to close", get(b"/health/live", b"Connection: close"), (), True),
    Row("same key twice", get(b"/health/live", b"Authorization: Bearer a", b"x-api-key: a"), (), False),
    Row("host with a port", get(b"/health/live", host=b"Host: 127.0.0.1:8000\r\n"), (), False),
    Row("IPv6 host", get(b"/health/live", host=b"Host: [::1]:8000\r\n"), (), False),
    Row("escape of an ordinary letter", get(b"/health/%6Cive"), (), False),
    Row("method override", get(b"/health/live", b"X-HTTP-Method-Override: TRACE"), (), False),
    Row("chunked", post(b"Transfer-Encoding: Chunked", body=b"2;a=b\r\n{}\r\n0\r\n\r\n"), (), False),
    Row("offer of h2c", post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2", body=b"{}"), (), False),
]
"""Every row of the bad-input list that a raw socket can show. A row without statuses is for a handler to answer."""


def check_row(port: int, row: Row) -> None:
    """Asserts everything a row promises against the server on `port`, and that it still answers afterwards."""
    came = talk(port, row.sends, expect=None if row.closes else 1)
    statuses = [answer.status for answer in came.answers]
    assert not came.reset
    assert came.closed == row.closes
    assert all(status < 500 for status in statuses)
    if row.statuses:
        assert statuses == list(row.statuses)
        assert MARK not in came.received
        check_error(row, came.answers[-1])
    else:
        assert len(statuses) == 1
    assert "server" not in came.answers[-1].headers
    assert talk(port, GET + b"\r\n", expect=1).answers[0].status == 200


def check_error(row: Row, answer: Answer) -> None:
    """Asserts that a refusal has the shape of its route and says that the connection ends."""
    assert answer.headers["connection"] == "close"
    assert "x-echo" not in answer.headers
    told = json.loads(answer.body)
    if answer.headers["content-type"] == "application/problem+json":
        assert set(told) == {"error", "message", "request_id", "details", "type", "title", "status"}
        assert told["status"] == answer.status
        code, message = told["error"], told["message"]
    elif told.get("type") == "error":
        code, message = row.code, told["error"]["message"]
    else:
        assert set(told["error"]) == {"message", "type", "param", "code"}
        code, message = told["error"]["code"], told["error"]["message"]
    assert message
    assert row.code in (None, code)
