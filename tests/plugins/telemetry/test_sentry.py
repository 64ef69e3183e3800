"""Sentry is told where a fault was and how long a request took, and nothing of what was asked, by whom, with which
key."""

import gzip
import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.e2e.chatty import install
from tests.e2e.served import gateway, upstream
from tests.e2e.test_logs import CANARY, OWN_KEY, VENDOR_KEY, call, chat, configuration

from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import Gateway
from asahi_kernel.settings import Settings
from asahi_telemetry.config import SentryConfig
from asahi_telemetry.sentry import Faults, opened

pytestmark = pytest.mark.anyio


class Receiver(ThreadingHTTPServer):
    """Takes envelopes; `items` are their parts."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Taking)
        self.dsn = f"http://public@127.0.0.1:{self.server_address[1]}/1"
        self.bodies = []

    def items(self, kind):
        found = []
        for body in self.bodies:
            lines = body.split(b"\n")
            heads = [json.loads(line) for line in lines[1::2] if line]
            found += [json.loads(item) for head, item in zip(heads, lines[2::2], strict=False) if head["type"] == kind]
        return found


class Taking(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words):
        pass


@contextmanager
def receiving():
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentry")
    install(folder)
    with receiving() as receiver, upstream(folder) as (vendor, _):
        tree = configuration(vendor.url, level="DEBUG") | {"observability": {"sentry_sample_rate": 1.0}}
        with gateway(folder, tree, SENTRY_DSN=receiver.dsn) as served:
            for fault in ("[task]", "[thread]", "[callback]", *["[policy]"] * 5, "[[fakeup: status=500]]", "ok"):
                call(served.url, "/v1/chat/completions", chat(f"{CANARY} {fault}"))
            call(served.url, f"/fails/{CANARY}")
            receiver.ids = [call(served.url, "/infer", {"prompt": CANARY})[1]]
            time.sleep(0.7)
        yield receiver


def test_faults_come_with_their_stacks(told):
    events = told.items("event")
    kinds = [[each["type"] for each in event["exception"]["values"]] for event in events]
    assert ["KeyError", "ValueError"] in kinds
    values = [each for event in events for each in event["exception"]["values"]]
    frames = [frame for each in values for frame in each["stacktrace"]["frames"]]
    assert {"burst", "admit", "fails", "fail"} <= {frame["function"] for frame in frames}
    assert any("raise ValueError(text) from error" in frame.get("context_line", "") for frame in frames)
    assert not any("vars" in frame for frame in frames)
    assert {event.get("transaction") for event in events} >= {"/v1/chat/completions", "/fails/{word}"}


def test_the_same_fault_is_told_once_a_minute(told):
    bursts = [event for event in told.items("event") if event["logger"] == "asahi_kernel.api.exchange"]
    assert len(bursts) == 1, "five requests failed at one place"


def test_a_share_of_the_requests_are_transactions(told):
    found = {each["tags"]["request_id"]: each for each in told.items("transaction")}
    one = found[told.ids[0]]
    assert one["transaction"] == "POST /infer"
    assert one["contexts"]["trace"]["op"] == "http.server"
    assert {"asahi.route", "chat m"} <= {span["description"] for span in one["spans"]}
    assert 0 < one["timestamp"] - one["start_timestamp"] < 20


def test_no_prompt_no_key_no_organisation_and_no_user_is_in_any_envelope(told):
    whole = b"".join(told.bodies)
    assert told.ids[0].encode() in whole, "or the test could not read them"
    for secret in (CANARY, CANARY[:9], OWN_KEY, VENDOR_KEY, "acme", '"ann"', "canary"):
        assert secret.encode() not in whole, secret
    for event in told.items("event"):
        assert {"user", "request", "extra", "breadcrumbs", "server_name", "modules"}.isdisjoint(event)


def test_a_teller_that_fails_does_not_fail_what_it_tells_of():
    class Broken:
        options = None

        def capture_event(self, event):
            raise RuntimeError

    counted = Counter()
    handler = Faults(Broken(), counted)
    error = ValueError("x")
    handler.handle(logging.LogRecord("asahi", logging.ERROR, "", 0, "it broke", None, (ValueError, error, None)))
    assert counted == {"sentry.unsent": 1}


async def test_a_dsn_that_is_none_stops_the_start():
    with pytest.raises(ConfigError, match="SENTRY_DSN"):
        async with opened(SentryConfig(), Gateway(Settings(profile="development")), {"SENTRY_DSN": "nonsense"}):
            pass


async def test_without_the_sdk_the_start_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    environment = {"SENTRY_DSN": "http://public@127.0.0.1:9/1"}
    with pytest.raises(ConfigError, match=r"pip install asahi-telemetry\[sentry\]"):
        async with opened(SentryConfig(), Gateway(Settings(profile="development")), environment):
            pass


def test_what_is_off_is_not_imported():
    code = (
        "import asyncio, sys\n"
        "from asahi_kernel.gateway import Gateway, running\n"
        "from asahi_kernel.plugins import load_plugins\n"
        "from asahi_kernel.settings import Settings\n"
        "async def main():\n"
        "    settings = Settings(profile='development', storage='memory')\n"
        "    async with running(Gateway(settings), load_plugins()) as gateway:\n"
        "        assert {'prometheus', 'traces', 'meters', 'sentry'} <= set(gateway.sinks)\n"
        "asyncio.run(main())\n"
        "found = {'sentry_sdk', 'confluent_kafka', 'opentelemetry.sdk', 'smtplib'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
