"""The HTTP edge over raw sockets: what is refused, in which words, and that the server is none the worse for it."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.e2e.edge_rows import (
    GET,
    HOST,
    HTTP_ROWS,
    INFER,
    MEGABYTE,
    SMUGGLED,
    Row,
    check_row,
    get,
    post,
)
from tests.e2e.raw import Started, Talk, serving, talk

ECHO = "tests.e2e.echo"


def rows(picked: list[Row]) -> list[object]:
    return [pytest.param(row, id=row.name) for row in picked]


@pytest.fixture(scope="module")
def server() -> Iterator[Started]:
    with serving(ECHO, "{}") as started:
        yield started


@pytest.fixture(scope="module")
def hasty() -> Iterator[Started]:
    """A server that waits for nobody."""
    limits = {
        "header_timeout_s": 0.4,
        "body_timeout_s": 0.4,
        "write_timeout_s": 0.6,
        "linger_s": 0.4,
        "keep_alive_s": 2,
    }
    with serving(ECHO, json.dumps(limits)) as started:
        yield started


@pytest.mark.parametrize("row", rows(HTTP_ROWS))
def test_edge_answers_each_row(server: Started, row: Row) -> None:
    check_row(server.port, row)


@pytest.mark.parametrize("row", rows([row for row in HTTP_ROWS if len(row.sends) < 400]))
def test_edge_does_not_care_where_packets_end(server: Started, row: Row) -> None:
    whole = talk(server.port, row.sends, expect=None if row.closes else 1)
    pieces = [row.sends[at : at + 1] for at in range(len(row.sends))]
    came = talk(server.port, *pieces, expect=None if row.closes else 1)
    assert [answer.status for answer in came.answers] == [answer.status for answer in whole.answers]


def test_thousand_pipelined_requests_are_answered_in_order(server: Started) -> None:
    sent = b"".join(get(b"/r%d" % index) for index in range(1_000))
    came = talk(server.port, sent, expect=1_000)
    assert [json.loads(answer.body)["path"] for answer in came.answers] == [f"/r{index}" for index in range(1_000)]


def test_pipelining_beyond_the_bound_is_refused_after_what_was_accepted(server: Started) -> None:
    came = talk(server.port, get(b"/stream") + get(b"/r") * 3_000, timeout=8)
    assert {answer.status for answer in came.answers[:-1]} == {200}
    assert came.answers[-1].status == 429
    assert came.closed


def test_large_body_is_taken_where_inference_is(server: Started) -> None:
    body = b"x" * (19 * MEGABYTE)
    came = talk(server.port, post(b"Content-Length: %d" % len(body), body=body, start=INFER), expect=1)
    assert json.loads(came.answers[0].body)["size"] == len(body)


def test_client_that_sends_all_before_reading_still_reads_413(server: Started) -> None:
    body = b"x" * (25 * MEGABYTE)
    came = talk(server.port, post(b"Content-Length: %d" % len(body), body=body))
    assert [answer.status for answer in came.answers] == [413]
    assert not came.reset


def test_flood_after_a_refusal_is_cut(server: Started) -> None:
    came = talk(server.port, get(b"//"), *[b"x" * MEGABYTE] * 200)
    assert came.reset


def test_expectation_is_met_before_the_body(server: Started) -> None:
    head = post(b"Content-Length: 2", b"Expect: 100-continue", start=INFER)
    came = talk(server.port, head, b"{}", pause=0.1, expect=1)
    assert came.received.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert json.loads(came.answers[0].body)["size"] == 2


def test_unread_expected_body_ends_the_connection(server: Started) -> None:
    head = b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 50\r\nExpect: 100-continue\r\n\r\n"
    came = talk(server.port, head, SMUGGLED, pause=0.1)
    assert [answer.status for answer in came.answers] == [200]
    assert came.closed


def test_early_answer_leaves_the_connection_usable(server: Started) -> None:
    body = b"x" * MEGABYTE
    early = b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
    came = talk(server.port, early + body + get(b"/next"), expect=2)
    assert [json.loads(answer.body)["path"] for answer in came.answers] == ["/early", "/next"]


def test_trailers_never_become_headers(server: Started) -> None:
    sends = post(b"Transfer-Encoding: chunked", body=b"0\r\nHost: a\r\nAuthorization: Bearer b\r\n\r\n")
    assert [answer.status for answer in talk(server.port, sends, expect=1).answers] == [200]


def test_offer_of_another_protocol_hides_no_request(server: Started) -> None:
    sends = post(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: %d" % len(SMUGGLED))
    came = talk(server.port, sends, SMUGGLED, pause=0.1, expect=2, timeout=1)
    assert [json.loads(answer.body)["size"] for answer in came.answers] == [len(SMUGGLED)]


def test_leaving_is_told_to_the_request_being_answered(server: Started) -> None:
    for sends in (get(b"/wait"), get(b"/wait") + get(b"/health/live") * 5):
        before = left(server)
        talk(server.port, sends, expect=1, timeout=0.3)
        time.sleep(0.2)
        assert left(server) == before + 1


def left(server: Started) -> int:
    """How many requests were told so far that their client had left."""
    count: int = json.loads(talk(server.port, get(b"/left"), expect=1).answers[0].body)["left"]
    return count


def test_body_that_ends_early_is_refused(server: Started) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(post(b"Content-Length: 100", body=b"{"))
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"invalid_json" in received


@pytest.mark.parametrize(
    ("sends", "statuses"),
    [
        (b"", []),
        (b"\r\n", []),
        (b"GET / HT", [408]),
        (GET, [408]),
        (GET + b"X-A: ", [408]),
        (post(b"Content-Length: 5", body=b"a"), [408]),
        (post(b"Transfer-Encoding: chunked", body=b"5\r\na"), [408]),
        (b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\na", [200]),
        (GET + b"\r\n", [200]),
        (GET + b"\r\n" + GET, [200, 408]),
    ],
)
def test_silence_ends_in_a_timeout(hasty: Started, sends: bytes, statuses: list[int]) -> None:
    began = time.monotonic()
    came = talk(hasty.port, *([sends] if sends else []))
    assert 408 not in statuses or time.monotonic() - began < 1.5
    assert [answer.status for answer in came.answers] == statuses
    assert came.closed


@pytest.mark.parametrize(("start", "statuses"), [(b"", []), (GET, [408]), (post(b"Content-Length: 500"), [408])])
def test_trickle_does_not_extend_the_time(hasty: Started, start: bytes, statuses: list[int]) -> None:
    came = talk(hasty.port, start, *[b"x" if start else b"\r\n"] * 8, pause=0.1, timeout=1.5)
    assert [answer.status for answer in came.answers] == statuses
    assert came.closed or came.reset


def test_client_that_never_reads_is_cut(hasty: Started) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port)) as client:
        client.sendall(get(b"/big"))
        time.sleep(2.5)
        with pytest.raises(ConnectionResetError):
            sum(iter(lambda: len(client.recv(1 << 20)), 0))


def test_slow_reader_is_not_cut(hasty: Started) -> None:
    received = 0
    with socket.create_connection(("127.0.0.1", hasty.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(get(b"/big", b"Connection: close"))
        while data := client.recv(1 << 19):
            received += len(data)
            time.sleep(0.01 if received < 8 << 20 else 0)
    assert received > 32 << 20


@pytest.mark.parametrize("workers", [1, 2])
def test_drain_cuts_no_stream(workers: int) -> None:
    with serving(ECHO, "{}", str(workers)) as started:
        came: list[Talk] = []
        clients = [
            threading.Thread(target=lambda: came.append(talk(started.port, get(b"/stream"), timeout=10)))
            for _ in range(20)
        ]
        for client in clients:
            client.start()
        time.sleep(0.5)
        started.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join()
        assert started.process.wait(10) == 0
        assert started.process.stdout is not None
        assert started.process.stdout.read().split() == [b"draining"] * workers
    assert [talk.answers[0].body.endswith(b"data: draining\n\n") for talk in came] == [True] * 20
    assert all(talk.closed for talk in came)


def test_drain_answers_who_was_idle_and_then_closes() -> None:
    with serving(ECHO, "{}") as started, socket.create_connection(("127.0.0.1", started.port), timeout=5) as client:
        client.sendall(get(b"/a"))
        first = b""
        while not first.endswith(b"}"):
            first += client.recv(65_536)
        assert b"connection: close" not in first
        started.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        client.sendall(get(b"/b"))
        last = b"".join(iter(lambda: client.recv(65_536), b""))
        assert last.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in last
        assert b'"draining":true' in last
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", started.port), timeout=5)
        assert started.process.wait(5) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_second_signal_does_not_wait(workers: int) -> None:
    with (
        serving(ECHO, '{"body_timeout_s": 60}', str(workers), "60") as started,
        socket.create_connection(("127.0.0.1", started.port)) as client,
    ):
        client.sendall(post(b"Content-Length: 5", body=b"a"))
        time.sleep(0.3)
        started.process.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        assert started.process.poll() is None
        started.process.send_signal(signal.SIGTERM)
        started.process.wait(5)


def test_drain_ends_when_its_time_is_up() -> None:
    with (
        serving(ECHO, '{"body_timeout_s": 60}', "1", "1") as started,
        socket.create_connection(("127.0.0.1", started.port)) as client,
    ):
        client.sendall(post(b"Content-Length: 5", body=b"a"))
        time.sleep(0.3)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(5) == 0


def test_named_hosts_exclude_the_others() -> None:
    with serving(
        ECHO, json.dumps({"bind_host": "0.0.0.0", "allowed_hosts": ["gw.example", "*.eu.example"]})
    ) as started:
        for host, status in {
            b"gw.example": 200,
            b"a.eu.example": 200,
            b"eu.example": 400,
            b"evil.example": 400,
        }.items():
            sends = get(b"/a", host=b"Host: %s:443\r\n" % host)
            assert talk(started.port, sends, expect=1).answers[0].status == status


def test_public_address_without_named_hosts_takes_any() -> None:
    with serving(ECHO, json.dumps({"bind_host": "0.0.0.0"})) as started:
        assert talk(started.port, get(b"/a", host=b"Host: gw.example\r\n"), expect=1).answers[0].status == 200
        assert talk(started.port, get(b"/a", host=b"Host: gw.example/x\r\n"), expect=1).answers[0].status == 400
